"""Noise schedules, weights and timestep policies: plain numbers and pure functions (OBJECTIVES 1.1, 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError, unknown


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


LEAST = 0.1  # share of the noise levels' way that the weakest run counts as

# w(t) by name, from alpha_t and sigma_t (OBJECTIVES 3.4). In the x0 form, w (e - n) = (w / lambda) (x - x0).
WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sds": lambda a, s: s**2,
    "uniform": lambda a, s: torch.ones_like(s),
    "lambda": lambda a, s: s / a,
    "alpha": lambda a, s: a,
    "fantasia3d": lambda a, s: a * s**2,
    "flow": lambda a, s: (a + s) / a,  # 1 / (1 - flow time): eps residuals as flow-matching velocities (OBJECTIVES 2.8)
}


T = TypeVar("T", bound="Times")


@dataclass(frozen=True)
class Times:
    """Which noise levels are asked, as shares of T, over the progress of a run."""

    policy: str = "sqrt"  # a name in TIME_POLICIES
    hi: float = 0.98
    lo: float = 0.02
    hi_end: float = 0.5  # where hi goes with "band" (in a line) and "two_stage" (at half of the way)
    lo_end: float = 0.02  # where lo goes with "band"
    knots: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0)  # progress at which "piecewise" has its levels
    levels: tuple[float, ...] = (0.98, 0.692, 0.404, 0.212)  # straight lines between them; default: CFD on SD
    anneal: float = 1.0  # share of the run after which the policy has reached its end
    jitter: float = 0.02  # least width of the band

    def __post_init__(self) -> None:
        if self.policy not in TIME_POLICIES:
            raise unknown("time.policy", self.policy, TIME_POLICIES)
        if not 0 <= self.lo < self.hi <= 1:
            raise UserError(f"time.lo and time.hi need 0 <= lo < hi <= 1, not {self.lo} and {self.hi}")
        if not 0 <= self.lo_end <= self.hi_end <= 1:
            raise UserError(f"time.lo_end and time.hi_end rise within [0, 1], not {self.lo_end} and {self.hi_end}")
        if not 0 < self.anneal <= 1:
            raise UserError(f"time.anneal is a share of the run above 0 and up to 1, not {self.anneal}")
        rising = all(a < b for a, b in zip(self.knots, self.knots[1:], strict=False))
        if len(self.knots) != len(self.levels) or not rising or not all(0 <= v <= 1 for v in self.levels):
            raise UserError("time.knots must rise, and time.levels needs as many shares of T between 0 and 1")

    def weakened(self: T, strength: float) -> T:
        """The same policy from `strength` of the way from lo to hi, for what need not be made from nothing."""
        top = self.lo + (self.hi - self.lo) * strength
        low, high = min(self.lo_end, top), min(self.hi_end, top)
        return replace(self, hi=top, lo_end=low, hi_end=high, levels=tuple(min(v, top) for v in self.levels))

    def share(self, strength: float) -> float:
        """How much of the way from the first noise level to the last is left at `strength`, in log(sigma / alpha) of
        the cosine schedule, in which the probability-flow ODE moves evenly (dx = (x - x0) d log lambda); at least
        LEAST, also of a policy that stays where it is."""

        def way(time: Times) -> float:
            return _log_lambda(time.band(0.0)[1]) - _log_lambda(time.band(1.0)[0])

        whole = way(self)
        return max(way(self.weakened(strength)) / whole, LEAST) if whole > 0 else max(strength, LEAST)

    def band(self, progress: float) -> tuple[float, float]:
        """The policy's (low, high) at `progress` in [0, 1], as shares of T."""
        return TIME_POLICIES[self.policy](min(progress / self.anneal, 1.0), self)

    def sample(self, progress: float, n: int, generator: torch.Generator) -> Tensor:
        """(n,) shares of T: uniform in the band, which is widened to `jitter` below its upper end."""
        low, high = self.band(progress)
        low = max(min(low, high - self.jitter), 0.0)
        return low + (high - low) * torch.rand(n, generator=generator)


def _uniform(p: float, time: Times) -> tuple[float, float]:
    return time.lo, time.hi


def _linear(p: float, time: Times) -> tuple[float, float]:
    level = time.hi + (time.lo - time.hi) * p
    return level, level


def _sqrt(p: float, time: Times) -> tuple[float, float]:
    """HiFA's annealing: t = t_min + (t_max - t_min)(1 - sqrt p)."""
    level = time.lo + (time.hi - time.lo) * (1 - math.sqrt(p))
    return level, level


def _flow(p: float, time: Times) -> tuple[float, float]:
    """tan(pi t / 2) falls geometrically from hi to lo: it is sigma / alpha of the cosine schedule, so every step takes
    the same share of the way along the probability-flow ODE (dx = (x - x0) d log lambda)."""
    ends = _log_lambda(time.hi), _log_lambda(time.lo)
    level = 2 / math.pi * math.atan(math.exp(ends[0] + (ends[1] - ends[0]) * p))
    return level, level


def _log_lambda(level: float) -> float:
    """log(sigma / alpha) of the cosine schedule at a share of T."""
    return math.log(math.tan(math.pi / 2 * min(max(level, 1e-3), 1 - 1e-3)))


def _two_stage(p: float, time: Times) -> tuple[float, float]:
    """ProlificDreamer's drop: t_max falls from hi to hi_end at half of the way."""
    return time.lo, time.hi if p < 0.5 else min(time.hi, time.hi_end)


def _band(p: float, time: Times) -> tuple[float, float]:
    """Both ends in straight lines: MVDream .98 -> .02 and .98 -> .5, ScaleDreamer .5 -> .02 and .98 -> .5."""
    return time.lo + (time.lo_end - time.lo) * p, time.hi + (time.hi_end - time.hi) * p


def _piecewise(p: float, time: Times) -> tuple[float, float]:
    """Straight lines through (knots, levels), constant before the first knot and after the last."""
    level = float(np.interp(p, time.knots, time.levels))
    return level, level


# progress p in [0, 1] -> the band of t / T to draw from.
TIME_POLICIES: dict[str, Callable[[float, Times], tuple[float, float]]] = {
    "uniform": _uniform,
    "linear": _linear,
    "sqrt": _sqrt,
    "flow": _flow,
    "two_stage": _two_stage,
    "band": _band,
    "piecewise": _piecewise,
}
