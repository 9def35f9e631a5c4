"""Runs in stages: one folder, one count of steps, the second scene begins as what the first has become."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_helpers import Log, ball_prior, settings

from sds3d.engine import checkpoint
from sds3d.engine import run as runs
from sds3d.engine.generate import _carry_through, export_run
from sds3d.engine.interrupt import Interrupted
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import from_values
from sds3d.engine.stages import Stage, parse_stages, stage_at, stage_settings
from sds3d.errors import UserError
from sds3d.schedule import Times

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "guidance": "sds",
    "stages": "splats:6,mesh:4@0.4",
    "scene": "mesh",
    "steps": 10,
    "mesh.resolution": 16,
    "mesh.supersample": 1,
    "mesh.color.dense.resolution": 16,
    "mesh.color.base": 16,
    "splats.opacity": 0.9,
    "checkpoint_every": 4,
    "formats": ("glb",),
}


def make(folder: Path, log: Log) -> runs.Run:
    run = runs.create(settings(**SMALL), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sds3d.engine.generate.load_prior", lambda name, device: ball_prior())
        _carry_through(run, CPU, log, None)
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[runs.Run, Log]:
    log = Log()
    return make(tmp_path_factory.mktemp("whole"), log), log


def test_stages_in_words() -> None:
    assert parse_stages(("grid:300", "mesh:200@0.25")) == [
        Stage("grid", 300, 1.0, 0),
        Stage("mesh", 200, 0.25, 300),
    ]
    chosen = resolve("a cup", {"stages": "splats:30,mesh:20", "splats.count": 7, "mesh.resolution": 16})
    assert (chosen.scene, chosen.steps, chosen.stages) == ("mesh", 50, ("splats:30", "mesh:20"))
    first, second = (stage_settings(chosen, i) for i in range(2))
    assert (first.scene, first.scene_options.count, second.scene_options.resolution) == ("splats", 7, 16)
    assert (
        from_values(chosen.as_dict()) == chosen and chosen.hash != resolve("a cup", {"stages": "splats:30,mesh:9"}).hash
    )
    assert [stage_at(chosen, step) for step in (0, 30, 31, 50)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"stages": "grid"}, "mesh:200@0.5"),
        ({"stages": "cube:3"}, "cube"),
        ({"stages": "grid:0"}, "at least one step"),
        ({"stages": "grid:3,mesh:3@1.5"}, "strength"),
        ({"stages": "splats:3,grid:3"}, "cannot take over"),
        ({"stages": "mesh:3,mesh:3"}, "two stages"),
        ({"stages": "grid:3,mesh:3", "steps": 9}, "leave steps out"),
        ({"stages": "grid:3,mesh:3", "splats.count": 9}, "no effect"),
        ({"stages": "grid:3,mesh:3", "export.surface": "fusion"}, "export.surface has no effect"),
    ],
)
def test_what_makes_no_sense_is_told(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolve("a cup", overrides)


def test_a_mesh_from_nothing_begins_as_a_stage_of_splats(tmp_path: Path) -> None:
    """Not from a ball, which has no legs to pull out; unless it is asked for."""
    plain = resolve("a cup", {"scene": "mesh", "steps": 100, "splats.count": 7})
    assert plain.stages == ("splats:80", "mesh:20@0.3") and stage_settings(plain, 0).scene_options.count == 7
    assert resolve("a cup", {"scene": "mesh", "steps": "10", "scene.init": "grid"}).stages == ("grid:8", "mesh:2@0.3")
    assert resolve("a cup", {"scene": "mesh", "mesh.init": "ball"}).stages == ()
    assert resolve("a cup", {"scene": "mesh", "steps": 1}).stages == ()
    (tmp_path / "cup.stl").write_bytes(b"a cup")
    chosen = resolve("a cup", {"scene": "mesh", "mesh.init": str(tmp_path / "cup.stl")})
    assert chosen.stages == () and chosen.scene_options.init_digest
    with pytest.raises(UserError, match="mesh.init: there is no file"):
        resolve("a cup", {"scene": "mesh", "mesh.init": "cone"})
    with pytest.raises(UserError, match=r"begins as the stage before it: leave mesh\.init out"):
        resolve("a cup", {"stages": "grid:3,mesh:3", "mesh.init": "ball"})


def test_splats_are_hardened_only_where_they_are_what_comes_out() -> None:
    hard = {"splats.harden": 0.01, "splats.unveil": 0.2}
    alone = stage_settings(resolve("a ball", hard), 0).scene_options
    first = stage_settings(resolve("a ball", hard | {"stages": ["splats:6", "mesh:4"]}), 0).scene_options
    assert (alone.harden, alone.unveil) == (0.01, 0.2) and (first.harden, first.unveil) == (0, 0)


def test_strength_lowers_the_noise_a_run_starts_from() -> None:
    times = Times(policy="flow", hi=0.98, lo=0.2)
    weaker = times.weakened(0.5)
    assert weaker.band(0.0)[1] == pytest.approx(0.59, abs=1e-6) and weaker.band(1.0) == pytest.approx(times.band(1.0))
    assert times.weakened(1.0) == times


def test_one_run_in_two_stages(whole: tuple[runs.Run, Log]) -> None:
    run, log = whole
    assert [(r.step, r.total) for r in log.records] == [(i, 10) for i in range(1, 11)]
    assert log.records[6].t < 0.55 < 0.9 < log.records[0].t, "the second stage starts from less noise"
    covered = [r.alpha for r in log.records]
    assert covered[6] == pytest.approx(covered[5], rel=0.25), "the mesh does not look like the Gaussians"
    assert (run.folder / "asset.glb").is_file() and run.complete
    assert any("stage 2/2: mesh, 4 steps" in note for note in log.notes)
    assert export_run(run.folder, ("stl",), {}, CPU, log)["files"] == {"stl": ["asset.stl"]}


@pytest.mark.parametrize("stop", [6, 8])
def test_stopped_in_any_stage_it_goes_on_as_if_it_had_not(
    stop: int, tmp_path: Path, whole: tuple[runs.Run, Log]
) -> None:
    class Stopping(Log):
        def step(self, record: Any) -> None:
            super().step(record)
            if record.step == stop:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        make(tmp_path, Stopping())
    log = Log()
    cut = make(tmp_path, log)
    assert [r.step for r in log.records] == list(range(stop + 1, 11))
    ours, theirs = (checkpoint.load(run.checkpoint)[0] for run in (cut, whole[0]))
    assert [name for name, value in ours.items() if not torch.equal(value, theirs[name])] == []
    steps = [line.split('"step": ')[1].split(",")[0] for line in cut.metrics.read_text().splitlines()]
    assert steps == [str(i) for i in range(1, 11)]
