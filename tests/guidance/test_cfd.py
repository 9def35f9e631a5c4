"""CFD: its formula, cost, and the flow of O7."""

from __future__ import annotations

import pytest
import torch
from edit_lab import Desk, close, images
from field_scenes import ball, seen
from guidance_helpers import SHAPE, means

from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE, SDS, Context, distill_gradient
from sds3d.guidance.base import iid_noise
from sds3d.guidance.cfd import CFD
from sds3d.guidance.noise import run_fixed
from sds3d.priors.oracle import gaussian
from sds3d.schedule import Schedule

T = torch.zeros(1, dtype=torch.long)


def test_formula_and_cost_without_a_view() -> None:
    desk = Desk(x_src=None)
    c = desk.context()
    g, stats = distill_gradient(CFD(cfg=3.0), c, desk.t)
    noise = run_fixed(desk.context())
    a, b = c.prior.schedule.alpha_sigma(desk.t, desk.x)
    pos, null = (desk.prior.predict(a * desk.x + b * noise, desk.t, c.conds[k].repeat(4)) for k in ("pos", "null"))
    assert close(g, b / a * (null + 3 * (pos - null) - noise))
    assert stats.nfe == 2
    published = CFD()
    assert (published.cfg, published.weight, published.gamma, published.beta) == (71, "lambda", 1e-4, 1)
    assert GUIDANCE["cfd"] is CFD


def test_without_the_field_it_is_sds() -> None:
    desk = Desk(x_src=None)
    assert close(desk.step(CFD(cfg=3.0, beta=0.0)).g, desk.step(SDS(cfg=3.0, weight="lambda")).g)


def test_beta_shares_the_variance_between_field_and_fresh_noise() -> None:
    desk = Desk(x_src=None)
    mixed = CFD(beta=0.36).noise(desk.context(), desk.t)
    assert close(mixed, 0.6 * run_fixed(desk.context()) + 0.8 * iid_noise(desk.context()))


def test_gamma_renews_the_field_step_by_step() -> None:
    view = ball(orbit(1), 64)
    now, later, renewed, fresh = (
        CFD(gamma=gamma).noise(seen(view, 16, channels=3, step=step), T)[:, :, 6:10, 6:10].flatten()
        for step, gamma in ((0, 0.0), (50, 0.0), (50, 1e-3), (50, 1.0))
    )
    assert torch.equal(now, later)
    assert 0.9 < torch.corrcoef(torch.stack([now, renewed]))[0, 1] < 0.999
    assert abs(torch.corrcoef(torch.stack([now, fresh]))[0, 1]) < 0.5


def test_o7_descending_in_noise_it_is_the_probability_flow() -> None:
    """x <- x - (|d lambda| / lambda) g from lambda_max lands where a Gaussian's ODE does; a unit step would not."""
    mu, std, levels = means()["pos"], 0.7, 150
    ratio = torch.linspace(30**0.5, 0.0, levels, dtype=torch.float64).square().flip(0)  # lambda by t, rising
    prior = gaussian(mu, std, Schedule(1 / (1 + ratio**2)))
    x = start = images(1, seed=3)
    c = Context(x, dict(Desk().context().conds), prior, torch.Generator())
    for t in range(levels - 1, 0, -1):
        c.x = x
        g, _ = distill_gradient(CFD(cfg=1.0), c, T + t)
        x = x - (ratio[t] - ratio[t - 1]) / ratio[t] * g
    noise = run_fixed(c)
    factor = std / (std**2 + ratio[-1] ** 2).sqrt()
    landed = mu + factor * (start + ratio[-1] * noise - mu)
    assert landed.shape == (1, *SHAPE) and (landed - start).abs().max() > 0.5
    assert (x - landed).abs().max() < 0.06  # Euler's error at this step; it halves with twice the levels


def test_shares_are_checked() -> None:
    for options in ({"gamma": 1.5}, {"beta": -0.1}):
        with pytest.raises(UserError, match="shares between 0 and 1"):
            CFD(**options)
