"""HeadStudio's denoising score distillation: two branches per view, cost, its relation to NFSD."""

from __future__ import annotations

import torch
from edit_lab import Desk, close

from sds3d.guidance import GUIDANCE, NFSD
from sds3d.guidance.headstudio_dsd import HeadStudioDSD

EDGE = torch.tensor([60, 199, 200, 940])


def test_formula_branches_per_view() -> None:
    s = Desk(t=EDGE, x_src=None).step(HeadStudioDSD(cfg=3.0, negative_cfg=2.5))
    high = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(-1, 1, 1, 1)
    w = s.states["t"].sigma ** 2
    assert close(s.g, w * (s.guided(3.0, "pos", "t") - high * s.guided(2.5, "neg", "t")))
    assert s.nfe == 3
    default = HeadStudioDSD()
    assert (default.cfg, default.negative_cfg, default.threshold, default.weight) == (7.5, 1.0, 0.2, "sds")
    assert GUIDANCE["headstudio_dsd"] is HeadStudioDSD


def test_the_negative_prompt_is_not_asked_where_no_view_needs_it() -> None:
    s = Desk(t=torch.tensor([10, 60, 100, 199]), x_src=None).step(HeadStudioDSD(cfg=3.0, weight="uniform"))
    assert close(s.g, s.guided(3.0, "pos", "t")) and s.nfe == 2


def test_at_scale_one_it_is_nfsd() -> None:
    desk = Desk(t=EDGE, x_src=None)
    assert close(desk.step(HeadStudioDSD(cfg=6.0)).g, desk.step(NFSD(cfg=6.0)).g, atol=1e-12)
