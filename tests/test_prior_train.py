"""`sds3d prior train`: pieces, looks, what it refuses, and what the card says; a small network on discs and squares."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prior_helpers import SMALL, write_corpus
from torch import Tensor
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.embedded import look, run
from sds3d.embedded.curve import Curve, continued
from sds3d.embedded.data import Corpus
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import RECIPES, changed
from sds3d.errors import UserError
from sds3d.probe.card import lengthened

QUICK = ["--recipe", "tiny", "--set", "eigen_batch=16", "--set", "detail_batch=8"]


def length(eigen: int, detail: int) -> list[str]:
    return ["--set", f"eigen_images={eigen}", "--set", f"detail_images={detail}"]


def any_basis(corpus: Corpus, k: int, generator: torch.Generator) -> dict[str, Tensor]:
    """In the place of the principal components, whose eigenvectors of 3072 x 3072 take seconds."""
    basis = torch.linalg.qr(torch.randn(3072, 48, generator=generator))[0]
    return {"mean": torch.zeros(3072), "backdrop": torch.ones(3072), "basis": basis, "variance": torch.ones(48)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prompts = tmp_path / "two.txt"
    prompts.write_text("a red ball\na cow\n")
    monkeypatch.setattr(look, "PROMPTS", str(prompts))
    monkeypatch.setattr(run, "EigenDenoiser", partial(EigenDenoiser, **SMALL))
    monkeypatch.setattr(run, "principal_components", any_basis)


def discs(folder: Path, heldout: bool = True, **facts: Any) -> Path:
    write_corpus(folder, 64)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | facts))
    if not heldout:
        index = dict(np.load(folder / "index.npz"))
        np.savez(folder / "index.npz", **(index | {"heldout": np.zeros(64, bool)}))
    return folder


def train(corpus: Path, out: Path, *arguments: str, code: int = 0) -> str:
    """What the command says; of a refusal the one line."""
    result = CliRunner().invoke(app, ["prior", "train", "--corpus", str(corpus), "--out", str(out), *QUICK, *arguments])
    assert result.exit_code == code, result.output
    assert code == 0 or result.stderr.startswith("error: ") and len(result.stderr.strip().splitlines()) == 1
    return result.stdout if code == 0 else result.stderr


def looks(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "work" / "probe.jsonl").read_text().splitlines()]


def test_a_finished_training_left_a_series_of_looks_and_is_left_alone(tmp_path: Path) -> None:
    corpus, out = discs(tmp_path / "corpus"), tmp_path / "prior"
    said = train(corpus, out, *length(32, 8), "--look-every", "0")
    series = looks(out)
    assert [look["images"] for look in series] == [16, 40] and series[0]["ceiling"]["r5"] > 0.5
    assert all(look["colour"]["prompts"] == look["azimuth"]["prompts"] == 1 for look in series)
    assert (out / "work" / "samples-16.png").read_bytes() != (out / "samples.png").read_bytes()
    assert (out / "work" / "samples-40.png").read_bytes() == (out / "samples.png").read_bytes()
    lines = [line for line in said.splitlines() if line.startswith("probe at ")]
    beside = (f"% / {series[0]['ceiling']['r5']:.0%}", f"° / {series[0]['ceiling']['azimuth']:.0f}°")
    assert len(lines) == 2 and all(ceiling in line for line in lines for ceiling in beside)
    assert said.splitlines()[-1] == f"done: {out}"
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert train(corpus, out, *length(32, 8)) == f"done: {out}\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_a_training_goes_on_piece_by_piece(tmp_path: Path) -> None:
    corpus, out = discs(tmp_path / "corpus"), tmp_path / "prior"
    for _ in range(2):
        said = train(corpus, out, *length(16 * 9000, 8), "--minutes", "0.01")
        assert said.splitlines()[-1] == "stopped after 0.01 minutes; the same command goes on"
    first, second = looks(out)
    assert 0 < first["images"] < second["images"] and (out / "unet").is_dir()


def test_weights_are_not_gone_on_with_by_mistake(tmp_path: Path) -> None:
    corpus, other = discs(tmp_path / "corpus"), discs(tmp_path / "other", hash="another")
    out = tmp_path / "prior"
    train(corpus, out, *length(16, 8))
    for corpse, arguments, words in (
        (other, [], "corpus another (was test)"),
        (corpus, ["--seed", "5"], "seed 5 (was 0)"),
        (corpus, ["--set", "eigen_lr=6e-4"], "eigen_lr 0.0006 (was 0.0007)"),
    ):
        line = train(corpse, out, *length(16, 8), *arguments, code=2)
        assert words in line and "--out" in line and "--go-on" in line
    assert "eigen_images=N" in train(other, out, *length(16, 8), "--go-on", code=2)  # nothing is left to see
    said = train(other, out, *length(48, 24), "--go-on")
    assert said.splitlines()[-1] == f"done: {out}"
    records = Curve(out / "work" / "curve.jsonl").records()
    assert [(r["stage"], r["step"], r["corpus"]) for r in records] == [
        ("eigen", 1, "test"), ("detail", 1, "test"), ("eigen", 3, "another"), ("detail", 3, "another"),
    ]  # fmt: skip
    made = json.loads((out / "training.json").read_text())
    assert [stamp["corpus"] for stamp in made["stamps"]] == ["test", "another"]
    card = (out / "README.md").read_text()
    assert "length of the eigen stage was changed on the way: 1, then 3 steps" in card
    assert "2. corpus another (was test), eigen_images 48 (was 16), detail_images 24 (was 8)" in card
    eigen, detail = (torch.load(out / "work" / f"train_{s}.pt", weights_only=True)["ema"] for s in ("eigen", "detail"))
    assert all(torch.equal(value, eigen[key]) for key, value in detail.items() if not key.startswith("detail."))


def test_a_corpus_without_held_out_objects(tmp_path: Path) -> None:
    corpus, out = discs(tmp_path / "corpus", heldout=False), tmp_path / "prior"
    (out / "work").mkdir(parents=True)  # a training on something else was stopped before its first checkpoint
    torch.save({"basis": "of another corpus"}, out / "work" / "components.pt")
    said = train(corpus, out, *length(16, 8))
    assert said.startswith("no object of this corpus is held out") and "done:" in said
    assert "held-out loss below is that of renders it learnt from" in (out / "README.md").read_text()


def test_a_recipe_is_changed_by_name() -> None:
    made = changed(RECIPES["cpu"], ["eigen_images=10500000", "eigen_lr = 6e-4", "checkpoint=100"])
    assert made == replace(RECIPES["cpu"], eigen_images=10_500_000, eigen_lr=6e-4, checkpoint=100)
    for assignment, words in (
        ("eigen_lrr=1", "did you mean 'eigen_lr'"),
        ("eigen_images=many", "eigen_images takes a whole number, not 'many'"),
        ("eigen_images=1.5", "takes a whole number"),
        ("eigen_batch=0", "above 0"),
        ("drop=1.5", "from 0 to 1"),
        ("warmup", "KEY=VALUE"),
    ):
        with pytest.raises(UserError, match=words):
            changed(RECIPES["cpu"], [assignment])


def record(stage: str, step: int, total: int, corpus: str = "a") -> dict[str, Any]:
    return {"stage": stage, "step": step, "total": total, "images": 10 * step, "corpus": corpus}


def test_the_curve_says_what_one_command_would_not_repeat() -> None:
    straight = [record("eigen", 1, 2), record("eigen", 2, 2), record("detail", 1, 1)]
    assert continued(straight) == ""
    assert "2, then 4 steps" in lengthened([*straight[:2], record("eigen", 4, 4)])
    said = continued([*straight, record("eigen", 3, 4, "b"), record("detail", 1, 1, "b")])
    assert "length of the eigen stage was changed on the way: 2, then 4 steps" in said
    assert "detail stage was begun anew once" in said and "corpus was changed on the way: `a`, then `b`" in said


def test_the_curve_forgets_what_no_checkpoint_holds(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.jsonl")
    kept = [record("eigen", 1, 2), record("eigen", 2, 2), record("detail", 1, 5)]
    for one in (*kept, record("detail", 2, 5)):
        curve.add(one)
    with curve.path.open("a") as log:
        log.write('{"stage": "det')
    curve.cut({"eigen": 2, "detail": 1})
    assert curve.records() == kept and curve.images() == 30


def test_a_contest_needs_held_out_objects(tmp_path: Path) -> None:
    corpus = discs(tmp_path / "corpus", heldout=False)
    result = CliRunner().invoke(app, ["prior", "rivals", "--corpus", str(corpus), "--out", str(tmp_path / "rivals")])
    assert result.exit_code == 2 and "held-out objects" in result.stderr, result.output
