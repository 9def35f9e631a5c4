"""`--prior oracle:...`: exact priors from files, and the exact critic of a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from engine_helpers import settings
from PIL import Image
from torch import Tensor

from sds3d.assets import Placement
from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.engine.distill import distill, prepare
from sds3d.engine.resolve import resolve
from sds3d.engine.scene_critic import SceneCritic
from sds3d.errors import UserError
from sds3d.export import splat_files
from sds3d.export.splats import Splats
from sds3d.priors import list_priors, load_prior
from sds3d.priors.base import Cond
from sds3d.priors.oracle_source import ViewsPrior, anchored, load_oracle
from sds3d.render.assets import load_asset, over

SIZE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box, red in front (+Z) and blue behind, as .glb; two pictures; a subfolder with a third."""
    root = tmp_path_factory.mktemp("oracle")
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    front = box.vertices[box.faces].mean(1)[:, 2] > 0
    box.visual.face_colors = np.where(front[:, None], (230, 20, 20, 255), (20, 20, 230, 255)).astype(np.uint8)
    box.export(root / "box.glb")
    for name, colour in (("red_ball-01.png", "red"), ("green ball.png", "green"), ("blue ball/3.png", "blue")):
        (root / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), colour).save(root / "set" / name)
    return root


def at(azimuths: list[float], elevation: float = 0.0) -> Cameras:
    fov = torch.full((len(azimuths),), 40.0)
    return Cameras(torch.tensor(azimuths), torch.full_like(fov, elevation), fov, fit_distance(fov))


def clean(prior: ViewsPrior, cond: Cond, t: int, x: Tensor | None = None) -> Tensor:
    """The x0 that the prior predicts from noise, or from a noised x."""
    noise = torch.randn(len(cond), 3, prior.size, prior.size, generator=torch.Generator().manual_seed(0)).double()
    ts = torch.full((len(cond),), t)
    alpha, sigma = prior.schedule.alpha_sigma(ts, noise)
    z = sigma * noise if x is None else alpha * x + sigma * noise
    return (z - sigma * prior.predict(z, ts, cond)) / alpha


def test_a_camera_gives_exactly_its_view(folder: Path) -> None:
    prior = load_prior(f"oracle:views:{folder / 'box.glb'}")
    assert isinstance(prior, ViewsPrior)
    cameras = at([0.0, 180.0])
    cond = prior.text(["a box", "a box"]).with_camera(cameras.angles)
    seen = prior.decode(clean(prior, cond, 500))
    truth = over(prior.look(cameras, prior.size), torch.ones(2, 3))
    assert (seen - truth).abs().max() < 1e-5
    middle = seen[:, :, 28:36, 28:36].mean((2, 3))
    assert middle[0, 0] > 1.5 * middle[0, 2] and middle[1, 2] > 1.5 * middle[1, 0], "the front is red, the back blue"


def test_the_background_is_the_one_that_the_condition_names(folder: Path) -> None:
    prior = load_oracle(f"oracle:views:{folder / 'box.glb'}")
    cond = prior.text(["", ""]).with_camera(at([0.0, 0.0]).angles).with_background(torch.tensor([0.25, float("nan")]))
    corner = prior.decode(clean(prior, cond, 300))[:, :, 0, 0]  # type: ignore[arg-type]
    assert torch.allclose(corner, torch.tensor([[0.25] * 3, [1.0] * 3]).double(), atol=1e-5)


def test_without_a_camera_any_view_of_the_ring_explains_the_picture(folder: Path) -> None:
    """Little noise on a view of the ring: the posterior finds that view among all."""
    prior = load_oracle(f"oracle:views:{folder / 'box.glb'}")
    x = prior.encode(over(prior.look(at([90.0], 20.0), 64), torch.ones(1, 3))).double()  # type: ignore[union-attr]
    assert (clean(prior, prior.text([""]), 200, x) - x).abs().max() < 1e-5  # type: ignore[arg-type]


def test_the_janus_share_is_the_posterior_of_pure_noise(folder: Path) -> None:
    """At the last level nothing is seen of x, so x0 is the mean: share * front + (1 - share) * side."""
    prior = load_oracle(f"oracle:janus:{folder / 'box.glb'}:0.75")
    cond = prior.text([""]).with_camera(at([90.0]).angles)
    front, side = (over(prior.look(at([a]), 64), torch.ones(1, 3)) * 2 - 1 for a in (0.0, 90.0))  # type: ignore[union-attr]
    mean = clean(prior, cond, prior.schedule.steps - 1)  # type: ignore[arg-type]
    assert (mean - (0.75 * front + 0.25 * side)).abs().max() < 0.02


def test_pictures_are_labelled_by_name_and_subfolder(folder: Path) -> None:
    prior = load_oracle(f"oracle:images:{folder / 'set'}")
    assert set(prior.labels) == {"red ball", "green ball", "blue ball"}  # type: ignore[union-attr]
    x = clean(prior, prior.text(["a blue ball, side view"]), 400)  # type: ignore[arg-type]
    assert torch.allclose(prior.decode(x)[0, :, 5, 5], torch.tensor([0.0, 0.0, 1.0]).double(), atol=1e-4)


def test_a_gaussian_around_a_picture(folder: Path) -> None:
    prior = load_oracle(f"oracle:gaussian:{folder / 'set' / 'green ball.png'}:0.5")
    assert float(prior.stds) == 0.5 and float(prior.means[0, 0].max()) == -1.0  # type: ignore[union-attr]


def test_gaussians_and_mesh_files_stand_upright_in_the_unit_ball(tmp_path: Path) -> None:
    """A red blob at +X and up, a blue one at -X and down, far too large: seen from the front they stay there."""
    means = torch.tensor([[4.0, 3.0, 0.0], [-4.0, -3.0, 0.0]])
    colors = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.0, 0.9]])
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(2, 1)
    splats = Splats(means, torch.full((2, 3), 1.0), quats, torch.full((2,), 0.95), colors)
    splat_files.write("ply", tmp_path / "two.ply", splats, None, Placement())
    seen = load_asset(tmp_path / "two.ply")(at([0.0]), 32)[0]
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    for channel, right, low in ((0, True, False), (2, False, True)):
        weight = seen[channel] * seen[3]
        u, v = (float((weight * axis).sum() / weight.sum()) for axis in (columns, rows))
        assert (u > 16) is right and (v > 16) is low, f"channel {channel} is seen at {u:.1f}, {v:.1f}"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("oracle:vews:x", "did you mean 'views'"),
        ("oracle:views", "oracle:views:FILE"),
        ("oracle:views:/nowhere.glb", "there is no file"),
        ("oracle:images:/nowhere", "there is no folder"),
        ("oracle:gaussian:/x.png", "gaussian:FILE.png:STD"),
        ("oracle:gaussian:/nowhere.png:0.1", "cannot read the picture"),
        ("oracle:janus:/x.glb:much", "janus:FILE:SHARE"),
    ],
)
def test_mistakes_say_how_to_write_it(spec: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_prior(spec)


def test_broken_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "broken.glb").write_bytes(b"junk")
    with pytest.raises(UserError, match="unknown kind"):
        load_asset(tmp_path / "broken.glb")
    with pytest.raises(UserError, match="neither asset.glb nor asset.ply"):
        load_asset(tmp_path)
    with pytest.raises(UserError, match="holds no pictures"):
        load_oracle(f"oracle:images:{tmp_path}")


def test_paths_are_anchored_and_the_preset_is_the_small_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    made = resolve("a box", {"prior": "oracle:views:box.glb"})
    assert made.prior == f"oracle:views:{folder / 'box.glb'}" and made.preset == "default"
    assert anchored("oracle:janus:box.glb:0.5") == f"oracle:janus:{folder / 'box.glb'}:0.5"
    assert {"oracle:views:FILE|RUN", "oracle:images:FOLDER"} <= {row.name for row in list_priors()}


def test_the_exact_critic_predicts_the_noise_and_its_marginal_does_not(folder: Path) -> None:
    """vsd on a prior without a network: for a camera e_psi is the noise itself; without one it is a mean over views."""
    prior = load_oracle(f"oracle:views:{folder / 'box.glb'}")
    run = prepare(settings(guidance="vsd", **{"splats.count": 60, "views": 2, "steps": 2, "background": "auto"}), prior)
    assert isinstance(run.critic, SceneCritic) and run.background == "grey"
    cameras, shade = orbit(2), torch.tensor([1.0, 0.5])
    x = prior.encode(run.scene.render(cameras, 64, shade[:, None].expand(2, 3)).rgb).detach()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([300, 700])
    alpha, sigma = prior.schedule.alpha_sigma(t, x)
    cond = prior.text(["", ""]).with_background(shade)
    known = run.critic.predict(alpha * x + sigma * noise, t, cond.with_camera(cameras.angles))
    assert (known - noise).abs().max() < 1e-4
    blind = run.critic.predict(alpha * x + sigma * noise, t, cond)
    assert (blind - noise).abs().max() > 1e-2
    assert all(not record.skipped for record in distill(run))


def test_a_spread_keeps_what_is_no_view(folder: Path) -> None:
    """Without a camera, at a low level: with a spread x0 of a picture that is no view is nearly that picture."""
    look = load_asset(folder / "box.glb")
    x = torch.zeros(1, 3, SIZE, SIZE).double()
    wide, narrow = (ViewsPrior(look, spread=s, size=SIZE) for s in (0.5, 0.0))
    assert (clean(wide, wide.text([""]), 20, x) - x).square().mean() < 0.01
    assert (clean(narrow, narrow.text([""]), 20, x) - x).square().mean() > 0.5
