"""Trajectory Score Matching in closed form on Gaussians (O9)."""

from __future__ import annotations

import math

import pytest
import torch
from guidance_helpers import context, gaussians
from path_helpers import MU, STD, T, eps, images, ladder, mixed, noised, ratio, walk

from sds3d.errors import UserError
from sds3d.guidance.base import iid_noise
from sds3d.guidance.csm import CSM
from sds3d.guidance.ism import ISM
from sds3d.guidance.step import distill_gradient
from sds3d.guidance.tsm import TSM


def matched(objective: ISM) -> torch.Tensor:
    return distill_gradient(objective, context(images(), gaussians(STD)), T)[0]


@pytest.mark.parametrize("gamma", [None, 0.3, 0.8])
def test_view_by_view(gamma: float | None) -> None:
    """Both paths leave x_s by one step; the published gamma is 0.3."""
    x, g = images(), matched(TSM() if gamma is None else TSM(gamma=gamma))
    noise = iid_noise(context(x, gaussians()))
    for i, t in enumerate(T.tolist()):
        s = max(t - 100, 0)
        mu = round(s + (t - s) * math.sqrt(1 - (gamma or 0.3) ** 2))
        z_s = walk(noised(x[i], 0, noise[i]), ladder(0, s, 200), MU["null"])
        z_t, z_mu = walk(z_s, [s, t], MU["null"]), walk(z_s, [s, mu], MU["null"])
        assert torch.allclose(g[i], ratio(t) * (eps(z_t, t, mixed(7.5)) - eps(z_mu, mu, MU["null"])), atol=1e-8)


def test_o9_gamma_one_is_ism_and_gamma_zero_the_classifier() -> None:
    assert torch.allclose(matched(TSM(gamma=1.0)), matched(ISM()), atol=1e-8)
    assert torch.allclose(matched(TSM(gamma=0.0)), matched(CSM()), atol=1e-8)


@pytest.mark.parametrize("t", [50, 500, 905])
def test_one_prediction_more_than_ism(t: int) -> None:
    nfe = [distill_gradient(o, context(images(), gaussians(STD)), torch.full((3,), t))[1].nfe for o in (TSM(), ISM())]
    assert nfe[0] == nfe[1] + 1 <= 9


def test_gamma_is_a_share() -> None:
    for wrong in (-0.1, 1.1):
        with pytest.raises(UserError, match="gamma lies between 0 and 1"):
            TSM(gamma=wrong)
