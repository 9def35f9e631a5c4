"""The variance meter is calibrated by what theory says of SDS on a Gaussian (OBJECTIVES O1)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from engine_helpers import SIZE, settings

from sds3d.bench.variance import LEVELS, Profile, Spread, estimate, measure, profile
from sds3d.engine.distill import prepare
from sds3d.priors.oracle import gaussian, point_mass

STD, DRAWS = 0.7, 400
MU = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
X = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def measured(prior: Any, **overrides: Any) -> tuple[Spread, ...]:
    run = prepare(settings(**{"guidance": "sds", "sds.weight": "uniform", "sds.clamp": 0.0, **overrides}), prior)
    try:
        return profile(run, X, DRAWS)
    finally:
        run.close()


def test_sds_on_a_gaussian_has_the_variance_and_the_mean_of_theory() -> None:
    """tr Cov = d (alpha^2 c^2 / v)^2 and ||E g||^2 = (alpha sigma / v)^2 ||x - mu||^2, within 5 standard errors."""
    prior = gaussian(MU, STD)
    d, gap = X.numel(), float((X - MU).square().sum())
    for level, spread in zip(LEVELS, measured(prior), strict=True):
        bar = float(prior.schedule.alphas_cumprod[int(level * prior.schedule.steps)])
        v = bar * STD**2 + 1 - bar
        covariance, mean = d * (bar * STD**2 / v) ** 2, bar * (1 - bar) / v**2 * gap
        assert spread.covariance == pytest.approx(covariance, rel=5 * math.sqrt(2 / DRAWS / d))
        noise = 2 * math.sqrt(mean * covariance / d / DRAWS) + covariance / DRAWS * math.sqrt(2 / d)
        assert spread.mean == pytest.approx(mean, abs=5 * noise)


def test_a_point_mass_leaves_no_variance() -> None:
    for spread in measured(point_mass(MU)):
        assert spread.covariance < 1e-6 * spread.mean and spread.ratio < 1e-6


def test_the_estimates_are_without_bias() -> None:
    """Many small batches of N(m, 1): their mean square less tr Cov / n averages to |m|^2."""
    g = torch.Generator().manual_seed(3)
    batches = [estimate(torch.randn(4, 5, generator=g) + 0.5, 0.5) for _ in range(4000)]
    assert sum(b.mean for b in batches) / 4000 == pytest.approx(1.25, abs=0.08)
    assert sum(b.covariance for b in batches) / 4000 == pytest.approx(5.0, abs=0.15)


def test_every_objective_gets_a_row_and_those_that_cannot_run_a_reason() -> None:
    rows = list(measure(["sds", "dds"], gaussian(MU, STD), "a ball", {"splats.count": 50, "views": 2}, draws=8))
    assert rows[0].typical is not None and len(rows[0].row()) == len(LEVELS) + 1
    assert "--source" in rows[1].reason and rows[1].reason in rows[1].row()


def test_a_lost_mean_is_not_shown_as_a_number() -> None:
    lost = Profile("x", (Spread(0.1, 2.0, -0.1),))
    assert lost.spreads[0].ratio == math.inf and lost.typical is None and "inf" not in lost.row()[1]
