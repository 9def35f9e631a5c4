"""The probe that comes with sds3d, on objects that neither it nor the prior learnt from, and its command on a run."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from sds3d.camera import orbit
from sds3d.cli.app import app
from sds3d.embedded.corpus.variants import normalise
from sds3d.engine import run as runs
from sds3d.engine.distill import create_scene
from sds3d.engine.resolve import resolve
from sds3d.probe import Probe, load_probe
from sds3d.probe.angles import angular_error, janus
from sds3d.probe.augment import over, premultiplied
from sds3d.probe.judge import WEIGHTS
from sds3d.probe.subjects import generate
from sds3d.render.mesh import render_soup
from sds3d.view.pictures import to_pixels

FRESH = 2024  # a seed that nothing was trained with
NOUNS = (
    "airplane",
    "apple",
    "banana",
    "bicycle",
    "cactus",
    "castle",
    "corgi",
    "crown",
    "donut",
    "guitar",
    "mug",
    "sword",
)


@lru_cache
def views(noun: str, n: int = 4, size: int = 64) -> Tensor:
    """(n, 3, size, size) around a new object of a generator, over white."""
    soup, _ = generate(noun, FRESH, 0)
    rgba, _ = render_soup(normalise(soup), orbit(n), size, 4)
    return over(premultiplied(torch.from_numpy(rgba)), torch.ones(n))


@pytest.fixture(scope="module")
def probe() -> Probe:
    return load_probe()


def test_the_weights_are_small_and_say_where_they_are_from(probe: Probe) -> None:
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir()) <= 6 * 2**20
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "sds3d probe train" in card and "seed" in card and "none of the prior's" in card
    makers = (WEIGHTS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "CC-BY-3.0" in makers and "Loopo" in makers and "@" not in makers and "??" not in makers
    assert len(probe.nouns) >= 300 and probe.colours[-1] == "none" and len(probe.colours) == 12
    assert set(probe.fronted) <= set(probe.nouns) and set(probe.shared) <= set(probe.nouns)


def test_its_ceiling_is_on_record(probe: Probe) -> None:
    ceiling = probe.ceiling
    assert ceiling["nouns"] >= 300 and ceiling["r1"] <= ceiling["r5"] <= 1 and ceiling["r5"] >= 0.65
    assert ceiling["colour"] >= 0.7 and ceiling["azimuth"] <= 25 and ceiling["janus"] <= 0.2


def test_it_recognises_new_objects_from_any_side(probe: Probe) -> None:
    best = torch.stack([(probe.rank(views(noun), noun) < 5).float().mean() for noun in NOUNS])
    assert best.mean() >= 0.7, dict(zip(NOUNS, best.tolist(), strict=True))


def test_a_larger_picture_is_judged_alike(probe: Probe) -> None:
    for noun in ("corgi", "mug"):
        small, large = probe.embed(views(noun)), probe.embed(views(noun, size=128))
        assert (small * large).sum(-1).mean() > 0.8


def test_it_tells_the_front_of_a_corgi_from_its_back(probe: Probe) -> None:
    azimuth, truth = probe.azimuth(views("corgi", 8)), orbit(8).azimuth
    assert angular_error(azimuth, truth).median() <= 30 and janus(azimuth, truth) == 0


def test_it_sees_colours(probe: Probe) -> None:
    apple = views("apple").clone()
    hues = {"red": apple, "blue": apple[:, [2, 1, 0]], "green": apple[:, [1, 0, 2]]}
    redness = apple[:, 0].mean() - apple[:, 1].mean()
    if redness < 0.05:  # this apple is not red: turn another channel
        hues = {"green": apple, "blue": apple[:, [0, 2, 1]]}
    hits = [float((probe.hue(x) == probe.colours.index(c)).float().mean()) for c, x in hues.items()]
    assert sum(hits) / len(hits) >= 0.6, hits


def test_the_right_prompt_scores_higher(probe: Probe) -> None:
    some = NOUNS[::2]
    everything = torch.cat([views(noun) for noun in some])
    scores = torch.stack([probe.score(everything, f"a {noun}") for noun in some])  # (prompts, pictures)
    right = torch.arange(len(some)).repeat_interleave(4)
    assert (scores.argmax(0) == right).float().mean() >= 0.8


def test_a_picture_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "mug.png"
    Image.fromarray(to_pixels(views("mug", size=128))[1]).save(path)
    result = CliRunner().invoke(app, ["probe", str(path), "--prompt", "a blue mug", "--json"])
    assert result.exit_code == 0, result.output
    (judged,) = json.loads(result.stdout)["results"]
    assert judged["noun"] == "mug" and judged["r5"] == 1 and judged["azimuth"] is None and judged["colour"] in (0, 1)


def test_a_run_is_judged_by_eight_views(tmp_path: Path) -> None:
    run = runs.create(resolve("a red mug", {"splats.count": 60, "steps": 2}), tmp_path)
    run.begin()
    scene = create_scene(run.settings, torch.device("cpu"))
    state = {f"scene.{k}": v for k, v in scene.state_dict().items()}
    runs.checkpoint.save(run.checkpoint, state, {"step": 2, "settings": run.settings.hash})
    result = CliRunner().invoke(app, ["probe", str(run.folder), "--json"])
    assert result.exit_code == 0, result.output
    (judged,) = json.loads(result.stdout)["results"]
    assert judged["views"] == 8 and len(judged["azimuths"]) == 8 and judged["prompt"] == "a red mug"
    shown = CliRunner().invoke(app, ["probe", str(run.folder), "--prompt", "a cat"]).stdout
    assert "cat" in shown and "R@5" in shown and "never learnt from" in shown
