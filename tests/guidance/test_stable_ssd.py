"""Stable SSD: the true projection, equal norms, the split, cost, O12."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, called, close, combined, dot, images, unrelated

from sds3d.errors import UserError
from sds3d.guidance import CSD
from sds3d.guidance.stable_ssd import StableSSD
from sds3d.priors.oracle import gaussian

LOW = torch.tensor([10, 60, 99, 100])


def test_high_noise_is_the_classifier_direction() -> None:
    s = Lab(t=torch.tensor([101, 350, 700, 940])).step(StableSSD())
    assert close(s.g, s.state.sigma**2 * (s.e["pos"] - s.e["null"]))
    assert s.cost == (2, 0)


def test_low_noise_is_the_score_without_its_noise() -> None:
    s = Lab(t=LOW).step(StableSSD())
    pos, away = s.e["pos"], s.state.sigma**2 * (s.e["pos"] - s.e["null"])
    seeking = pos - dot(pos, s.n) / dot(s.n, s.n) * s.n
    assert close(s.g, (dot(away, away) / dot(seeking, seeking)).sqrt() * seeking)


def test_o12_orthogonal_to_the_noise_and_of_the_classifiers_size() -> None:
    s = Lab(t=torch.tensor([50, 100, 101, 800])).step(StableSSD())
    away = s.state.sigma**2 * (s.e["pos"] - s.e["null"])
    assert dot(s.g, s.n)[:2].abs().max() < 1e-12 < dot(s.g, s.n)[2:].abs().min()
    assert close(dot(s.g, s.g), dot(away, away))
    assert (dot(s.g, s.e["pos"])[:2] > 0).all()


def test_threshold_splits_the_views_and_zero_is_csd() -> None:
    s = Lab().step(StableSSD())
    e = unrelated(s)
    csd = combined(CSD(negative_end=0.0), s, e)
    assert close(combined(StableSSD(threshold=0.0), s, e), csd)
    half = combined(StableSSD(threshold=0.5), s, e)
    assert close(half[2:], csd[2:]) and not torch.allclose(half[:2], csd[:2], atol=1e-3)
    assert called(StableSSD(), s) == ["null", "pos"] and StableSSD().threshold == 0.1
    for bad in (-0.1, 1.1):
        with pytest.raises(UserError, match="share of T"):
            StableSSD(threshold=bad)


def test_no_direction_is_zero_and_not_nan() -> None:
    s = Lab(t=LOW).step(StableSSD())
    e = unrelated(s)
    assert combined(StableSSD(), s, e | {"null": e["pos"]}).abs().max() == 0
    along = combined(StableSSD(), s, e | {"pos": s.n * 0})
    assert along.abs().max() == 0


@pytest.mark.parametrize("t", [60, 100])
def test_o12_in_many_dimensions_nothing_of_the_noise_is_left(t: int) -> None:
    """On N(mu, c^2) of 50,000 numbers <e, n> / |n|^2 -> sigma^2 / v: g is along sigma alpha (x - mu) / v."""
    shape = (2, 160, 160)
    mu, x = images(1, seed=5, shape=shape)[0], images(1, seed=6, shape=shape)
    s = Lab(prior=gaussian(mu, 0.7), x=x, t=torch.tensor([t])).step(StableSSD())
    e = {"pos": s.c.prior.predict(s.state.z, s.state.t, s.c.conds["pos"]), "null": s.n}
    g = combined(StableSSD(), s, e)
    assert dot(g, x - mu) / (dot(g, g) * dot(x - mu, x - mu)).sqrt() > 0.999
