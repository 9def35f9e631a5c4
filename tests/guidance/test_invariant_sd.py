"""Invariant Score Distillation in closed form on Gaussians."""

from __future__ import annotations

import pytest
import torch
from guidance_helpers import ByCondition, context, gaussians
from path_helpers import MU, STD, T, eps, images, level, noised, ratio, walk

from sds3d.errors import UserError
from sds3d.guidance.base import iid_noise
from sds3d.guidance.invariant_sd import InvariantSD
from sds3d.guidance.step import distill_gradient
from sds3d.priors.oracle import point_mass


def matched(objective: InvariantSD, prior: ByCondition, t: torch.Tensor = T) -> torch.Tensor:
    return distill_gradient(objective, context(images(), prior), t)[0]


def test_published_defaults_view_by_view() -> None:
    """w = sigma^2, s = t - 20 but not below 0, the step and the first term with the prompt."""
    t = torch.tensor([10, 430, 905])
    x, g = images(), matched(InvariantSD(), gaussians(STD), t)
    noise = iid_noise(context(x, gaussians()))
    for i, now in enumerate(t.tolist()):
        s, z = max(now - 20, 0), noised(x[i], now, noise[i])
        pos, null = eps(z, now, MU["pos"]), eps(z, now, MU["null"])
        change = eps(walk(z, [now, s], MU["pos"]), s, MU["pos"]) - pos
        expected = level(now)[1] ** 2 * (ratio(s) / ratio(now) * change + 7.5 * (pos - null))
        assert torch.allclose(g[i], expected, atol=1e-9)


def test_first_term_is_the_change_of_the_estimate() -> None:
    """Without guidance and with w = lambda: g = x0(x_t) - x0(x_s), which on a Gaussian goes away from the mean."""
    x, g = images(), matched(InvariantSD(cfg=0.0, weight="lambda"), gaussians(STD))
    noise = iid_noise(context(x, gaussians()))
    for i, t in enumerate(T.tolist()):
        z_t = noised(x[i], t, noise[i])
        z_s = walk(z_t, [t, t - 20], MU["pos"])
        before, after = ((z - level(v)[1] * eps(z, v, MU["pos"])) / level(v)[0] for z, v in ((z_t, t), (z_s, t - 20)))
        assert torch.allclose(g[i], before - after, atol=1e-8)
        assert ((after - MU["pos"]).abs() > (before - MU["pos"]).abs()).all()


def test_point_mass_leaves_the_classifier() -> None:
    models = {name: point_mass(MU[name]) for name in ("null", "pos")}
    g = matched(InvariantSD(weight="uniform"), ByCondition([models["null"], models["pos"]]))
    for i, t in enumerate(T.tolist()):
        alpha, sigma = level(t)
        assert torch.allclose(g[i], 7.5 * alpha / sigma * (MU["null"] - MU["pos"]), atol=1e-8)


def test_predictions_per_view() -> None:
    prior = gaussians(STD)
    assert distill_gradient(InvariantSD(), context(images(), prior), T)[1].nfe == 3
    assert prior.forwards == [3, 6]


def test_user_mistakes() -> None:
    for wrong in (-0.1, 1.5):
        with pytest.raises(UserError, match="interval is a share of T"):
            InvariantSD(interval=wrong)
