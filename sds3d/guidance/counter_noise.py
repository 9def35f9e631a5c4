"""Counter-based Gaussians: a number for every (key, lane), without a generator to advance or a buffer to keep."""

from __future__ import annotations

import math

from torch import Tensor

LEVELS = 10  # of the bridge: blocks of 2^LEVELS steps


def gaussians(key: Tensor, lane: int, like: Tensor) -> Tensor:
    """N(0, 1) for every `key` (int64, any shape), independent between keys and lanes; dtype of `like`.

    Two rounds of SplitMix64's finaliser (Steele et al. 2014), then Box and Muller on its two halves.
    """
    bits = _mix(_mix(key) + _signed(lane * 0x9E3779B97F4A7C15 % (1 << 64)))
    high, low = _shift(bits, 40), bits & 0xFFFFFF  # 24 bits each: exact in float32
    radius = (-2 * ((high.to(like) + 0.5) / 2**24).log()).sqrt()
    return radius * (low.to(like) * (2 * math.pi / 2**24)).cos()


def refreshing(key: Tensor, lane: int, step: int, gamma: float, like: Tensor) -> Tensor:
    """N(0, 1) that is renewed by `gamma` a step, N <- sqrt(1 - gamma) N + sqrt(gamma) xi, at `step`.

    Random access to the autoregression: it is Markov, so its value at the ends of blocks of steps is carried on, and
    the values inside follow by bisection, each from its two neighbours (the Ornstein-Uhlenbeck bridge) and a draw of
    its own. Exact in law, and the same whenever it is asked.
    """
    base = lane << 32
    if gamma == 0:
        return gaussians(key, base, like)

    def keep(steps: int) -> float:
        """Variance that survives `steps` steps."""
        return math.exp(steps * math.log1p(-gamma)) if gamma < 1 else 0.0

    half = 1 << LEVELS
    left = gaussians(key, base, like)
    for end in range(half, (step // half + 1) * half + 1, half):
        right = keep(half) ** 0.5 * left + (1 - keep(half)) ** 0.5 * gaussians(key, base + end, like)
        left, before = right, left
    left, at = before, step // half * half
    while at < step:
        half //= 2
        r = keep(half)
        middle = r**0.5 / (1 + r) * (left + right) + ((1 - r) / (1 + r)) ** 0.5 * gaussians(key, base + at + half, like)
        left, right, at = (middle, right, at + half) if step >= at + half else (left, middle, at)
    return left


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap."""
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, n: int) -> Tensor:
    """x >> n with zeros coming in."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
