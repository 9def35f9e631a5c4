"""Editing a finished run: where it starts from, what the objective sees of it, resuming, and what cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_helpers import SMALL, Log, ball_prior, settings
from torch import Tensor

from sds3d.camera import orbit
from sds3d.config import read_yaml
from sds3d.engine import checkpoint
from sds3d.engine import generate as engine
from sds3d.engine.distill import Distiller, distill, prepare
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings, from_values
from sds3d.errors import UserError
from sds3d.guidance import Context, distill_gradient
from sds3d.guidance.dds import DDS

CPU = torch.device("cpu")
VIEWS = orbit(4), torch.ones(4, 3)  # cameras and backgrounds


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red ball, three steps old."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "load_prior", lambda name, device: ball_prior())
        return engine.generate(settings(steps=3, formats="ply"), tmp_path_factory.mktemp("red"), CPU, False, Log())


def editing(source: Path, **overrides: Any) -> Settings:
    """A blue ball made of it; without the splats' own settings, which are those of the source."""
    own = {k: v for k, v in SMALL.items() if not k.startswith(("splats.", "sds.", "vsd."))}
    return resolve("a blue ball", {**own, "guidance": "dds", "steps": 6, "source": str(source), **overrides})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def through(run: Distiller, steps: int) -> Distiller:
    for record in distill(run):
        assert not record.skipped
        if record.step == steps:
            break
    return run


def test_it_takes_over_scene_and_prompt(finished: Path) -> None:
    made = editing(finished)
    assert (made.source_prompt, made.scene, made.scene_options.count) == ("a red ball", "splats", 150)
    run = prepare(made, ball_prior())
    saved = checkpoint.part(checkpoint.load(finished / "checkpoint.safetensors")[0], "scene")
    assert same(run.scene.state_dict(), saved) and run.step == 0
    conds = run.conditions.at(*VIEWS)
    red, blue = ball_prior().text(["red", "blue"]).tokens.flatten().tolist()
    assert (conds["src"].tokens[0].item(), conds["pos"].tokens[0].item()) == (red, blue)
    assert editing(finished, source_prompt="blue").source_prompt == "blue"
    assert editing(finished, **{"splats.cap": 200}).scene_options.cap == 200


def test_the_objective_sees_the_source_as_it_was_through_the_same_cameras(finished: Path) -> None:
    """At the first step the render is the source's; later it has moved and the source has not."""
    seen: list[Context] = []

    class Watching(DDS):
        def states(self, c: Context, t: Tensor) -> Any:
            seen.append(c)
            return super().states(c, t)

    run = prepare(editing(finished, background="random"), ball_prior())
    run.objective = Watching()
    through(run, 4)
    assert torch.equal(seen[0].x, seen[0].x_src)  # type: ignore[arg-type]
    last = seen[-1]
    assert last.x_src is not None and last.view is not None and not torch.equal(last.x, last.x_src)
    frozen = prepare(editing(finished), ball_prior()).scene
    white = torch.ones(4, 3)
    inside = last.view.alpha > 0.99
    again = frozen.render(last.view.cameras, run.size, white)
    inside &= again.alpha > 0.99
    difference = (ball_prior().encode(again.rgb) - last.x_src).detach().abs()
    assert (difference * inside).max() < 0.1  # 1 % of the background shines through


def test_dds_turns_red_into_blue_and_keeps_the_rest(finished: Path) -> None:
    run = prepare(editing(finished, steps=40, guidance_weight=0.05, **{"dds.cfg": 1.0}), ball_prior())
    before = run.scene.render(VIEWS[0], 16, VIEWS[1]).rgb.mean((0, 2, 3)).detach()
    after = through(run, 40).scene.render(VIEWS[0], 16, VIEWS[1]).rgb.mean((0, 2, 3)).detach()
    assert after[2] - after[0] > before[2] - before[0] + 0.05


def test_a_resumed_edit_is_the_uninterrupted_one_bit_by_bit(finished: Path) -> None:
    made = editing(finished, guidance="pds")
    whole = through(prepare(made, ball_prior()), 6)
    state = {k: v.clone() for k, v in through(prepare(made, ball_prior()), 3).state_dict().items()}
    again = prepare(made, ball_prior())
    again.load_state_dict(state, 3)
    assert same(through(again, 6).state_dict(), whole.state_dict())


def test_the_run_folder_remembers(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_prior", lambda name, device: ball_prior())
    made = editing(finished, formats="ply")
    folder = engine.generate(made, tmp_path, CPU, False, Log())
    assert from_values(read_yaml(folder / "config.yaml")) == made


def test_its_identity_is_the_sources_content(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    assert editing(copy).hash == editing(finished).hash != editing(finished, source_prompt="blue").hash
    tensors, header = checkpoint.load(copy / "checkpoint.safetensors")
    checkpoint.save(copy / "checkpoint.safetensors", tensors, {**header, "step": 2})
    assert editing(copy).hash != editing(finished).hash


def test_a_source_that_changed_meanwhile_is_refused(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    made = editing(copy)
    (copy / "checkpoint.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="not what this run started from"):
        prepare(made, ball_prior())
    shutil.rmtree(copy)
    with pytest.raises(UserError, match="cannot read"):
        prepare(made, ball_prior())


def test_an_editing_objective_without_a_source_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_prior", lambda name, device: ball_prior())
    with pytest.raises(UserError, match="guidance 'dds' edits a finished run: .*--source RUN"):
        engine.generate(settings(guidance="dds"), tmp_path, CPU, False, Log())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("config.yaml", "not a run folder"),
        ("result.json", "not finished: complete it with sds3d resume"),
        ("checkpoint.safetensors", "cannot read"),
    ],
)
def test_what_cannot_be_edited_is_one_clear_line(finished: Path, tmp_path: Path, damage: str, words: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (copy / damage).unlink()
    with pytest.raises(UserError, match=words) as caught:
        editing(copy)
    assert "\n" not in str(caught.value)


def test_what_the_source_decides_is_not_set_anew(finished: Path) -> None:
    with pytest.raises(UserError, match="splats.count has no effect: --source begins with that run's scene"):
        editing(finished, **{"splats.count": 7})


def test_another_kind_of_scene_cannot_be_started_from_it(finished: Path) -> None:
    with pytest.raises(UserError, match="is a scene of splats, not of grid: leave --scene out"):
        editing(finished, scene="grid")


def test_other_guidance_may_start_from_a_finished_run_too(finished: Path) -> None:
    run = prepare(editing(finished, guidance="sds", **{"sds.cfg": 1.0}), ball_prior())
    assert run.source is not None
    through(run, 1)
    c = Context(torch.zeros(4, 3, 16, 16), run.conditions.at(*VIEWS), run.prior, torch.Generator())
    assert distill_gradient(run.objective, c, torch.full((4,), 500))[0].isfinite().all()
