"""Counter-based Gaussians: a number for every (key, lane), without a generator to advance or a buffer to keep."""

from __future__ import annotations

import math

from torch import Tensor

LEVELS = 10  # of the bridge: blocks of 2^LEVELS steps
FIRST, SECOND, GAMMA = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15  # SplitMix64's


def gaussians(key: Tensor, lane: int, like: Tensor) -> Tensor:
    """N(0, 1) for every `key` (int64, any shape), independent between keys and lanes; dtype of `like`.

    Two rounds of SplitMix64's finaliser (Steele et al. 2014), then Box and Muller on its first 23 and last 24 bits:
    what is drawn from them is exact in float32.
    """
    bits = _mix(_mix(key) + _signed(jump(lane)))
    high, low = _shift(bits, 41), bits & 0xFFFFFF
    radius = (-2 * ((high.to(like) + 0.5) / 2**23).log()).sqrt()
    return radius * (low.to(like) * (2 * math.pi / 2**24)).cos()


def refreshing(key: Tensor, lane: int, step: int, gamma: float, like: Tensor) -> Tensor:
    """N(0, 1) that is renewed by `gamma` a step, N <- sqrt(1 - gamma) N + sqrt(gamma) xi, at `step`."""
    total = like.new_zeros(key.shape)
    for draw, weight in renewal(step, gamma).items():
        total += weight * gaussians(key, number(lane, draw), like)
    return total


def renewal(step: int, gamma: float) -> dict[int, float]:
    """The draws of a lane that make up the autoregression at `step`, and their weights, whose squares sum to 1.

    Random access: it is Markov, so its value at the ends of blocks of steps is carried on, and the values inside follow
    by bisection, each from its two neighbours (the Ornstein-Uhlenbeck bridge) and a draw of its own. Exact in law, and
    the same whenever it is asked.
    """

    def keep(steps: int) -> float:
        """Variance that survives `steps` steps."""
        return math.exp(steps * math.log1p(-gamma)) if gamma < 1 else 0.0

    if gamma == 0:
        return {0: 1.0}
    half = 1 << LEVELS
    left = right = {0: 1.0}
    for end in range(half, (step // half + 1) * half + 1, half):
        left, right = right, _scaled(right, keep(half) ** 0.5) | {end: (1 - keep(half)) ** 0.5}
    at = step // half * half
    while at < step:
        half //= 2
        r = keep(half)
        mean = {draw: left.get(draw, 0.0) + right.get(draw, 0.0) for draw in left | right}
        middle = _scaled(mean, r**0.5 / (1 + r)) | {at + half: ((1 - r) / (1 + r)) ** 0.5}
        left, right, at = (middle, right, at + half) if step >= at + half else (left, middle, at)
    return {draw: weight for draw, weight in left.items() if weight}


def number(lane: int, draw: int) -> int:
    """The lane of `gaussians` that is draw `draw` < 2^32 of a renewed lane."""
    return (lane << 32) + draw


def jump(lane: int) -> int:
    """What a lane adds to the mixed key: SplitMix64's stream at `lane`, below 2^64."""
    return lane * GAMMA % (1 << 64)


def _scaled(weights: dict[int, float], factor: float) -> dict[int, float]:
    return {draw: factor * weight for draw, weight in weights.items()}


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap."""
    x = (x ^ _shift(x, 30)) * _signed(FIRST)
    x = (x ^ _shift(x, 27)) * _signed(SECOND)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, n: int) -> Tensor:
    """x >> n with zeros coming in."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
