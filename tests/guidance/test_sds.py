"""SDS: its formula, cost, and O1-O2 on closed forms."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, called, close, images

from sds3d.guidance import SDS
from sds3d.priors.oracle import point_mass


@pytest.mark.parametrize("scale", [7.5, 100.0])
def test_formula_and_cost(scale: float) -> None:
    s = Lab().step(SDS(cfg=scale))
    null, pos = s.e["null"], s.e["pos"]
    assert close(s.g, s.state.sigma**2 * (null + scale * (pos - null) - s.n))
    assert s.cost == (2, 0)
    assert SDS().cfg == 100 and SDS().weight == "sds" and SDS().needs() == {"pos", "null"}


@pytest.mark.parametrize(("scale", "name"), [(1.0, "pos"), (0.0, "null")])
def test_a_needless_call_is_left_out(scale: float, name: str) -> None:
    s = Lab().step(SDS(cfg=scale, weight="uniform"))
    assert close(s.g, s.e[name] - s.n)
    assert called(SDS(cfg=scale), s) == [name] and s.cost == (1, 0)


def test_weight_lambda_is_the_one_step_residual() -> None:
    s = Lab().step(SDS(cfg=3.0, weight="lambda"))
    assert close(s.g, s.c.x - s.x0(s.e["null"] + 3 * (s.e["pos"] - s.e["null"])))


def test_o2_point_mass_pulls_without_variance() -> None:
    a = images(1)[0]
    lab = Lab(prior=point_mass(a))
    s = lab.step(SDS(cfg=1.0, weight="uniform"))
    assert close(s.g, (s.c.x - a) / s.lam)
    assert torch.allclose(s.g, lab.step(SDS(cfg=1.0, weight="uniform"), seed=1).g, atol=1e-9)
