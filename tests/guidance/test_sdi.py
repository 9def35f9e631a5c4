"""Score Distillation via Inversion in closed form on Gaussians (O6)."""

from __future__ import annotations

import math

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians
from path_helpers import MU, STD, T, eps, images, ladder, level, mixed, noised, ratio, variance, walk

from sds3d.errors import UserError
from sds3d.guidance.base import Context
from sds3d.guidance.sdi import SDI
from sds3d.guidance.step import distill_gradient

PLAIN = {"eta": 0.0, "beyond": 0.0}


def matched(objective: SDI, t: torch.Tensor = T) -> torch.Tensor:
    return distill_gradient(objective, context(images(), gaussians(STD)), t)[0]


def test_published_defaults_view_by_view() -> None:
    """s = 7.5, s_inv = -7.5, steps of T / 10 to t' = t + U(0, T / 10), each with 0.3 of DDPM's noise on top."""
    t = torch.tensor([60, 430, 890])
    x, g = images(), matched(SDI(), t)
    stream = torch.Generator().manual_seed(0)
    u = torch.rand(3, generator=stream)
    noises = [torch.randn((3, *SHAPE), generator=stream).double() for _ in range(10)]
    for i, now in enumerate(t.tolist()):
        end = now + int(100 * u[i].item())
        levels, z = ladder(0, end, 100), x[i]
        for a, b, noise in zip(levels[:-1], levels[1:], noises, strict=False):
            (alpha_a, sigma_a), (alpha_b, sigma_b) = level(a), level(b)
            spread = sigma_a / sigma_b * math.sqrt(1 - (alpha_b / alpha_a) ** 2)
            z = walk(z, [a, b], mixed(-7.5)) + 0.3 * spread * noise[i]
        kappa = (z - level(end)[0] * x[i]) / level(end)[1]
        expected = ratio(now) * (eps(noised(x[i], now, kappa), now, mixed(7.5)) - kappa)
        assert torch.allclose(g[i], expected, atol=1e-7)


def test_it_is_the_residual_of_a_denoising_step() -> None:
    """With eta = 0 and t' = t, x - g is x0(e^s) at the inverted state itself."""
    x, g = images(), matched(SDI(**PLAIN))
    for i, t in enumerate(T.tolist()):
        z = walk(x[i], ladder(0, t, 100), mixed(-7.5))
        alpha, sigma = level(t)
        assert torch.allclose(x[i] - g[i], (z - sigma * eps(z, t, mixed(7.5))) / alpha, atol=1e-7)


def test_o6_kappa_converges_to_the_ode_of_a_gaussian_and_g_to_nothing() -> None:
    """Inversion and target with one guidance: kappa_ODE in closed form; both errors halve with the steps."""
    x, t, mu, errors, rests = images(1), torch.tensor([600]), MU["pos"], [], []
    end = level(600)[0] * mu + math.sqrt(variance(600) / variance(0)) * (x - level(0)[0] * mu)
    exact = (end - level(600)[0] * x) / level(600)[1]
    for step in (0.02, 0.01, 0.005):
        objective = SDI(cfg=1.0, inversion_cfg=1.0, step=step, **PLAIN)
        c = context(x, gaussians(STD))
        errors.append((objective.noise(c, t) - exact).abs().max().item())
        rests.append(distill_gradient(objective, c, t)[0].abs().max().item())
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert coarse / fine == pytest.approx(2, abs=0.15)
    self_consistent = ratio(600) * (eps(end, 600, mu) - exact).abs().max().item()  # e is not constant along the ODE
    assert rests[-1] == pytest.approx(self_consistent, rel=0.05)


def test_o6_nothing_to_do_at_the_fixed_point_of_the_noise() -> None:
    """kappa* = lambda (x - mu) / c^2 is what the prior predicts where it was added."""

    class Known(SDI):
        def noise(self, c: Context, t: torch.Tensor) -> torch.Tensor:
            factor = torch.tensor([ratio(v) for v in t.tolist()], dtype=torch.float64).view(-1, 1, 1, 1)
            return factor * (c.x - MU["pos"]) / STD**2

    assert matched(Known(cfg=1.0)).abs().max() < 1e-9
    assert matched(Known(cfg=1.5)).abs().max() > 1e-3


@pytest.mark.parametrize("t", [100, 450, 950])
def test_predictions_per_view(t: int) -> None:
    """2 ceil(t / 100) for the inversion and 2; at most 2 more for what lies beyond t."""

    def cost(objective: SDI) -> int:
        return distill_gradient(objective, context(images(), gaussians(STD)), torch.full((3,), t))[1].nfe

    assert cost(SDI(**PLAIN)) == 2 * math.ceil(t / 100) + 2
    assert cost(SDI()) - cost(SDI(**PLAIN)) in (0, 2)


def test_user_mistakes() -> None:
    for wrong in ({"step": 0.0}, {"beyond": 1.5}, {"eta": -0.1}):
        with pytest.raises(UserError, match="guidance step and beyond are shares"):
            SDI(**wrong)
