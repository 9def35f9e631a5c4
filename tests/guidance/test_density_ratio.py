"""The density ratio of two Gaussians by level, and the running fit of their moments."""

from __future__ import annotations

import pytest
import torch
from objective_lab import close, exponent, images

from sds3d.guidance.base import State
from sds3d.guidance.density_ratio import FLOOR, fit, log_ratio, summary
from sds3d.schedule import cosine


def test_log_ratio_of_known_gaussians_by_level() -> None:
    """On 4x4 pixels a cell averages four, so that its noise has a quarter of the variance."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    q, p = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([100, 500, 900])
    alpha, sigma = cosine().alpha_sigma(t, z)
    found = log_ratio(State(z, t, alpha, sigma, None), q, p, root @ root.T)
    for i in range(3):
        a, b = alpha[i].item(), sigma[i].item()
        spread = a**2 * (root @ root.T + FLOOR * torch.eye(4)) + b**2 / 4 * torch.eye(4)
        seen = summary(z[i : i + 1])[0]
        expected = exponent(seen - a * q, spread) - exponent(seen - a * p, spread)
        assert found[i].item() == pytest.approx(expected.item())


def test_summary_is_the_mean_of_each_quarter() -> None:
    x = images(2, shape=(2, 4, 6))
    assert close(summary(x)[:, 1], x[:, 0, :2, 3:].mean((1, 2))) and summary(x).shape == (2, 8)
    assert summary(x[..., :1]).shape == (2, 4)


def test_fit_is_the_means_and_the_pooled_covariance() -> None:
    x, target = images(4), images(4, seed=1)
    render, wanted, covariance = fit({}, x, target, 0.9)
    assert close(render, x.flatten(1).mean(0)) and close(wanted, target.flatten(1).mean(0))
    both = torch.cat([x.flatten(1) - render, target.flatten(1) - wanted])
    assert close(covariance, both.T @ both / 8)


def test_fit_runs_over_the_steps() -> None:
    cache: dict = {}
    x, target = images(4), images(4, seed=1)
    first, _, spread = fit(cache, x, target, 0.5)
    second, wanted, pooled = fit(cache, x + 3, target, 0.5)
    assert close(second, first + 2) and close(wanted, target.flatten(1).mean(0))  # weights 1/3 and 2/3
    gaps = torch.cat([(x + 3).flatten(1) - second, target.flatten(1) - wanted])
    assert close(pooled, spread / 3 + 2 / 3 * gaps.T @ gaps / 8)
