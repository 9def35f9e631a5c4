"""Noise schedules, weights and timestep policies: plain numbers and pure functions (OBJECTIVES 1.1, 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Variance-preserving schedule over T discrete steps: x_t = alpha_t x + sigma_t n, alpha^2 + sigma^2 = 1."""

    alphas_cumprod: Tensor  # (T,) float64, decreasing; alpha_t^2

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def alpha_sigma(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t for integer t (B,), shaped to broadcast against `like` (B, ...), in its dtype."""
        bar = self.alphas_cumprod.to(t.device)[t]
        shape = (-1,) + (1,) * (like.ndim - 1)
        return (
            bar.sqrt().to(like.dtype).view(shape).to(like.device),
            (1 - bar).sqrt().to(like.dtype).view(shape).to(like.device),
        )

    def timestep(self, fraction: Tensor) -> Tensor:
        """Fraction of T in [0, 1] -> integer timestep, clamped to [0, T-1]."""
        return (fraction * self.steps).long().clamp(0, self.steps - 1)


def cosine(steps: int = 1000) -> Schedule:
    """Nichol & Dhariwal 2021 eq. 17, with the per-step beta capped at 0.999: diffusers' `squaredcos_cap_v2`."""

    def bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - bar((i + 1) / steps) / bar(i / steps), 0.999) for i in range(steps)]
    return Schedule(torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0))


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Schedule:
    """Stable Diffusion's schedule: betas linear in their square root."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return Schedule(torch.cumprod(1 - betas, 0))


# w(t) by name, from alpha_t and sigma_t (OBJECTIVES 3.4). In the x0 form, w (e - n) = (w / lambda) (x - x0).
WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sds": lambda a, s: s**2,
    "uniform": lambda a, s: torch.ones_like(s),
    "lambda": lambda a, s: s / a,
    "alpha": lambda a, s: a,
    "fantasia3d": lambda a, s: a * s**2,
}


def _uniform(p: float, hi: float, lo: float) -> tuple[float, float]:
    return lo, hi


def _linear(p: float, hi: float, lo: float) -> tuple[float, float]:
    level = hi + (lo - hi) * p
    return level, level


def _sqrt(p: float, hi: float, lo: float) -> tuple[float, float]:
    """HiFA's annealing: t = t_min + (t_max - t_min)(1 - sqrt p)."""
    level = lo + (hi - lo) * (1 - math.sqrt(p))
    return level, level


def _two_stage(p: float, hi: float, lo: float) -> tuple[float, float]:
    """ProlificDreamer's drop: t_max falls from hi to 0.5 at half of the run."""
    return lo, hi if p < 0.5 else min(hi, 0.5)


# progress p in [0, 1] -> the band of t / T to draw from.
TIME_POLICIES: dict[str, Callable[[float, float, float], tuple[float, float]]] = {
    "uniform": _uniform,
    "linear": _linear,
    "sqrt": _sqrt,
    "two_stage": _two_stage,
}


def sample_times(
    policy: str, p: float, n: int, generator: torch.Generator, hi: float = 0.98, lo: float = 0.02, jitter: float = 0.02
) -> Tensor:
    """(n,) fractions of T at progress p: uniform in the policy's band, which is at least `jitter` wide."""
    low, high = TIME_POLICIES[policy](p, hi, lo)
    low = max(min(low, high - jitter), 0.0)
    return low + (high - low) * torch.rand(n, generator=generator)
