"""Interval Score Matching in closed form on Gaussians (O8, O9)."""

from __future__ import annotations

import math

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians, gradient
from path_helpers import MU, STD, T, eps, images, ladder, level, mixed, noised, ratio, variance, walk

from sds3d.errors import UserError
from sds3d.guidance.base import iid_noise
from sds3d.guidance.ism import ISM
from sds3d.guidance.step import distill_gradient

MOMENTS = [(0.0, 100), (0.15, 90), (0.3, 80), (1.0, 80)]  # progress, published interval in timesteps


def matched(objective: ISM, progress: float) -> torch.Tensor:
    return distill_gradient(objective, context(images(), gaussians(STD), progress), T)[0]


@pytest.mark.parametrize(("progress", "delta"), MOMENTS)
def test_published_defaults_view_by_view(progress: float, delta: int) -> None:
    x, g = images(), matched(ISM(), progress)
    noise = iid_noise(context(x, gaussians()))
    for i, t in enumerate(T.tolist()):
        s = max(t - delta, 0)
        z_s = walk(noised(x[i], 0, noise[i]), ladder(0, s, 200), MU["null"])
        z_t = walk(z_s, [s, t], MU["null"])
        assert torch.allclose(g[i], ratio(t) * (eps(z_t, t, mixed(7.5)) - eps(z_s, s, MU["null"])), atol=1e-8)


def test_o8_interval_term_contracts_as_the_ode_says() -> None:
    """Without guidance, in small steps: e_t - e_s = (sigma_t / sqrt v_t - sigma_s / sqrt v_s)(z_0 - alpha_0 mu) / sqrt
    v_0, a positive multiple, to the first order of the steps (1 in 400)."""
    x, mu = images(), MU["null"]
    objective = ISM(cfg=0.0, step=0.002, interval_start=0.002, weight="uniform")
    g = gradient(objective, context(x, gaussians(STD)), 420)
    start = noised(x, 0, iid_noise(context(x, gaussians()))) - level(0)[0] * mu
    factor = [level(t)[1] / math.sqrt(variance(t)) for t in (420, 418)]
    exact = (factor[0] - factor[1]) * start / math.sqrt(variance(0))
    assert (g - exact).norm() < 0.01 * exact.norm()
    assert ((g * (x - mu)).flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize(("s", "t"), [(20, 100), (420, 500), (900, 980)])
def test_o8_its_factor_is_positive_at_every_level(s: int, t: int) -> None:
    """Unlike ASD's: with the published interval and grid, along (x - mu) alone (the rest of g is the noise of level 0,
    which `far` and `near` share)."""
    x = MU["null"] + torch.ones(3, *SHAPE, dtype=torch.float64)
    objective = ISM(cfg=0.0, interval_start=(t - s) / 1000)
    prior = gaussians(STD)
    far, near = (gradient(objective, context(v, prior), t) for v in (x, 0 * x + MU["null"]))
    assert ((far - near) > 0).all()


def test_no_interval_is_guidance_on_the_inverted_state() -> None:
    x = images()
    g = matched(ISM(interval_start=0.0), 0.0)
    noise = iid_noise(context(x, gaussians()))
    for i, t in enumerate(T.tolist()):
        z_t = walk(noised(x[i], 0, noise[i]), ladder(0, t, 200), MU["null"])
        delta = eps(z_t, t, MU["pos"]) - eps(z_t, t, MU["null"])
        assert torch.allclose(g[i], ratio(t) * 7.5 * delta, atol=1e-8)


@pytest.mark.parametrize("t", [50, 100, 101, 500, 905])
def test_predictions_per_view(t: int) -> None:
    """ceil((t - delta) / 200) + 1 + 2, at most 8: the last one of the path is the target."""
    prior = gaussians(STD)
    _, stats = distill_gradient(ISM(), context(images(), prior), torch.full((3,), t))
    assert stats.nfe == math.ceil(max(t - 100, 0) / 200) + 1 + 2 <= 8
    assert sum(prior.forwards) == 3 * stats.nfe


def test_constant_interval_and_user_mistakes() -> None:
    assert torch.equal(matched(ISM(warmup=0.0, interval=0.05), 0.0), matched(ISM(interval=0.05), 0.5))
    for wrong in ({"step": 0.0}, {"interval": -0.1}, {"interval_start": -0.1}, {"warmup": -1.0}):
        with pytest.raises(UserError, match="guidance step is a share"):
            ISM(**wrong)
