"""NFSD: its two branches per view, cost and O11."""

from __future__ import annotations

import torch
from objective_lab import Lab, called, close, combined, unrelated

from sds3d.guidance import CSD, NFSD


def test_formula_branches_per_view() -> None:
    """delta_D = e_null below t = 200, e_null - e_neg from there on."""
    lab = Lab(t=torch.tensor([60, 199, 200, 940]))
    s = lab.step(NFSD(cfg=3.0))
    null, low = s.e["null"], torch.tensor([1.0, 1.0, 0.0, 0.0]).view(-1, 1, 1, 1)
    domain = null - (1 - low) * s.e["neg"]
    assert close(s.g, s.state.sigma**2 * (3 * (s.e["pos"] - null) + domain))
    assert s.cost == (3, 0)
    assert NFSD().cfg == 7.5 and NFSD().threshold == 0.2 and NFSD().needs() == {"pos", "null", "neg"}


def test_the_negative_prompt_is_not_asked_where_no_view_needs_it() -> None:
    s = Lab(t=torch.tensor([10, 60, 100, 199])).step(NFSD(cfg=3.0))
    assert called(NFSD(), s) == ["null", "pos"] and s.cost == (2, 0)
    assert close(s.g, s.state.sigma**2 * (3 * (s.e["pos"] - s.e["null"]) + s.e["null"]))


def test_threshold_is_a_share_of_t() -> None:
    s = Lab().step(NFSD(cfg=3.0, threshold=0.5, weight="uniform"))
    assert close(s.g[:2], (3 * (s.e["pos"] - s.e["null"]) + s.e["null"])[:2])
    assert close(s.g[2:], (3 * (s.e["pos"] - s.e["null"]) + s.e["null"] - s.e["neg"])[2:])


def test_o11_reduces_to_csd() -> None:
    s = Lab(t=torch.tensor([200, 400, 600, 800])).step(NFSD())
    e = unrelated(s)
    csd = combined(CSD(negative_end=0.0), s, e)
    assert close(combined(NFSD(cfg=7.5), s, e | {"neg": e["null"]}), 7.5 * csd)
    assert close(combined(NFSD(cfg=7.5), s, e | {"neg": e["pos"]}), 6.5 * csd)
