"""Domain SD: its two directions, cost, O5."""

from __future__ import annotations

from objective_lab import Lab, called, close, combined, unrelated

from sds3d.guidance import CSD, VSD
from sds3d.guidance.domain_sd import DomainSD


def test_formula_and_cost() -> None:
    s = Lab().step(DomainSD(a=2.0, b=3.0))
    pos = s.e["pos"]
    assert close(s.g, s.state.sigma**2 * (2 * (pos - s.e["null"]) + 3 * (pos - s.e["critic"])))
    assert s.cost == (2, 1) and called(DomainSD(), s) == ["critic", "null", "pos"]
    assert DomainSD().needs() == {"pos", "null", "critic"}
    assert (DomainSD().a, DomainSD().b, DomainSD().weight) == (3.75, 3.75, "sds") and DomainSD.critic


def test_o5_reduces_to_csd_and_vsd() -> None:
    s = Lab().step(DomainSD())
    e = unrelated(s)
    csd = combined(CSD(negative_end=0.0), s, e)
    assert close(combined(DomainSD(a=4.0, b=0.0), s, e), 4 * csd)
    assert close(combined(DomainSD(a=6.5, b=1.0), s, e), combined(VSD(cfg=7.5), s, e))
    assert close(combined(DomainSD(a=0.0, b=1.0), s, e), combined(VSD(cfg=1.0), s, e))
    assert close(combined(DomainSD(a=1.0, b=1.0), s, e | {"critic": e["null"]}), 2 * csd)
