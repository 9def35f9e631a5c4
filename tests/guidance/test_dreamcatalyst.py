"""DreamCatalyst: its formula, cost and O18."""

from __future__ import annotations

import math

import torch
from edit_lab import TIMES, Desk, close, images

from sds3d.guidance import GUIDANCE
from sds3d.guidance.dreamcatalyst import DreamCatalyst

TAU = (TIMES.double() / 1000).view(-1, 1, 1, 1)
EDIT = 0.2 + 0.8 * TAU ** (1 / math.e)
STAY = 0.075 * TAU.exp()


def test_formula_and_cost() -> None:
    desk = Desk()
    s = desk.step(DreamCatalyst(cfg=5.0, source_cfg=1.7))
    target = s.guided(1.7, "src", "t") + 5 * (s.e["pos", "t"] - s.e["src", "t"])
    assert desk.x_src is not None
    assert close(s.g, EDIT * (target - s.guided(1.7, "src", "src")) + STAY * (desk.x - desk.x_src))
    assert s.nfe == 5  # the published code asks for a sixth that it does not use
    published = DreamCatalyst()
    assert (published.cfg, published.source_cfg, published.identity) == (7.5, 1.5, 0.075)
    assert published.weight == "uniform" and GUIDANCE["dreamcatalyst"] is DreamCatalyst
    assert not close(desk.step(DreamCatalyst(cfg=5.0, source_cfg=1.7, identity=0.2)).g, s.g)


def test_o18_on_the_source_itself_only_the_edit_direction_acts() -> None:
    x = images(4, seed=1)
    s = Desk(x=x, x_src=x).step(DreamCatalyst())
    assert close(s.g, 7.5 * EDIT * (s.e["pos", "t"] - s.e["src", "t"]))
    assert not Desk(x=x, x_src=x, alias={"src": "pos"}).step(DreamCatalyst()).g.any()


def test_o18_equal_predictions_leave_the_pull_to_the_source() -> None:
    class Blind:
        def __init__(self) -> None:
            self.schedule = Desk().prior.schedule

        def predict(self, z: torch.Tensor, t: torch.Tensor, cond: object) -> torch.Tensor:
            return torch.zeros_like(z)

    desk = Desk(prior=Blind())
    assert desk.x_src is not None
    assert close(desk.step(DreamCatalyst()).g, STAY * (desk.x - desk.x_src))


def test_o18_both_weights_grow_with_the_noise() -> None:
    assert (EDIT.flatten().diff() > 0).all() and (STAY.flatten().diff() > 0).all()
    same = torch.full((4,), 700)
    x = images(1, seed=1).expand(4, -1, -1, -1)
    low, high = (Desk(x=x, x_src=x, t=t).step(DreamCatalyst()) for t in (same - 300, same))
    for s, t in ((low, 0.4), (high, 0.7)):
        factor = 7.5 * (0.2 + 0.8 * t ** (1 / math.e))
        assert close(s.g, factor * (s.e["pos", "t"] - s.e["src", "t"]))
