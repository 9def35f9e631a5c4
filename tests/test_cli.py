"""The command line: help, lists, and one clear line with exit code 2 for every mistake."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from command_helpers import COARSE, sets
from engine_helpers import ball_prior, files
from typer.testing import CliRunner, Result

from sds3d import __version__
from sds3d.cli.app import app
from sds3d.cli.console import OURS, remarks, table
from sds3d.config import parse_sets
from sds3d.engine import batch as batches
from sds3d.engine import generate as engine
from sds3d.engine import run as runs
from sds3d.engine.interrupt import Interrupted
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.prompts import load_list

SMALL = COARSE | {"steps": 2, "views": 2}
TINY = sets(SMALL)
COMMANDS = "generate|batch|resume|export|imagine|list|doctor|bench step|prior corpus|prior train"


def sds3d(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str, code: int = 2) -> str:
    """The one line that a command ends with."""
    result = sds3d(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ") == (code != 130)  # a stop is none
    return line


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_prior", lambda name, device: ball_prior())


@pytest.mark.parametrize("command", ["", *COMMANDS.split("|")])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = sds3d(*command.split(), "--help")
    assert result.exit_code == 0 and result.output.count(f"sds3d {command}".strip()) >= 2  # usage and example


def test_help_needs_no_heavy_import() -> None:
    """What makes --help quick, without a clock: none of the big packages is imported."""
    code = (
        "import sys\nfrom sds3d.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'numba', 'diffusers', 'transformers', 'PIL', 'trimesh'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("heavy: []")


def test_version_and_usage() -> None:
    assert sds3d("--version").output.strip() == f"sds3d {__version__}"
    assert sds3d("generate").exit_code == 2 and sds3d("nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("guidance", ["sds", "vsd", "csd", "nfsd"]),
        ("scenes", ["splats", "grid"]),
        ("priors", ["embedded"]),
        ("presets", ["default", "fast", "quality", "diffusers"]),
        ("prompts", ["ten"]),
        ("settings", ["steps", "time.hi", "splats.count", "grid.hidden", "sds.cfg", "export.faces"]),
    ],
)
def test_lists(kind: str, names: list[str]) -> None:
    result = sds3d("list", kind)
    shown = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert result.exit_code == 0 and set(names) <= shown.keys()
    assert all(len(shown[name].split()) > 1 for name in names)


def test_the_examples_of_generate_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(engine, "generate", lambda settings, *_: made.append(settings))
    (command,) = (c for c in app.registered_commands if c.callback is not None and c.callback.__name__ == "generate")
    examples = [line for line in str(command.epilog).split("\n\n") if "/models/" not in line]
    for line in examples:
        result = sds3d(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    assert len(made) == len(examples) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "the prompt is empty"),
        ([" \n "], "the prompt is empty"),
        (["x", "--guidance", "vsdd"], "did you mean 'vsd'"),
        (["x", "--scene", "gird"], "did you mean 'grid'"),
        (["x", "--preset", "fsat"], "did you mean 'fast'"),
        (["x", "--preset", "none.yaml"], "no preset file none.yaml"),
        (["x", "--prior", "embeded"], "did you mean 'embedded'"),
        (["x", "--prior", "/nowhere/model"], "/nowhere/model"),
        (["x", "--prior", "none.safetensors"], "there is no file none.safetensors"),
        (["x", "--set", "splats.cont=3"], "did you mean 'splats.count'"),
        (["x", "--set", "steps"], "KEY=VALUE"),
        (["x", "--set", "steps=many"], "steps takes a whole number, not 'many'"),
        (["x", "--device", "tpu9"], "unknown device 'tpu9'"),
        (["x", "--set", "grid.hidden=3"], "--scene grid"),
    ],
)
def test_mistakes_in_generate(arguments: list[str], words: str, tmp_path: Path) -> None:
    assert words in refused("generate", *arguments, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--image", "none.png"], "cannot read the picture none.png: No such file"),
        (["--image", __file__], "give a PNG"),
        (["--cfg", "nan"], "--cfg takes a number"),
        (["--image-scale", "0.5"], "--image-scale has no effect without a picture"),
    ],
)
def test_mistakes_in_imagine(flags: list[str], words: str, tmp_path: Path) -> None:
    assert words in refused("imagine", "x", *flags, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_cuda_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no usable CUDA device" in refused("generate", "x", "--device", "cuda")


def test_a_broken_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{")
    assert str(tmp_path) in refused("generate", "x", "--prior", str(tmp_path), "--out", str(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("command", ["resume", "export"])
def test_not_a_run_folder(command: str, tmp_path: Path) -> None:
    assert "no config.yaml" in refused(command, str(tmp_path))


@pytest.mark.usefixtures("oracle")
def test_a_run_from_start_to_resume(tmp_path: Path) -> None:
    result = sds3d("generate", "a red ball", "--out", str(tmp_path), *TINY)
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    assert "step 2/2" in result.output and "done in" in result.output and str(folder) in result.output
    assert {"asset.ply", "result.json", "views.png"} <= files(folder)
    again = sds3d("generate", "a red ball", "--out", str(tmp_path), *TINY)
    assert again.exit_code == 0 and "already complete" in again.output
    assert "already complete" in sds3d("resume", str(folder)).output
    (folder / "checkpoint.safetensors").write_bytes(b"junk")
    assert "damaged" in refused("export", str(folder))
    (folder / "result.json").unlink()
    assert "damaged" in refused("resume", str(folder))


@pytest.mark.usefixtures("oracle")
def test_a_list_has_one_prior_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    monkeypatch.setattr(batches, "load_prior", lambda name, device: loads.append(name) or ball_prior())
    listed, out = tmp_path / "mine.txt", tmp_path / "out"
    listed.write_text("a red ball\na blue ball\n")
    command = ["batch", str(listed), "--out", str(out), *TINY]
    asked = batches.wanted(load_list(str(listed)), 1, parse_sets(TINY[1::2]), None)
    red, blue = (runs.place(settings, out).folder for settings in asked)
    blue.mkdir(parents=True)
    with runs.locked(blue):  # as on another GPU
        first = sds3d(*command)
    assert first.exit_code == 0 and "left out: another sds3d is working" in first.output, first.output
    assert (red / "result.json").exists() and not (blue / "result.json").exists() and len(loads) == 1
    second = sds3d(*command)
    assert second.exit_code == 0 and "already complete" in second.output and len(loads) == 2
    alone = sds3d("generate", "a blue ball", "--out", str(tmp_path / "alone"), *TINY)
    assert alone.exit_code == 0
    assert (blue / "asset.ply").read_bytes() == (tmp_path / "alone" / blue.name / "asset.ply").read_bytes()
    assert sds3d(*command).exit_code == 0 and len(loads) == 2  # nothing to do, nothing to load


def test_a_run_that_fails_does_not_end_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def generate(settings: Settings, root: Path, *rest: Any, **more: Any) -> Path:
        seen.append((settings.prompt, settings.seed))
        if settings.seed == 3:
            raise UserError("too little of it")
        return root

    monkeypatch.setattr(batches, "generate", generate)
    monkeypatch.setattr(batches, "load_prior", lambda name, device: ball_prior())
    listed = tmp_path / "mine.txt"
    listed.write_text("a red ball\na blue ball\n")
    command = ["batch", str(listed), "--seeds", "2", "--seed", "3", "--out", str(tmp_path / "out")]
    assert "2 of 4 runs were not made, the first of 'a red ball'" in refused(*command)
    assert seen == [(prompt, seed) for prompt in ("a red ball", "a blue ball") for seed in (3, 4)]
    for stop, said in ((Interrupted("stopped at step 3"), "stopped at step 3"), (KeyboardInterrupt(), "stopped")):
        monkeypatch.setattr(batches, "generate", failing(stop))
        assert refused(*command, code=130) == f"{said}; all of them go on with the same sds3d batch"


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("prompt", ["a/b\\c red 'ball' \"now\"", "red 🪑 椅子", "red " + "x" * 10_000, "--red"])
def test_odd_prompts_work(prompt: str, tmp_path: Path) -> None:
    result = sds3d("generate", "--out", str(tmp_path), *TINY, "--", prompt)
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    assert len(folder.name) < 60 and json.loads((folder / "result.json").read_text())["prompt"] == prompt


def failing(error: BaseException) -> Any:
    def generate(*args: Any, **kwargs: Any) -> None:
        raise error

    return generate


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device", "asset.glb"), 2, "No space left on device: asset.glb"),
        (PermissionError(13, "Permission denied", "x"), 2, "Permission denied"),
        (Interrupted("stopped at step 3 of 9; go on with: sds3d resume x"), 130, "sds3d resume"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "out of memory: take fewer views (--set views=1)"),
        (ImportError("Numba needs NumPy 2.3 or less"), 2, "a package does not load (Numba needs NumPy 2.3 or less)"),
        (ModuleNotFoundError("No module named 'sds3d.x'", name="sds3d.x"), 1, "internal error: ModuleNotFoundError"),
        (ZeroDivisionError("a\nb"), 1, "internal error: ZeroDivisionError: a b"),
    ],
)
def test_failures_become_lines_and_codes(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "generate", failing(error))
    assert words in refused("generate", "x", code=code)


def test_warnings_are_a_line_each_and_those_of_other_packages_none(capsys: pytest.CaptureFixture[str]) -> None:
    with remarks():
        warnings.simplefilter("always")
        warnings.warn_explicit("its end is not seen", UserWarning, str(OURS / "priors" / "clip.py"), 3)
        warnings.warn_explicit("deprecated", FutureWarning, "/packages/diffusers/loaders.py", 3)
    assert capsys.readouterr() == ("", "note: its end is not seen\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_names_its_columns_once(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")  # rich's word for a terminal
    table([("splats", "1.5"), ("grid", "2")], ("scene", "ms"))
    table([("splats", "1.5")], ("scene", "ms"), named=False)
    said = capsys.readouterr().out
    assert said.count("scene") == (2 if terminal else 1) and said.count("splats") == 2


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "generate", failing(ZeroDivisionError("oops")))
    result = sds3d("--debug", "generate", "x")
    assert isinstance(result.exception, ZeroDivisionError)


def test_the_console_script_moves_debug_to_the_front_and_exits_with_2() -> None:
    run = [sys.executable, "-m", "sds3d", "generate", "  "]
    plain = subprocess.run(run, capture_output=True, text=True)
    assert plain.returncode == 2 and plain.stderr.count("\n") == 1 and plain.stderr.startswith("error: the prompt")
    debug = subprocess.run([*run, "--debug"], capture_output=True, text=True)
    assert debug.returncode != 0 and "Traceback" in debug.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot make the folder" in refused("generate", "x", "--out", str(tmp_path / "out"))
