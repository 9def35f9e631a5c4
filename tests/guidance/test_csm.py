"""Classifier Score Matching in closed form on Gaussians (O9)."""

from __future__ import annotations

import math

import pytest
import torch
from guidance_helpers import ByCondition, context, gaussians, means
from path_helpers import MU, STD, T, eps, images, ladder, noised, ratio, walk

from sds3d.guidance.base import iid_noise
from sds3d.guidance.csm import CSM
from sds3d.guidance.ism import ISM
from sds3d.guidance.step import distill_gradient
from sds3d.priors.oracle import gaussian


def matched(objective: ISM, prior: ByCondition) -> torch.Tensor:
    return distill_gradient(objective, context(images(), prior), T)[0]


def test_view_by_view() -> None:
    x, g = images(), matched(CSM(), gaussians(STD))
    noise = iid_noise(context(x, gaussians()))
    for i, t in enumerate(T.tolist()):
        s = max(t - 100, 0)
        z_t = walk(noised(x[i], 0, noise[i]), [*ladder(0, s, 200), t], MU["null"])
        delta = eps(z_t, t, MU["pos"]) - eps(z_t, t, MU["null"])
        assert torch.allclose(g[i], ratio(t) * 7.5 * delta, atol=1e-8)


@pytest.mark.parametrize("cfg", [1.0, 4.0, 7.5])
def test_o9_ism_without_its_interval_term(cfg: float) -> None:
    interval = matched(ISM(cfg=0.0), gaussians(STD))
    assert torch.allclose(matched(CSM(cfg=cfg), gaussians(STD)), matched(ISM(cfg=cfg), gaussians(STD)) - interval)


def test_nothing_where_the_prompt_says_nothing() -> None:
    mute = ByCondition([gaussian(means()["null"], STD)] * 4)
    assert matched(CSM(), mute).abs().max() < 1e-12


@pytest.mark.parametrize("t", [50, 500, 905])
def test_predictions_per_view(t: int) -> None:
    """The path and two, as ISM."""
    _, stats = distill_gradient(CSM(), context(images(), gaussians(STD)), torch.full((3,), t))
    assert stats.nfe == math.ceil(max(t - 100, 0) / 200) + 1 + 2
