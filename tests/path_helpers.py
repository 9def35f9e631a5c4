"""Closed forms for objectives that walk between noise levels, on Gaussians N(mu, STD^2) of one width.

There e(z, t) = sigma (z - alpha mu) / v with v = alpha^2 STD^2 + sigma^2, so one DDIM step from a to b is exactly
z' - alpha_b mu = r (z - alpha_a mu) with r = (alpha_a alpha_b STD^2 + sigma_a sigma_b) / v_a. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from guidance_helpers import SHAPE, means
from torch import Tensor

from sds3d.schedule import Schedule, cosine

STD = 0.7
MU = means()
T = torch.tensor([60, 430, 905])  # of the three views of most tests: each its own


def images(n: int = 3, seed: int = 5) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(t: int, schedule: Schedule | None = None) -> tuple[float, float]:
    """alpha_t, sigma_t."""
    bar = (schedule or cosine()).alphas_cumprod[t].item()
    return math.sqrt(bar), math.sqrt(1 - bar)


def ratio(t: int) -> float:
    """lambda_t = sigma_t / alpha_t."""
    alpha, sigma = level(t)
    return sigma / alpha


def variance(t: int, std: float = STD, schedule: Schedule | None = None) -> float:
    """v_t."""
    alpha, sigma = level(t, schedule)
    return (alpha * std) ** 2 + sigma**2


def slope(t: int, std: float = STD, schedule: Schedule | None = None) -> float:
    """k(t) = sigma alpha / v."""
    alpha, sigma = level(t, schedule)
    return alpha * sigma / variance(t, std, schedule)


def mixed(scale: float, pos: str = "pos", null: str = "null") -> Tensor:
    """The mean of the Gaussian that guidance with `scale` follows."""
    return MU[null] + scale * (MU[pos] - MU[null])


def eps(z: Tensor, t: int, mu: Tensor) -> Tensor:
    alpha, sigma = level(t)
    return sigma / variance(t) * (z - alpha * mu)


def noised(x: Tensor, t: int, noise: Tensor) -> Tensor:
    alpha, sigma = level(t)
    return alpha * x + sigma * noise


def walk(z: Tensor, levels: Sequence[int], mu: Tensor) -> Tensor:
    """DDIM through the levels of one view."""
    for a, b in pairwise(levels):
        (alpha_a, sigma_a), (alpha_b, sigma_b) = level(a), level(b)
        r = (alpha_a * alpha_b * STD**2 + sigma_a * sigma_b) / variance(a)
        z = alpha_b * mu + r * (z - alpha_a * mu)
    return z


def ladder(start: int, end: int, step: int) -> list[int]:
    """start, start +- step, ... and end."""
    return [*range(start, end, step if end > start else -step), end]
