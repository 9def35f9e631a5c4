"""Noise sources: of the run, shared by two assets, counter-based, renewed step by step."""

from __future__ import annotations

import math

import pytest
import torch
from edit_lab import Desk, close, images
from torch import Tensor

from sds3d.camera import orbit
from sds3d.guidance import View
from sds3d.guidance.counter_noise import LEVELS, gaussians, refreshing, renewal
from sds3d.guidance.noise import run_fixed, shared

LIKE = torch.zeros((), dtype=torch.float64)
KEYS = torch.arange(40_000) * 7 + (1 << 50)
ERROR = 5 / math.sqrt(len(KEYS))  # five standard errors of a correlation


def correlation(a: Tensor, b: Tensor) -> float:
    return float((a * b).mean())


def test_the_noise_of_a_run_is_the_same_for_every_step_and_view() -> None:
    desk = Desk()
    first, later = run_fixed(desk.context(seed=0)), run_fixed(desk.context(seed=9))
    assert torch.equal(first, later) and (first == first[:1]).all() and first.shape == desk.x.shape
    other = desk.context()
    other.seed = 1
    assert not torch.equal(run_fixed(other), first)
    assert not torch.equal(run_fixed(desk.context(), name="another"), first)


def test_or_the_same_for_the_views_of_an_azimuth_bin() -> None:
    c = Desk().context()
    with pytest.raises(ValueError, match="Context.view"):
        run_fixed(c, bins=2)
    c.view = View(orbit(4, start=10), torch.ones(4, 1, 2, 2), torch.ones(4, 1, 2, 2))  # 10, 100, 190, 280 degrees
    a, b, d, e = run_fixed(c, bins=2)
    assert torch.equal(a, b) and torch.equal(d, e) and not torch.equal(a, d)


def test_two_assets_share_one_noise() -> None:
    desk, noise = Desk(), images(4, seed=4)
    states = shared(desk.context(), desk.t, noise)
    assert desk.x_src is not None
    for at, x in (("t", desk.x), ("src", desk.x_src)):
        state = states[at]
        assert close(state.z, state.alpha * x + state.sigma * noise)


def test_numbers_by_counter_are_standard_normal() -> None:
    """Kolmogorov-Smirnov at the level 1e-3, and no correlation between neighbouring keys or lanes."""
    drawn = gaussians(KEYS, 5, LIKE)
    cdf = torch.special.ndtr(drawn.sort().values)
    steps = torch.arange(1, len(KEYS) + 1, dtype=torch.float64) / len(KEYS)
    distance = torch.maximum(steps - cdf, cdf - steps + 1 / len(KEYS)).max()
    assert distance < 1.95 / math.sqrt(len(KEYS))
    assert abs(correlation(drawn[1:], drawn[:-1])) < ERROR
    assert abs(correlation(drawn, gaussians(KEYS, 6, LIKE))) < ERROR
    assert torch.equal(drawn, gaussians(KEYS, 5, LIKE))


@pytest.mark.parametrize("gamma", [0.01, 1.0])
def test_renewed_noise_is_an_autoregression(gamma: float) -> None:
    """Correlation (1 - gamma)^(k / 2) between any two steps, across blocks too, variance 1 at each."""
    block = 1 << LEVELS
    steps = [0, 1, 40, block - 1, block, block + 30]
    at = [refreshing(KEYS, 2, step, gamma, LIKE) for step in steps]
    for i, a in enumerate(at):
        assert abs(correlation(a, a) - 1) < ERROR * math.sqrt(2)
        for j in range(i):
            expected = (1 - gamma) ** ((steps[i] - steps[j]) / 2)
            assert abs(correlation(a, at[j]) - expected) < ERROR


@pytest.mark.parametrize("step", [0, 5, 1023, 1024, 2600])
@pytest.mark.parametrize("gamma", [0.0, 1e-4, 0.3, 1.0])
def test_the_draws_of_renewed_noise_have_variance_one(gamma: float, step: int) -> None:
    weights = renewal(step, gamma)
    assert sum(w * w for w in weights.values()) == pytest.approx(1, abs=1e-12)
    assert all(weights.values()) and (gamma < 1 or list(weights) == [step])


def test_without_renewal_it_stays() -> None:
    assert torch.equal(refreshing(KEYS, 2, 0, 0.0, LIKE), refreshing(KEYS, 2, 5000, 0.0, LIKE))
