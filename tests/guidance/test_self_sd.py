"""Self score distillation: its formula, cost and O20."""

from __future__ import annotations

import pytest
from objective_lab import Lab, called, close, combined, unrelated

from sds3d.guidance import CSD
from sds3d.guidance.self_sd import SelfSD


@pytest.mark.parametrize("scale", [7.5, 100.0])
def test_formula_and_cost(scale: float) -> None:
    s = Lab().step(SelfSD(cfg=scale))
    null, pos = s.e["null"], s.e["pos"]
    assert close(s.g, s.state.sigma**2 * (null + scale * (pos - null) - s.e["plain"]))
    assert s.cost == (3, 0)
    assert SelfSD().cfg == 7.5 and SelfSD().weight == "sds" and not SelfSD.critic


def test_o20_equal_prompts_leave_a_classifier_direction() -> None:
    s = Lab().step(SelfSD())
    e = unrelated(s)
    e["plain"] = e["pos"]
    assert close(combined(SelfSD(cfg=7.5), s, e), 6.5 * combined(CSD(negative_end=0.0), s, e))
    assert called(SelfSD(), s) == ["null", "plain", "pos"]
    assert called(SelfSD(cfg=1.0), s) == ["plain", "pos"] and SelfSD().needs() == {"pos", "null", "plain"}
