"""The ring of eight Gaussians: its figures, and what theory says of three objectives on it."""

from __future__ import annotations

import torch

from sds3d.bench import toy


def test_the_ring_tells_a_hit_from_a_miss_and_a_point_from_a_spread() -> None:
    centres = toy.modes(toy.ring_prior(), toy.PROMPT)
    noise = toy.STD * torch.randn(900, 2, generator=torch.Generator().manual_seed(0))
    perfect = toy.judge("x", centres.repeat(300, 1) + noise, 2.0)
    assert perfect.hit > 0.97 and perfect.covered == 3 and abs(perfect.spread - 1) < 0.08 and perfect.bias < 0.02
    point = toy.judge("x", centres[:1].repeat(50, 1), 2.0)
    assert point.hit == 1 and point.covered == 1 and point.spread == 0 and point.bias > 0.2
    assert toy.judge("x", -centres[1:2].repeat(50, 1), 2.0).hit == 0


def test_the_ring_shows_what_theory_says_of_sds_vsd_and_csd() -> None:
    """SDS draws all points to one mode and together; VSD with the exact critic keeps a distribution over the prompt's
    three; CSD, which nothing holds to the data, leaves the ring (OBJECTIVES 4.3)."""
    (sds, _), (vsd, points), (csd, _) = (toy.run(name, points=48, steps=200) for name in ("sds", "vsd", "csd"))
    assert (sds.nfe, vsd.nfe) == (2, 3)
    assert sds.hit > 0.9 and sds.covered == 1 and sds.spread < 0.8
    assert vsd.covered == 3 and vsd.spread > 1
    assert csd.hit == 0 and csd.bias > 1
    assert points is not None and toy.picture([(sds, None), (vsd, points)]).size[0] == toy.SIDE
