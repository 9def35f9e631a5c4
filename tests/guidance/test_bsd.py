"""BSD and its automatic variant: least norm against brute force, weights, cost, O24."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, Step, called, close, combined, dot, images, unrelated
from torch import Tensor

from sds3d.guidance.bsd import BSD, BSDAuto, least_norm


def shortest(c: Tensor, d: Tensor) -> Tensor:
    """By trying 20,001 mixtures."""
    a = torch.linspace(0, 1, 20_001, dtype=torch.float64).view(-1, 1, 1, 1, 1)
    all_ = a * c + (1 - a) * d
    best = all_.square().sum((2, 3, 4)).argmin(0)
    return all_[best, torch.arange(len(c))]


def pairs() -> tuple[Tensor, Tensor]:
    """Directions whose shortest mixture lies inside, at c and at d."""
    c, d = images(6, seed=2), images(6, seed=4)
    c[4], d[5] = 0.2 * d[4], 0.3 * c[5]
    return c, d


def test_o24_least_norm_is_optimal() -> None:
    c, d = pairs()
    g = least_norm(c, d)
    assert torch.allclose(g, shortest(c, d), atol=1e-3)
    assert (dot(g, c) >= dot(g, g) - 1e-12).all() and (dot(g, d) >= dot(g, g) - 1e-12).all()
    assert torch.equal(g[4], c[4]) or torch.allclose(g[4], c[4], atol=1e-12)
    assert torch.allclose(g[5], d[5], atol=1e-12)


def test_o24_equal_and_opposite_directions() -> None:
    c = images(3)
    assert close(least_norm(c, c), c)
    assert least_norm(c, -c).abs().max() < 1e-12 and least_norm(c, -3 * c).abs().max() < 1e-12


def directions(s: Step) -> tuple[Tensor, Tensor]:
    return s.e["pos"] - s.e["null"], s.e["null"]


def test_formula_and_cost() -> None:
    s = Lab().step(BSD())
    away, null = directions(s)
    assert torch.allclose(s.g, s.state.alpha * shortest(15 * away, null), atol=1e-3)
    assert close(s.g, s.state.alpha * least_norm(15 * away, null)) and s.cost == (2, 0)
    assert close(Lab().step(BSD(scale=2.0, weight="uniform")).g, least_norm(2 * away, null))
    assert (BSD().scale, BSD().weight) == (15, "alpha") and called(BSD(), s) == ["null", "pos"]


def test_automatic_formula_and_cost() -> None:
    s = Lab().step(BSDAuto())
    away, null = directions(s)
    residual = null - s.n
    size = dot(residual, residual).sqrt()
    assert close(s.g, s.state.sigma * size / 50 * least_norm(away, 1.25 * residual)) and s.cost == (2, 0)
    other = Lab().step(BSDAuto(scale=3.0, denoising=0.5, unit=10.0))
    assert close(other.g, s.state.sigma * size / 10 * least_norm(3 * away, 0.5 * residual))
    assert (BSDAuto().scale, BSDAuto().denoising, BSDAuto().unit, BSDAuto().weight) == (1, 1.25, 50, "uniform")


@pytest.mark.parametrize("objective", [BSD(), BSDAuto()], ids=["bsd", "bsd_auto"])
def test_no_descent_for_either_is_no_step(objective: BSD) -> None:
    """Where the directions are opposite there is no step that serves both."""
    s = Lab().step(objective)
    e = unrelated(s)
    base = s.n if isinstance(objective, BSDAuto) else 0 * s.n
    e["null"] = base + images(4, seed=8)
    e["pos"] = e["null"] - 0.4 * (e["null"] - base)
    assert combined(objective, s, e).abs().max() < 1e-12
