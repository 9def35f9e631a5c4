"""Asynchronous Score Distillation in closed form on Gaussians (O8, O15)."""

from __future__ import annotations

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians
from path_helpers import MU, STD, T, eps, images, level, mixed, noised, ratio, slope

from sds3d.errors import UserError
from sds3d.guidance.asd import ASD
from sds3d.guidance.step import distill_gradient
from sds3d.schedule import scaled_linear


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """u (3,) and the noise (3, ...) of a step."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(3, generator=g), torch.randn((3, *SHAPE), generator=g).double()


def matched(objective: ASD, progress: float = 0.0, t: torch.Tensor = T) -> torch.Tensor:
    return distill_gradient(objective, context(images(), gaussians(STD), progress), t)[0]


@pytest.mark.parametrize(("progress", "low"), [(0.0, 500), (0.5, 260), (1.0, 20)])
def test_published_defaults_view_by_view(progress: float, low: int) -> None:
    """w = sigma^2, s = 7.5, t+ = t + floor(0.1 u (t - t_min)), never before t; one noise for both states."""
    x, g = images(), matched(ASD(), progress)
    u, noise = drawn()
    for i, t in enumerate(T.tolist()):
        later = t + max(int(0.1 * u[i].item() * (t - low)), 0)
        now, then = noised(x[i], t, noise[i]), noised(x[i], later, noise[i])
        expected = level(t)[1] ** 2 * (eps(now, t, mixed(7.5)) - eps(then, later, MU["pos"]))
        assert torch.allclose(g[i], expected, atol=1e-9)


def test_later_timestep_stays_in_range() -> None:
    c = context(images().repeat(20, 1, 1, 1), gaussians(STD), progress=1.0)
    t = torch.full((60,), 990)
    later = ASD(shift=0.02).later(c, t)
    assert later.max() == 999 and later.min() == 990 and len(later.unique()) > 5
    assert torch.equal(ASD(shift=0.0).later(c, t), t)


@pytest.mark.parametrize("cfg", [1.0, 7.5])
def test_o15_no_shift_is_the_classifier(cfg: float) -> None:
    x, g = images(), matched(ASD(cfg=cfg, shift=0.0))
    _, noise = drawn()
    for i, t in enumerate(T.tolist()):
        z = noised(x[i], t, noise[i])
        delta = eps(z, t, MU["pos"]) - eps(z, t, MU["null"])
        assert torch.allclose(g[i], level(t)[1] ** 2 * (cfg - 1) * delta, atol=1e-10)


@pytest.mark.parametrize(("t", "later", "expected"), [(100, 110, -0.022), (700, 770, 0.069)])
def test_o8_alone_it_expands_at_low_noise(t: int, later: int, expected: float) -> None:
    """The mean [k(t) - k(t+)] (x - mu) changes its sign where lambda = c; on Stable Diffusion's schedule."""
    schedule = scaled_linear()
    assert slope(t, STD, schedule) - slope(later, STD, schedule) == pytest.approx(expected, abs=2e-3)
    shifted = matched(ASD(cfg=1.0, weight="uniform"), 1.0, torch.tensor([t, t, t]))
    u, noise = drawn()
    for i in range(3):
        plus = t + int(0.1 * u[i].item() * (t - 20))
        (_, sigma), (_, sigma_plus) = level(t), level(plus)
        mean = (slope(t) - slope(plus)) * (images()[i] - MU["pos"])
        spread = sigma**2 / (STD**2 * (1 - sigma**2) + sigma**2)
        spread_plus = sigma_plus**2 / (STD**2 * (1 - sigma_plus**2) + sigma_plus**2)
        assert torch.allclose(shifted[i], mean + (spread - spread_plus) * noise[i], atol=1e-9)
    assert (ratio(t) < STD) == (expected < 0)


def test_predictions_per_view() -> None:
    prior = gaussians(STD)
    assert distill_gradient(ASD(), context(images(), prior), T)[1].nfe == 3
    assert prior.forwards == [9]  # in one batch


def test_user_mistakes() -> None:
    for wrong in ({"shift": -0.1}, {"floor": 1.5}, {"floor_end": -0.1}):
        with pytest.raises(UserError, match="guidance shift must not be negative"):
            ASD(**wrong)
