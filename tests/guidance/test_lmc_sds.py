"""LMC-SDS: its formula around any corrective, cost, O10."""

from __future__ import annotations

import math

import pytest
import torch
from objective_lab import Lab, called, close, images
from torch import Tensor

from sds3d.guidance import CSD, SDS
from sds3d.guidance.lmc_sds import LMCSDS
from sds3d.priors.oracle import gaussian
from sds3d.schedule import cosine


def bent(x: Tensor, t: Tensor) -> Tensor:
    return 0.3 * x + t.view(-1, 1, 1, 1) / 1000


def test_formula_and_cost() -> None:
    s = Lab().step(LMCSDS(cfg=3.0), cache={"corrective": bent})
    null = s.e["null"]
    expected = 3 * (s.e["pos"] - null) + (bent(s.c.x, s.state.t) - s.x0(null)) / s.lam
    assert close(s.g, s.state.sigma**2 * expected)
    assert s.cost == (2, 0) and called(LMCSDS(), s) == ["null", "pos"] and called(LMCSDS(cfg=1.0), s) == ["pos"]
    assert LMCSDS().cfg == 8 and LMCSDS().weight == "sds" and not LMCSDS.critic


def test_o10_the_identity_is_sds() -> None:
    lab = Lab()
    s = lab.step(LMCSDS(cfg=8.0), cache={"corrective": lambda x, t: x})
    assert close(s.g, lab.step(SDS(cfg=8.0)).g, atol=1e-9)


def test_o10_the_priors_own_estimate_is_csd() -> None:
    lab = Lab()
    csd = lab.step(CSD(weight="sds", negative_end=0.0))
    s = lab.step(LMCSDS(cfg=8.0), cache={"corrective": lambda x, t: csd.x0(csd.e["null"])})
    assert close(s.g, 8 * csd.g)


@pytest.mark.parametrize("t", [100, 500, 900])
def test_o10_the_optimal_corrective_leaves_no_mean(t: int) -> None:
    """b(x, t) = x - lambda k(t)(x - mu) on a Gaussian: the pull's mean over n is 0, its noise that of SDS."""
    mu, x, views, c = images(1)[0], images(1, seed=1), 4000, 0.7
    bar = cosine().alphas_cumprod[t].item()
    v = bar * c**2 + 1 - bar

    def optimal(x: Tensor, t: Tensor) -> Tensor:
        return x - (1 - bar) / v * (x - mu)

    lab = Lab(prior=gaussian(mu, c), x=x.expand(views, *x.shape[1:]), t=torch.full((views,), t))
    g = lab.step(LMCSDS(weight="uniform"), cache={"corrective": optimal}).g
    deviation = bar * c**2 / v
    assert g.mean(0).abs().max() < 5 * deviation / math.sqrt(views)
    assert (g.var(0) - deviation**2).abs().max() < 5 * deviation**2 * math.sqrt(2 / views)
