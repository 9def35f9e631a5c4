"""The embedded prior as it ships: its size, what a picture does to it, and the objectives that want more than text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_helpers import settings
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from sds3d.camera import orbit
from sds3d.cli.app import app
from sds3d.engine.distill import distill, prepare
from sds3d.engine.sample import imagine
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.picture import pixels
from sds3d.priors import PRIORS, load_prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.streams import stream
from sds3d.view.pictures import to_pixels

STEPS, CFG = 6, 3.0
TINY: dict[str, Any] = {"prior": "embedded", "views": 2, "background": "grey", "splats__count": 250}


@pytest.fixture(scope="module")
def prior() -> DiffusionPrior:
    loaded = load_prior("embedded")
    assert isinstance(loaded, DiffusionPrior)
    return loaded


@pytest.fixture(scope="module")
def pictures(prior: DiffusionPrior, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A red chair and a blue one, as files."""
    folder, made = tmp_path_factory.mktemp("pictures"), {}
    for colour in ("red", "blue"):
        drawn = imagine(prior, f"a {colour} chair", 1, 1, 2, STEPS, CFG)[0]
        made[colour] = folder / f"{colour}.png"
        Image.fromarray(to_pixels(drawn)[0]).save(made[colour])
    return made


def opened(path: Path) -> Tensor:
    return pixels(Image.open(path))[None]


def redness(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B,) red minus blue, the mean over what is not white."""
    shown = (images.amin(1) < 0.7).float()
    return ((images[:, 0] - images[:, 2]) * shown).sum((1, 2)) / shown.sum((1, 2))


def test_the_folder_is_small_enough_for_the_repository() -> None:
    folder = PRIORS["embedded"].folder
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 60e6


def test_a_picture_colours_every_side_and_by_its_scale(prior: DiffusionPrior, pictures: dict[str, Path]) -> None:
    def drawn(views: int, **told: Any) -> Tensor:
        return redness(imagine(prior, "a chair", views, 1, 0, STEPS, CFG, **told)[0])

    plain = drawn(4)
    red, blue = (drawn(4, reference=opened(pictures[colour])) for colour in ("red", "blue"))
    assert (red > plain + 0.15).all() and (blue < plain - 0.15).all()  # front, sides and back; seen: 0.3 and more
    half = drawn(1, reference=opened(pictures["red"]), image_scale=0.5)
    assert plain[0] + 0.05 < half[0] < red[0] - 0.05


def test_imagine_shows_the_picture_of_a_file(
    prior: DiffusionPrior, pictures: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sds3d.engine.imagine.load_prior", lambda *arguments, **keywords: prior)  # it is loaded
    command = ["imagine", "a chair", "--views", "1", "--rows", "1", "--steps", str(STEPS), "--cfg", str(CFG)]
    shown = []
    for flags in ([], ["--image", str(pictures["red"])]):
        result = CliRunner().invoke(app, [*command, "--out", str(tmp_path), *flags])
        assert result.exit_code == 0, result.output
        sheet = pixels(Image.open(result.stdout.strip()))[None]
        shown.append(float(redness(sheet[:, :, -128:])))
    assert {path.name for path in tmp_path.iterdir()} == {"imagine-a-chair-0.png", "imagine-a-chair-like-red-0.png"}
    assert shown[1] > shown[0] + 0.1


def test_isd_pulls_the_scene_to_its_picture(prior: DiffusionPrior, pictures: dict[str, Path]) -> None:
    found = {}
    for colour, path in pictures.items():
        chosen = settings(**TINY, guidance="isd", steps=12, image=str(path))
        run = prepare(replace(chosen, prompt="a chair"), prior)
        assert not any(record.skipped for record in distill(run))
        found[colour] = run.scene.render(orbit(4), 64, torch.ones(4, 3)).rgb.detach()
    red, blue = (redness(found[colour]) for colour in ("red", "blue"))
    assert (red > blue + 0.04).all()  # from all sides after twelve steps; seen: 0.08


def test_the_critic_of_vsd_learns_the_renders_and_leaves_no_trace(prior: DiffusionPrior) -> None:
    x = torch.randn(2, 3, 64, 64, generator=stream(0, "x"))
    t, cond = torch.tensor([300, 700]), prior.text(["a chair"] * 2).with_camera(orbit(2).angles)
    before = prior.predict(x, t, cond)
    critic = LoraCritic(prior, CriticConfig(lr=1e-3), stream(0, "critic"))
    assert torch.equal(critic.predict(x, t, cond), before) and torch.equal(prior.predict(x, t, cond), before)
    grey = torch.zeros(2, 3, 64, 64)  # what is rendered, and what no chair looks like
    losses = [float(critic.train_step(grey, cond, stream(0, "t"))) for _ in range(6)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.99 * losses[0]  # the same noise at each step
    assert not torch.equal(critic.predict(x, t, cond), before) and torch.equal(prior.predict(x, t, cond), before)
    critic.remove()
    assert torch.equal(prior.predict(x, t, cond), before)


def test_vsd_runs_with_its_lora_on_the_network(prior: DiffusionPrior) -> None:
    run = prepare(settings(**TINY, guidance="vsd", steps=3), prior)
    assert isinstance(run.critic, LoraCritic)
    updates = {name: value for name, value in run.critic.named_parameters().items() if ".lora_B." in name}
    assert len(updates) >= 6 and not any(value.any() for value in updates.values())  # nothing is changed yet
    assert not any(record.skipped for record in distill(run))
    assert all(value.any() for value in updates.values())
    run.close()
