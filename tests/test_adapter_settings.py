"""LoRAs and textual inversions as settings of a run: what counts, what is refused, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh
from prior_helpers import WIDTH, noise, write_sd_folder
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from sds3d.bench import compare
from sds3d.cli.app import app
from sds3d.engine import generate as engine
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.setup import check_changes
from sds3d.errors import UserError

LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
SMALL = {
    "steps": 1,
    "views": 1,
    "splats.count": 60,
    "export.resolution": 16,
    "export.faces": 100,
    "export.texture": 32,
    "export.unwrap_seconds": 0,
    "formats": "ply",
}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDS3D_CACHE", str(tmp_path / "cache"))


def write_lora(file: Path, scale: float = 1.0) -> Path:
    file.parent.mkdir(exist_ok=True)
    down, up = noise(2, 16), scale * noise(16, 2, seed=1)
    save_file({f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}, file)
    return file


def write_word(file: Path) -> Path:
    save_file({"emb_params": noise(2, WIDTH)}, file)
    return file


def settings(**overrides: object) -> Settings:
    return resolve("a red zzcorgi", {"prior": "sd15", **overrides})


def test_files_count_by_content_and_weight_but_not_by_place(tmp_path: Path) -> None:
    here, there = write_lora(tmp_path / "a" / "x.safetensors"), write_lora(tmp_path / "b" / "y.safetensors")
    other = write_lora(tmp_path / "c" / "x.safetensors", 2.0)
    with_it = settings(lora=(str(here),))
    assert with_it.hash == settings(lora=(str(there),)).hash == settings(lora=f"{here}:1").hash
    others = [
        settings(),
        settings(lora=(str(other),)),
        settings(lora=(f"{here}:0.5",)),
        settings(lora=(str(here),) * 2),
    ]
    assert len({with_it.hash, *(s.hash for s in others)}) == 5
    assert with_it.changes == {"lora": (f"{here}:1",)} and settings().changes == {}


def test_the_word_counts(tmp_path: Path) -> None:
    file = write_word(tmp_path / "zzcorgi.safetensors")
    named = settings(textual_inversion=(str(file),))
    assert named.changes == {"textual_inversion": (f"{file}:zzcorgi",)}
    assert named.hash != settings(textual_inversion=(f"{file}:red",)).hash


def test_a_word_that_no_prompt_has_is_refused(tmp_path: Path) -> None:
    file = write_word(tmp_path / "zzdog.safetensors")
    with pytest.raises(UserError, match="the prompt does not have the word 'zzdog'"):
        settings(textual_inversion=(str(file),))
    settings(textual_inversion=(str(file),), guidance="csd", negative="a ZZDog")


def test_a_file_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    file = write_lora(tmp_path / "x.safetensors")
    began = settings(lora=(str(file),))
    check_changes(began)
    write_lora(file, 2.0)
    with pytest.raises(UserError, match="is not what this run started with"):
        check_changes(began)


def sds3d(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def sets(**settings: object) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def gradient(folder: Path, out: Path, *flags: str) -> float:
    """The first step's gradient of a run of the command."""
    command = ["generate", "a red zzcorgi", "--scene", "splats", "--guidance", "sds", "--prior", str(folder)]
    return first_gradient(out, *command, *sets(**SMALL), *flags)


def first_gradient(out: Path, *command: str) -> float:
    result = sds3d(*command, "--out", str(out))
    assert result.exit_code == 0, result.output
    (run,) = out.iterdir()
    return float(json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["stats"]["gradient"])


def test_the_command_line_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "present", lambda *arguments: None)  # pictures are tested elsewhere
    folder, lora = write_sd_folder(tmp_path / "sd"), str(write_lora(tmp_path / "x.safetensors"))
    word = str(write_word(tmp_path / "zzcorgi.safetensors"))
    plain = gradient(folder, tmp_path / "0")
    assert gradient(folder, tmp_path / "1", "--lora", f"{lora}:2") != pytest.approx(plain, rel=1e-4)
    assert gradient(folder, tmp_path / "2", "--textual-inversion", word) != pytest.approx(plain, rel=1e-4)


def test_imagine_takes_both(tmp_path: Path) -> None:
    folder, lora = write_sd_folder(tmp_path / "sd"), str(write_lora(tmp_path / "x.safetensors"))
    word = str(write_word(tmp_path / "zzcorgi.safetensors"))
    command = ["imagine", "a zzcorgi", "--prior", str(folder), "--steps", "1", "--views", "1", "--rows", "1"]
    pictures = []
    for i, flags in enumerate([[], ["--lora", lora], ["--textual-inversion", word]]):
        result = sds3d(*command, "--out", str(tmp_path / str(i)), *flags)
        assert result.exit_code == 0, result.output
        (picture,) = (tmp_path / str(i)).glob("*.png")
        pictures.append(picture.read_bytes())
    assert len(set(pictures)) == 3
    refused = sds3d(*command, "--textual-inversion", f"{word}:zzcat", "--out", str(tmp_path))
    assert refused.exit_code == 2 and "does not have the word 'zzcat'" in refused.stderr


def test_texture_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "present", lambda *arguments: None)
    folder, lora = write_sd_folder(tmp_path / "sd"), str(write_lora(tmp_path / "x.safetensors"))
    word = str(write_word(tmp_path / "zzcorgi.safetensors"))
    box = tmp_path / "box.glb"
    trimesh.creation.box().export(box)
    command = ["texture", str(box), "a red zzcorgi", "--guidance", "sds", "--prior", str(folder)]
    unused = ("splats.count", "export.resolution", "export.faces", "formats")  # an asset has its own
    tiny = sets(**{key: value for key, value in SMALL.items() if key not in unused})
    seen = [
        first_gradient(tmp_path / str(i), *command, *tiny, *flags)
        for i, flags in enumerate([[], ["--lora", f"{lora}:2"], ["--textual-inversion", word]])
    ]
    assert min(abs(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 1e-4 * seen[0]


def test_compare_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by the variance of a gradient, which is that of the same draws."""
    monkeypatch.setattr(compare, "DRAWS", 2)
    folder, lora = write_sd_folder(tmp_path / "sd"), str(write_lora(tmp_path / "x.safetensors"))
    word = str(write_word(tmp_path / "zzcorgi.safetensors"))
    command = ["compare", "a red zzcorgi", "--guidance", "sds", "--budget", "evals:2", "--prior", str(folder)]
    command += sets(**{"views": 1, "splats.count": 60})
    seen = []
    for i, flags in enumerate([[], ["--lora", f"{lora}:2", "--textual-inversion", word]]):
        result = sds3d(*command, *flags, "--out", str(tmp_path / str(i)))
        assert result.exit_code == 0, result.output
        (report,) = (tmp_path / str(i)).glob("*/compare.json")
        seen.append(json.loads(report.read_text())["rows"][0]["variance"])
    assert seen[1] != pytest.approx(seen[0], rel=1e-3)


def test_bench_quality_draws_with_the_lora_and_refuses_words(tmp_path: Path) -> None:
    folder, lora = write_sd_folder(tmp_path / "sd"), str(write_lora(tmp_path / "x.safetensors"))
    (tmp_path / "one.txt").write_text("a red chair\n")
    command = ["bench", "quality", "--samples-only", "--prompts", str(tmp_path / "one.txt"), "--sample-steps", "1"]
    command += ["--prior", str(folder), "--out", str(tmp_path / "out")]
    for flags in ([], ["--lora", f"{lora}:4"]):
        result = sds3d(*command, *flags)
        assert result.exit_code == 0, result.output
    assert len({file.read_bytes() for file in (tmp_path / "out/results").glob("*.png")}) == 2
    report = json.loads((tmp_path / "out/quality.json").read_text())
    assert f"--set lora={lora}:4" in report["command"]
    for flags in (["--set", "textual_inversion=x"], ["--control", str(tmp_path)]):
        refused = sds3d(*command, *flags)
        assert refused.exit_code == 2 and "out" in refused.stderr and refused.stderr.count("\n") == 1
