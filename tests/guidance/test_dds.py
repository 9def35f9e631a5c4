"""DDS: its formula, cost, and O16 on closed forms."""

from __future__ import annotations

import pytest
import torch
from edit_lab import Desk, close, images
from guidance_helpers import gaussians, means

from sds3d.guidance import GUIDANCE
from sds3d.guidance.dds import DDS
from sds3d.priors.oracle import gaussian


@pytest.mark.parametrize("scale", [3.0, 7.5])
def test_formula_and_cost(scale: float) -> None:
    s = Desk().step(DDS(cfg=scale))
    assert close(s.g, s.guided(scale, "pos", "t") - s.guided(scale, "src", "src"))
    assert s.nfe == 4
    assert DDS().cfg == 7.5 and DDS().weight == "uniform" and GUIDANCE["dds"] is DDS
    weighted = Desk().step(DDS(cfg=scale, weight="sds"))
    assert close(weighted.g, s.states["t"].sigma ** 2 * s.g)


def test_scale_one_asks_for_two() -> None:
    s = Desk().step(DDS(cfg=1.0))
    assert close(s.g, s.e["pos", "t"] - s.e["src", "src"]) and s.nfe == 2


def test_o16_a_matched_pair_is_left_alone_to_the_bit() -> None:
    x = images(4, seed=1)
    assert torch.equal(Desk(x=x, x_src=x, alias={"src": "pos"}).step(DDS()).g, torch.zeros_like(x))


def test_o16_gaussians_shift_the_source_by_the_labels_means() -> None:
    """k(t) [(x - mu_tgt) - (x_src - mu_src)], whatever the noise; zero at x = x_src + mu_tgt - mu_src."""
    mu = means()
    prior = gaussians(0.7)
    prior.models[3] = gaussian(source_mean := images(1, seed=9)[0], 0.7)
    desk = Desk(prior=prior)
    s = desk.step(DDS(cfg=1.0))
    a, b = s.states["t"].alpha, s.states["t"].sigma
    k = a * b / (0.49 * a**2 + b**2)
    assert desk.x_src is not None
    assert close(s.g, k * ((desk.x - mu["pos"]) - (desk.x_src - source_mean)))
    assert torch.allclose(s.g, desk.step(DDS(cfg=1.0), seed=5).g, atol=1e-10)
    there = Desk(prior=prior, x=desk.x_src + mu["pos"] - source_mean, x_src=desk.x_src)
    assert there.step(DDS(cfg=1.0)).g.abs().max() < 1e-12


def test_it_needs_a_source() -> None:
    assert DDS.source
    with pytest.raises(ValueError, match="x_src is None"):
        Desk(x_src=None).step(DDS())
