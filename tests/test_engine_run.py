"""Run folders: complete, resumed, locked, stopped, damaged, out of space."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import killed_run
import pytest
import torch
from engine_helpers import Log, NetworkPrior, ball_prior, files, settings

from sds3d.engine import checkpoint
from sds3d.engine import generate as engine
from sds3d.engine import run as runs
from sds3d.engine.interrupt import Interrupted, polite_stop
from sds3d.errors import UserError

CPU = torch.device("cpu")
ALL = {
    ".lock", "config.yaml", "metrics.jsonl", "checkpoint.safetensors", "asset.glb", "asset.ply", "views.png",
    "turntable.mp4", "report.html", "result.json",
}  # fmt: skip


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_prior", lambda name, device: ball_prior())


def make(root: Path, force: bool = False, **overrides: Any) -> tuple[Path, Log]:
    log = Log()
    return engine.generate(settings(**{"steps": 4, "preview_every": 3, **overrides}), root, CPU, force, log), log


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One complete run that tests only read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "load_prior", lambda name, device: ball_prior())
        return make(tmp_path_factory.mktemp("finished"))[0]


def test_a_run_folder_holds_everything(finished: Path) -> None:
    assert finished.name == f"a-red-ball-{settings(steps=4).hash}"
    assert files(finished) == ALL | {"preview/000003.png"}
    assert steps_of(finished) == [1, 2, 3, 4]
    result = json.loads((finished / "result.json").read_text())
    assert result["steps"] == {"done": 4, "from": 0}
    assert {"start", "prior", "optimise", "export", "pictures", "total"} <= result["seconds"].keys()
    assert result["seconds"]["total"] >= sum(v for k, v in result["seconds"].items() if k != "total") - 0.01
    assert result["memory"]["process_mb"] > 50 and result["versions"]["torch"] == torch.__version__
    assert result["qa"]["faces"] > 0


def test_the_same_settings_again_do_nothing_until_forced(finished: Path) -> None:
    stamp = (finished / "checkpoint.safetensors").stat().st_mtime_ns
    folder, log = make(finished.parent)
    assert folder == finished and not log.records and "--force" in log.notes[0]
    assert (finished / "checkpoint.safetensors").stat().st_mtime_ns == stamp


def test_a_run_goes_on_with_another_speed_and_remembers_it(tmp_path: Path) -> None:
    run = runs.create(settings(steps=4, checkpoint_every=2), tmp_path)
    run.begin()
    folder, _ = make(tmp_path, checkpoint_every=3)
    assert folder == run.folder and runs.load(folder).settings.checkpoint_every == 3


def test_force_starts_over_and_keeps_what_is_not_ours(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, formats="ply")
    (folder / "notes.txt").write_text("mine")
    before = (folder / "asset.ply").read_bytes()
    _, log = make(tmp_path, force=True, formats="ply")
    assert [r.step for r in log.records] == [1, 2, 3, 4] and (folder / "notes.txt").read_text() == "mine"
    assert (folder / "asset.ply").read_bytes() == before  # the same seed, the same bytes
    assert steps_of(folder) == [1, 2, 3, 4]


def test_export_at_any_time(finished: Path, tmp_path: Path) -> None:
    exported = engine.export_run(finished, ("stl", "obj"), {"export.faces": "200"}, CPU, Log())
    try:
        assert (finished / "asset.stl").stat().st_size > 84 and exported["qa"]["faces"] <= 200
    finally:
        for names in exported["files"].values():
            for name in names:
                (finished / name).unlink()
    with pytest.raises(UserError, match="only export"):
        engine.export_run(finished, ("stl",), {"steps": "3"}, CPU, Log())
    with pytest.raises(UserError, match="not a run folder"):
        engine.export_run(tmp_path, ("stl",), {}, CPU, Log())


def test_killed_in_the_middle_of_a_checkpoint_it_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while the second checkpoint is half written: the first one counts, and the end is the same (VSD)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, killed_run.__file__, str(tmp_path / "killed"), "2"]
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (folder,) = (tmp_path / "killed").iterdir()
    assert any(".part" in name for name in files(folder)) and "asset.glb" not in files(folder)
    assert checkpoint.load(folder / "checkpoint.safetensors")[1]["step"] == killed_run.EVERY

    monkeypatch.setattr(engine, "load_prior", lambda name, device: NetworkPrior())
    log = Log()
    engine.resume(folder, CPU, log)
    whole = engine.generate(killed_run.chosen(), tmp_path / "whole", CPU, False, Log())
    assert [r.step for r in log.records] == list(range(killed_run.EVERY + 1, killed_run.STEPS + 1))
    assert files(folder) == files(whole)
    for name in (
        "checkpoint.safetensors",
        "asset.glb",
        "asset.ply",
        "views.png",
        "turntable.mp4",
        "preview/000008.png",
    ):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert steps_of(folder) == steps_of(whole)


def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(log, "step", lambda record: record.step == 2 and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=r"stopped at step 2 of 5.*sds3d resume .*a-red-ball"):
        engine.generate(settings(steps=5), tmp_path, CPU, False, log)
    (folder,) = tmp_path.iterdir()
    assert checkpoint.load(folder / "checkpoint.safetensors")[1]["step"] == 2 and steps_of(folder) == [1, 2]
    assert not {"asset.glb", "result.json"} & files(folder)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_second_signal_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), polite_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_while_files_are_written_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "present", stop)
    with pytest.raises(Interrupted, match=r"last checkpoint it goes on with: sds3d resume .*a-red-ball"):
        make(tmp_path, steps=2, formats="ply")
    (folder,) = tmp_path.iterdir()
    assert "checkpoint.safetensors" in files(folder) and not {"asset.ply", "result.json"} & files(folder)


def test_a_failed_export_leaves_no_half_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "views.png")

    monkeypatch.setattr(engine, "present", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert not {"asset.glb", "asset.ply", "result.json"} & files(folder)
    assert not list(folder.glob(".staging*"))
    monkeypatch.undo()
    monkeypatch.setattr(engine, "load_prior", lambda name, device: ball_prior())
    _, log = make(tmp_path)
    assert not log.records and "asset.glb" in files(folder)  # only what was missing is made


def test_a_full_disk_during_a_checkpoint_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {"step": 1})

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sds3d.files.os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*checkpoint\.safetensors: No space left"):
        checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 2})
    tensors, header = checkpoint.load(path)
    assert header["step"] == 1 and tensors["a"].sum() == 3 and files(tmp_path) == {"checkpoint.safetensors"}


@pytest.mark.parametrize("damage", ["empty", "short", "noise", "foreign"])
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {"a": torch.arange(1000.0)}, {"step": 1})
    data = path.read_bytes()
    if damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes({"empty": b"", "short": data[:-100], "noise": os.urandom(500)}[damage])
    with pytest.raises(UserError, match=r"damaged \(.*--force") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_settings_does_not_fit(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, formats="ply")
    (folder / "result.json").unlink()
    tensors, header = checkpoint.load(folder / "checkpoint.safetensors")
    checkpoint.save(folder / "checkpoint.safetensors", {k: v for k, v in tensors.items() if "means" not in k}, header)
    with pytest.raises(UserError, match="does not fit"):
        make(tmp_path, formats="ply")


def test_checkpoints_of_equal_tensors_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.full((2,), float(i)) for i, name in enumerate("xyzabc")}
    for name, content in (("a", tensors), ("b", dict(reversed(tensors.items())))):
        checkpoint.save(tmp_path / name, content, {"step": 1, "settings": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_metrics_are_cut_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    runs.cut_metrics(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_text('{"step": 1}\n{"step": 2')
    runs.cut_metrics(path, 9)
    assert path.read_text() == '{"step": 1}\n'


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    run = runs.create(settings(steps=4, preview_every=3), tmp_path)
    run.begin()
    with runs.locked(run.folder), pytest.raises(UserError, match="another sds3d is working"):
        make(tmp_path)


def test_a_folder_that_someone_else_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export and resume that fail take nothing away; what a failed start made itself goes, and only that."""

    def fail(*args: object, **kwargs: object) -> None:
        raise UserError("no prior")

    run = runs.create(settings(steps=4, preview_every=3), tmp_path)
    run.begin()
    with pytest.raises(UserError, match="no checkpoint"):
        engine.export_run(run.folder, ("obj",), {}, CPU, Log())
    assert files(run.folder) == {"config.yaml"}
    (run.folder / ".my.partition").write_text("mine")
    monkeypatch.setattr(engine, "load_prior", fail)
    for attempt in (lambda: engine.resume(run.folder, CPU, Log()), lambda: make(tmp_path)):
        with pytest.raises(UserError, match="no prior"):
            attempt()
        assert files(run.folder) == {".lock", "config.yaml", ".my.partition"}
    with pytest.raises(UserError, match="no prior"):
        make(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    with runs.locked(run.folder, made=True):
        pass
    assert (run.folder / "config.yaml").is_file() and (run.folder / ".my.partition").is_file()


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot make the folder .*--out"):
        make(blocked)


def test_a_prior_that_does_not_load_leaves_no_folder_and_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = make(tmp_path / "old", formats="ply")

    def broken(name: str, device: Any) -> None:
        raise UserError("the model folder is broken")

    monkeypatch.setattr(engine, "load_prior", broken)
    with pytest.raises(UserError, match="broken"):
        make(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(UserError, match="broken"):
        make(tmp_path / "old", force=True, formats="ply")
    assert "asset.ply" in files(folder)


def test_a_long_prompt_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    class Short(NetworkPrior):
        def text(self, prompts: list[str]) -> Any:
            warnings.warn("the prior does not see its end", stacklevel=1)
            return super().text(prompts)

    monkeypatch.setattr(engine, "load_prior", lambda name, device: Short())
    _, log = make(tmp_path, formats="ply", steps=1)
    assert sum("does not see its end" in note for note in log.notes) == 1
