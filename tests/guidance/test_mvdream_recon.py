"""MVDream's reconstruction: its target, the rescale over an object's views, cost, O20."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, called, close

from sds3d.errors import UserError
from sds3d.guidance import SDS
from sds3d.guidance.mvdream_recon import MVDreamRecon


def test_formula_and_cost() -> None:
    s = Lab().step(MVDreamRecon(cfg=5.0))
    neg, pos = s.e["neg"], s.e["pos"]
    target = s.x0(neg + 5 * (pos - neg))
    full = target * s.x0(pos).std() / target.std()
    assert close(s.g, s.c.x - (0.5 * full + 0.5 * target), atol=1e-8)
    assert s.cost == (2, 0)


def test_the_deviation_is_over_the_views_that_the_prior_sees_together() -> None:
    lab = Lab()
    object.__setattr__(lab.prior, "views_per_object", 2)
    s = lab.step(MVDreamRecon(cfg=5.0))
    neg, pos = s.e["neg"], s.e["pos"]
    target = s.x0(neg + 5 * (pos - neg))
    for rows in (slice(0, 2), slice(2, 4)):
        full = target[rows] * s.x0(pos)[rows].std() / target[rows].std()
        assert close(s.g[rows], s.c.x[rows] - 0.5 * (full + target[rows]), atol=1e-8)


def test_o20_deviation_of_the_target_is_the_mean_of_both() -> None:
    s = Lab().step(MVDreamRecon(cfg=9.0))
    guided = s.x0(s.e["neg"] + 9 * (s.e["pos"] - s.e["neg"])).std()
    assert (s.c.x - s.g).std().item() == pytest.approx(0.5 * (guided + s.x0(s.e["pos"]).std()).item())


def test_o20_scale_one_is_the_identity_and_share_zero_is_sds() -> None:
    lab = Lab()
    s = lab.step(MVDreamRecon(cfg=1.0))
    assert close(s.g, s.lam * (s.e["pos"] - s.n), atol=1e-8) and s.cost == (1, 0)
    plain = lab.step(MVDreamRecon(cfg=5.0, share=0.0, uncond="null"))
    assert close(plain.g, lab.step(SDS(cfg=5.0, weight="lambda")).g, atol=1e-8)


def test_share_one_gives_the_conditional_deviation() -> None:
    s = Lab().step(MVDreamRecon(cfg=5.0, share=1.0))
    assert (s.c.x - s.g).std().item() == pytest.approx(s.x0(s.e["pos"]).std().item())


def test_conditions_and_defaults() -> None:
    s = Lab().step(MVDreamRecon())
    assert called(MVDreamRecon(), s) == ["neg", "pos"] and MVDreamRecon().needs() == {"pos", "neg"}
    null = MVDreamRecon(uncond="null")
    assert called(null, s) == ["null", "pos"] and null.needs() == {"pos", "null"}
    assert called(MVDreamRecon(cfg=0.0), s) == ["neg", "pos"]
    assert (MVDreamRecon().cfg, MVDreamRecon().share, MVDreamRecon().weight) == (50, 0.5, "lambda")
    for bad in (-0.1, 1.1):
        with pytest.raises(UserError, match="between 0 and 1"):
            MVDreamRecon(share=bad)
    assert torch.isfinite(s.g).all()
