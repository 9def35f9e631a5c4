"""RFDS-Rev: the refined noise, cost, and its fixed point (O26)."""

from __future__ import annotations

import pytest
import torch
from edit_lab import Desk, close
from guidance_helpers import means

from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.noise import refined
from sds3d.guidance.rfds import RFDS
from sds3d.guidance.rfds_rev import RFDSRev
from sds3d.priors.oracle import gaussian


def test_formula_and_cost() -> None:
    """One round as the paper writes it, in velocities; then RFDS on the new noise."""
    desk = Desk(x_src=None)
    s = desk.step(RFDSRev(cfg=3.0, random_weight=False))
    c, first = desk.context(), s.states["t"]
    flow = first.sigma / (first.alpha + first.sigma)
    noise = iid_noise(desk.context())
    at = first.z / (first.alpha + first.sigma)
    v = (s.e["pos", "t"] - at) / (1 - flow)
    noise = noise + (1 - flow) * (v + desk.x - noise)
    second = q_sample(desk.x, desk.t, noise, c.prior.schedule)
    pos, null = (desk.prior.predict(second.z, desk.t, c.conds[name].repeat(4)) for name in ("pos", "null"))
    assert close(s.g, (null + 3 * (pos - null) - noise) / (1 - flow), atol=1e-8)
    assert s.nfe == 3
    assert desk.step(RFDSRev(rounds=2)).nfe == 4
    assert RFDSRev().cfg == 100 and RFDSRev().rounds == 1 and GUIDANCE["rfds_rev"] is RFDSRev


def test_without_a_round_it_is_rfds() -> None:
    desk = Desk(x_src=None)
    assert torch.equal(desk.step(RFDSRev(rounds=0)).g, desk.step(RFDS()).g)
    with pytest.raises(UserError, match="rounds"):
        RFDSRev(rounds=-1)


def test_o26_rounds_converge_to_the_noise_that_the_prior_confirms() -> None:
    """n* = lambda (x - mu) / c^2; a round brings it closer by sigma^2 / v. There the gradient is zero."""
    mu = means()["pos"]
    desk = Desk(prior=gaussian(mu, 0.7), x_src=None, t=torch.tensor([250, 300, 350, 400]))
    c = desk.context()
    state = q_sample(desk.x, desk.t, iid_noise(desk.context()), c.prior.schedule)
    assert state.noise is not None
    ratio = state.sigma**2 / (0.49 * state.alpha**2 + state.sigma**2)
    limit = state.sigma / state.alpha * (desk.x - mu) / 0.49
    assert close(refined(c, desk.t, state.noise, 1, "pos") - limit, ratio * (state.noise - limit))
    assert close(refined(c, desk.t, state.noise, 60, "pos"), limit)
    g = desk.step(RFDSRev(cfg=1.0, rounds=60, random_weight=False)).g
    assert g.abs().max() < 1e-10
