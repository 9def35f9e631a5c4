"""The corrective network: it starts as the identity, learns the closed form, is trained once and kept by prior."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from guidance_helpers import context, gradient
from torch import Tensor

from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.lmc_sds import LMCSDS
from sds3d.guidance.manifold import Corrective, Recipe, cache_folder, draw, find, fingerprint, train
from sds3d.priors.oracle import MixturePrior, finite_set, gaussian
from sds3d.schedule import cosine
from sds3d.streams import stream

SHAPE = (2, 4, 4)
SMALL = Recipe(images=32, levels=5, steps=3, batch=8, width=8)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=stream(seed, "images"))


def prior(std: float = 0.7) -> MixturePrior:
    return gaussian(images(1)[0], std)


def network(recipe: Recipe, seed: int = 0) -> Corrective:
    return Corrective(SHAPE, recipe.width, cosine(), stream(seed, "corrective-init"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sds3d"


def test_it_starts_as_the_identity_and_fits_odd_sizes() -> None:
    x, t = images(3), torch.tensor([0, 500, 999])
    assert torch.equal(network(SMALL)(x, t), x)
    odd = Corrective((1, 3, 5), 8, cosine(), stream(0, "corrective-init"))
    assert odd(torch.ones(2, 1, 3, 5), t[:2]).shape == (2, 1, 3, 5)


def test_draws_are_the_priors_own_images() -> None:
    """From a finite set every draw is one of its images, told as it was asked for."""
    a = images(3)
    views = torch.tensor([[0.0, 0.0], [120.0, 0.0], [240.0, 0.0]])
    x, cond = draw(finite_set(a, views=views, bandwidth=10.0), SHAPE, SMALL)
    nearest = (x[:, None] - a).flatten(2).norm(dim=2)
    assert nearest.amin(1).max() < 0.5 < nearest.sort(1).values[:, 1].min()
    assert len(x) == 32 and cond.camera is not None and cond.camera.shape == (32, 3)
    seen = ((cond.camera[:, 0] + 60) % 360 / 120).long()
    assert (nearest.argmin(1) == seen).float().mean() > 0.8


def test_o10_training_finds_the_affine_optimum() -> None:
    """On N(mu, c^2) the best b is x - sigma^2 / v (x - mu): an error ten times below that of the identity."""
    recipe = Recipe(images=128, levels=20, steps=150, batch=64, width=16, lr=1e-2)
    net, model = network(recipe), prior()
    train(net, model, SHAPE, recipe)
    t = torch.randint(50, 950, (200,), generator=stream(0, "t"))
    x = model.means + 0.7 * torch.randn(200, *SHAPE, generator=stream(0, "x"))
    alpha, sigma = cosine().alpha_sigma(t, x)
    best = x - sigma**2 / (alpha**2 * 0.7**2 + sigma**2) * (x - model.means)
    with torch.no_grad():
        error = (net(x, t) - best).square().mean()
    assert error < 0.1 * (x - best).square().mean()


def test_trained_once_kept_by_prior_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sds3d.guidance"):
        first = find(prior(), SHAPE, SMALL)
        assert len(caplog.messages) == 2 and "training its corrective" in caplog.messages[0]
        (path,) = folder.iterdir()
        assert str(path) in caplog.messages[1]
        again = find(prior(), SHAPE, SMALL)
        assert len(caplog.messages) == 2
        find(prior(0.5), SHAPE, SMALL)
        assert len(caplog.messages) == 4 and len(list(folder.iterdir())) == 2
    values = [torch.cat([p.flatten() for p in net.parameters()]) for net in (first, again)]
    assert torch.equal(*values) and not any(p.requires_grad for p in first.parameters())
    assert values[0].abs().sum() > 0 and not torch.equal(first.leave, network(SMALL).leave)


def test_training_is_deterministic_and_leaves_the_global_generator() -> None:
    state = torch.random.get_rng_state()
    nets = [network(SMALL) for _ in range(2)]
    for net in nets:
        train(net, prior(), SHAPE, SMALL)
    assert torch.equal(nets[0].leave, nets[1].leave) and torch.equal(torch.random.get_rng_state(), state)


def test_a_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "sds3d.guidance"):
        find(prior(), SHAPE, SMALL)
    assert "not kept: cannot write" in caplog.messages[1]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "sds3d"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sds3d"


def test_fingerprint_follows_weights_shape_and_recipe() -> None:
    plain = fingerprint(prior(), SHAPE, SMALL)
    assert plain == fingerprint(prior(), SHAPE, SMALL) and len(plain) == 16
    net = torch.nn.Linear(4, 4)
    carrying = MixturePrior(prior().means, prior().stds, network=net)
    weights = fingerprint(carrying, SHAPE, SMALL)
    with torch.no_grad():
        net.bias[2] += 1
    assert len({plain, weights, fingerprint(carrying, SHAPE, SMALL), fingerprint(prior(), SHAPE, Recipe())}) == 4


def test_the_run_keeps_it_and_the_step_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sds3d.guidance.manifold as manifold

    monkeypatch.setattr(manifold, "Recipe", lambda: SMALL)
    x, t = images(4, seed=1), 400
    c = context(x, prior())
    g = gradient(LMCSDS(weight="lambda"), c, t)
    net = c.cache["corrective"]
    assert isinstance(net, Corrective) and c.nfe["prior"] == 2  # what training asked is not this step's cost
    state = q_sample(x, torch.full((4,), t), iid_noise(context(x, prior())), cosine())
    e = c.prior.predict(state.z, state.t, c.conds["null"])
    assert torch.allclose(g, net(x, state.t) - (state.z - state.sigma * e) / state.alpha, atol=1e-5)
