"""Consistency Distillation Sampling in closed form on Gaussians (O9)."""

from __future__ import annotations

import pytest
import torch
from guidance_helpers import SHAPE, ByCondition, context, gaussians
from path_helpers import MU, STD, T, eps, images, mixed, noised, walk

from sds3d.errors import UserError
from sds3d.guidance.cds import CDS
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.step import distill_gradient
from sds3d.priors.oracle import gaussian, point_mass
from sds3d.schedule import scaled_linear


def matched(objective: CDS, prior: ByCondition, progress: float = 0.0) -> torch.Tensor:
    return distill_gradient(objective, context(images(), prior, progress), T)[0]


@pytest.mark.parametrize(("progress", "scale"), [(0.0, 101), (0.5, 76), (1.0, 51)])
def test_published_defaults_view_by_view(progress: float, scale: float) -> None:
    """w = 1, s = t - U(100, 300) but not below 0, the run's noise, guidance 101 -> 51."""
    x, g = images(), matched(CDS(), gaussians(STD), progress)
    noise = run_fixed(context(x, gaussians()), name="cds")[0]
    u = torch.rand(3, generator=torch.Generator().manual_seed(0))
    mu = mixed(scale)
    for i, t in enumerate(T.tolist()):
        s = max(t - int(1000 * (0.1 + 0.2 * u[i].item())), 0)
        z_t = noised(x[i], t, noise)
        assert torch.allclose(g[i], eps(z_t, t, mu) - eps(walk(z_t, [t, s], mu), s, mu), atol=1e-8)


def test_noise_belongs_to_the_run_and_is_shared_by_the_views() -> None:
    def gradient(seed: int, step: int) -> torch.Tensor:
        c = context(images(1).repeat(2, 1, 1, 1), gaussians(STD), seed=step)
        c.seed = seed
        return distill_gradient(CDS(gap=(0.1, 0.1)), c, torch.tensor([500, 500]))[0]

    first = gradient(3, step=0)
    assert torch.equal(first, gradient(3, step=1)) and torch.equal(first[0], first[1])
    assert not torch.allclose(first, gradient(4, step=0))


def test_o9_no_gap_or_a_point_mass_give_nothing() -> None:
    assert matched(CDS(gap=(0.0, 0.0)), gaussians(STD)).abs().max() < 1e-10
    points = ByCondition([point_mass(MU["pos"])] * 4)
    assert matched(CDS(), points).abs().max() < 1e-9
    assert matched(CDS(), gaussians(STD)).abs().max() > 1e-2


def test_o9_it_contracts_on_a_gaussian() -> None:
    """g is linear in x - mu and the noise; the first factor is +0.104 at c = 0.7, t = 500, s = 300 on the schedule of
    Stable Diffusion, the opposite of what literal descent on the two estimates gives."""
    schedule, mu = scaled_linear(), MU["pos"]
    prior = ByCondition([gaussian(mu, STD, schedule)] * 4, schedule=schedule)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return distill_gradient(CDS(gap=(0.2, 0.2)), context(x[None], prior), torch.tensor([500]))[0][0]

    direction = torch.ones(SHAPE, dtype=torch.float64)
    factor = gradient(mu + direction) - gradient(mu)
    assert torch.allclose(factor, torch.full_like(factor, 0.104), atol=1e-3)


def test_predictions_per_view() -> None:
    """The pair at t is asked once, for the step and for the difference."""
    prior = gaussians(STD)
    assert distill_gradient(CDS(), context(images(), prior), T)[1].nfe == 4
    assert prior.forwards == [6, 6]


def test_user_mistakes() -> None:
    for gap in ((0.3, 0.1), (-0.1, 0.1), (0.1, 1.1)):
        with pytest.raises(UserError, match="gap needs two rising shares"):
            CDS(gap=gap)
