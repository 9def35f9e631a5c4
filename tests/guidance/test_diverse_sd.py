"""Diverse Score Distillation in closed form on Gaussians, and its two seeds on a set of two images (O15)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from guidance_helpers import context, gaussians
from path_helpers import MU, STD, T, eps, images, ladder, level, mixed, noised, walk

from sds3d.errors import UserError
from sds3d.guidance.diverse_sd import DiverseSD
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.paths import grid, path
from sds3d.guidance.step import distill_gradient
from sds3d.priors.oracle import finite_set


def seed_noise(seed: int = 0) -> torch.Tensor:
    c = context(images(1), gaussians())
    c.seed = seed
    return run_fixed(c, name="diverse")[0]


@pytest.mark.parametrize(("progress", "least"), [(0.0, 1), (0.74, 1), (0.75, 10), (1.0, 10)])
def test_published_defaults_view_by_view(progress: float, least: int) -> None:
    """w = sigma^2, s = 7.5; t+ - t = max(floor(0.1 u (t - 320)), 1, later 10); ten hops from 999 to t+."""
    x, t = images(), torch.tensor([60, 430, 915])
    g, _ = distill_gradient(DiverseSD(), context(x, gaussians(STD), progress), t)
    u = torch.rand(3, generator=torch.Generator().manual_seed(0))
    for i, now in enumerate(t.tolist()):
        later = now + max(int(0.1 * u[i].item() * (now - 320)), least)
        end = walk(seed_noise(), ladder(999, later, 100), mixed(7.5))
        noise = eps(end, later, mixed(7.5))
        guided = eps(noised(x[i], now, noise), now, mixed(7.5))
        plain = eps(noised(x[i], later, noise), later, MU["pos"])
        assert torch.allclose(g[i], level(now)[1] ** 2 * (guided - plain), atol=1e-7)


def test_noise_belongs_to_the_run_not_to_the_step() -> None:
    def gradient(seed: int, step: int) -> torch.Tensor:
        c = context(images(), gaussians(STD), seed=step)
        c.seed = seed
        return distill_gradient(DiverseSD(shift=0.0), c, T)[0]

    assert torch.equal(gradient(3, step=0), gradient(3, step=1))
    assert not torch.allclose(gradient(3, step=0), gradient(4, step=0))


def test_o15_on_its_path_the_prior_predicts_its_noise() -> None:
    """x = x0(n) of the path at t+: one step of the ODE to t, where e_pos is n but for the discretisation."""
    t, gaps = torch.tensor([600]), []
    for gap in (20, 10):
        objective = DiverseSD(cfg=1.0, shift=0.0, least=gap, weight="uniform")
        c = context(images(1), gaussians(STD))
        end = path(c, run_fixed(c, name="diverse"), grid(999, t + gap, 100), 1.0)[-1]
        noise = eps(end.z[0], 600 + gap, MU["pos"])
        c = replace(c, x=(end.z - end.sigma * noise) / end.alpha)
        gaps.append(distill_gradient(objective, c, t)[0].abs().max().item())
    assert gaps[0] < 0.05 and gaps[0] / gaps[1] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("side", [1, -1])
def test_o15_each_seed_ends_where_its_own_ode_goes(side: int) -> None:
    """Two opposite images, no guidance: the ODE keeps the side of its start. With t+ the t of the step before, x - g
    with w = lambda follows that path, whatever x begins with."""
    a = images(1, seed=1)
    seed = next(i for i in range(100) if side * (seed_noise(i) * a[0]).sum() > 1)
    prior = finite_set(torch.cat([a, -a]))
    objective = DiverseSD(cfg=1.0, shift=0.0, least=40, hops=25, weight="lambda")
    c = context(torch.zeros_like(a), prior)
    c.seed, c.conds = seed, {"pos": prior.text([""]), "null": prior.text([""])}
    for t in range(959, 0, -40):
        c.x = c.x - distill_gradient(objective, c, torch.tensor([t]))[0]
    end = path(c, run_fixed(c, name="diverse"), grid(999, torch.tensor([0]), 40), 1.0)[-1]
    assert (end.z - side * a).abs().max() < 0.05
    assert (c.x - side * a).abs().max() < 0.05


@pytest.mark.parametrize(("t", "steps"), [(60, 10), (898, 1), (897, 2)])
def test_predictions_per_view(t: int, steps: int) -> None:
    """2 (n + 3) as published, less the half of the pair at t+ that nothing uses."""
    objective = DiverseSD(shift=0.0)
    _, stats = distill_gradient(objective, context(images(), gaussians(STD)), torch.full((3,), t))
    assert stats.nfe == 2 * (steps + 3) - 1


def test_user_mistakes() -> None:
    for wrong in ({"hops": 0}, {"least": -1}):
        with pytest.raises(UserError, match="hops must be at least 1"):
            DiverseSD(**wrong)
