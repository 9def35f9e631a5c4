"""PaintHuman's denoised score distillation: formula, cost, reductions."""

from __future__ import annotations

from edit_lab import Desk, close

from sds3d.guidance import CSD, GUIDANCE
from sds3d.guidance.denoised_sd import DenoisedSD


def test_formula_and_cost_with_a_source() -> None:
    s = Desk().step(DenoisedSD(cfg=3.0, negative_cfg=2.0, strength=0.6))
    w = s.states["t"].sigma ** 2
    assert close(s.g, w * (s.guided(3.0, "pos", "t") - 0.6 * s.guided(2.0, "neg", "src")))
    assert s.nfe == 4
    assert Desk().step(DenoisedSD()).nfe == 3
    default = DenoisedSD()
    assert (default.cfg, default.negative_cfg, default.strength, default.weight) == (7.5, 1.0, 1.0, "sds")
    assert GUIDANCE["denoised_sd"] is DenoisedSD and not DenoisedSD.source


def test_without_a_source_the_negative_image_is_the_render() -> None:
    s = Desk(x_src=None).step(DenoisedSD(cfg=3.0, weight="uniform"))
    assert close(s.g, s.guided(3.0, "pos", "t") - s.e["neg", "t"]) and s.nfe == 3
    both = Desk(x_src=None).step(DenoisedSD(cfg=3.0, negative_cfg=2.0, weight="uniform"))
    assert close(both.g, both.guided(3.0, "pos", "t") - both.guided(2.0, "neg", "t")) and both.nfe == 3


def test_an_empty_negative_prompt_leaves_csd() -> None:
    desk = Desk(x_src=None, alias={"neg": "null"})
    csd = desk.step(CSD(negative_end=0.0, weight="sds")).g
    assert close(desk.step(DenoisedSD(cfg=4.0)).g, 4 * csd)


def test_without_strength_it_is_the_raw_score() -> None:
    s = Desk().step(DenoisedSD(cfg=4.0, strength=0.0, weight="uniform"))
    assert close(s.g, s.guided(4.0, "pos", "t"))
