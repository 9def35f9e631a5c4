"""RFDS: velocities on a variance-preserving prior, cost, O26."""

from __future__ import annotations

import math

import torch
from edit_lab import Desk, close, images
from guidance_helpers import SHAPE, gaussians, means
from torch import Tensor

from sds3d.guidance import GUIDANCE, SDS, Context
from sds3d.guidance.base import iid_noise
from sds3d.guidance.rfds import RFDS
from sds3d.priors.oracle import gaussian

STD = 0.7


def velocity(x: Tensor, noise: Tensor, s: Tensor, mean: Tensor) -> Tensor:
    """E[n - x | x_s] of a rectified flow on N(mean, STD^2), in the flow's own coordinates."""
    at = (1 - s) * x + s * noise
    gap = (at - (1 - s) * mean) / ((1 - s) ** 2 * STD**2 + s**2)
    return s * gap - (mean + (1 - s) * STD**2 * gap)


def test_o26_it_is_the_flow_matching_residual() -> None:
    """v^s(x_s) - (n - x) with v from the closed form of a flow, which never hears of alpha, sigma and eps."""
    desk = Desk(prior=gaussians(STD), x_src=None)
    s = desk.step(RFDS(cfg=3.0, random_weight=False))
    a, b = s.states["t"].alpha, s.states["t"].sigma
    noise = iid_noise(desk.context())
    pos, null = (velocity(desk.x, noise, b / (a + b), means()[name]) for name in ("pos", "null"))
    assert close(s.g, null + 3 * (pos - null) - (noise - desk.x), atol=1e-8)
    assert s.nfe == 2
    assert RFDS().cfg == 100 and RFDS().weight == "flow" and RFDS().random_weight and GUIDANCE["rfds"] is RFDS


def test_o26_sds_is_one_minus_flow_time_of_it() -> None:
    s = Desk(x_src=None).step(RFDS(cfg=3.0, random_weight=False))
    a, b = s.states["t"].alpha, s.states["t"].sigma
    sds = Desk(x_src=None).step(SDS(cfg=3.0, weight="uniform"))
    assert close(sds.g, (1 - b / (a + b)) * s.g)


def test_o26_its_mean_over_the_noise() -> None:
    """k / (1 - s) (x - mu): 5 standard errors of 4000 draws."""
    views, t, mu = 4000, 500, means()["pos"]
    x = images(1)[0]
    desk = Desk(prior=gaussian(mu, STD), x=x.expand(views, *SHAPE), x_src=None, t=torch.full((views,), t))
    g = desk.step(RFDS(cfg=1.0, random_weight=False)).g
    bar = desk.prior.schedule.alphas_cumprod[t].item()
    a, b = math.sqrt(bar), math.sqrt(1 - bar)
    v = (a * STD) ** 2 + b**2
    spread = (a + b) / a * (1 - b**2 / v) / math.sqrt(views)
    assert (g.mean(0) - a * b / v * (a + b) / a * (x - mu)).abs().max() < 5 * spread


def test_the_random_weight_is_one_sigmoid_of_a_normal_for_each_view() -> None:
    plain, weighted = (Desk(x_src=None).step(RFDS(cfg=3.0, random_weight=r)).g for r in (False, True))
    c: Context = Desk(x_src=None).context()
    iid_noise(c)  # drawn first
    drawn = torch.randn(4, generator=c.generator).double().sigmoid()
    assert close(weighted, drawn.view(-1, 1, 1, 1) * plain)
    assert len(set(drawn.tolist())) == 4
