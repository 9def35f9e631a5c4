"""The oracle properties can fail: flipping the sign of any single coefficient of any objective breaks them.

On Gaussians N(mu_c, 0.7^2) of equal width for each condition every prediction is e_a = sigma (z - alpha mu_a) / v, so
an objective's gradient has a mean linear in the means and in x, k(t) (sum of means), with k = sigma alpha / v, and a
noise part b n with b known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians, gradient, means
from torch import Tensor

from sds3d.guidance import CSD, NFSD, SDS, VSD, Call, Distillation
from sds3d.guidance.critic import OracleCritic
from sds3d.schedule import cosine

STD, VIEWS = 0.7, 4000
SPREAD = math.sqrt(2 / VIEWS)  # relative standard error of a variance
MU = means()
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

# objective, timestep, terms to flip, mean / k, b as (coefficient of sigma^2 / v, constant)
CASES: list[tuple[Distillation, int, list[str], Tensor, tuple[int, int]]] = [
    (SDS(cfg=3.0, weight="uniform"), 500, ["pos", "null", "noise"], X - 3 * MU["pos"] + 2 * MU["null"], (1, -1)),
    (
        VSD(cfg=3.0, weight="uniform"),
        500,
        ["pos", "null", "critic"],
        MU["critic"] - 3 * MU["pos"] + 2 * MU["null"],
        (0, 0),
    ),
    (
        CSD(negative_start=0.4, negative_end=0.4),
        500,
        ["pos", "null", "neg"],
        0.6 * MU["null"] + 0.4 * MU["neg"] - MU["pos"],
        (0, 0),
    ),
    (
        NFSD(cfg=3.0, weight="uniform"),
        500,
        ["pos", "null", "neg"],
        MU["neg"] - 3 * MU["pos"] + 2 * MU["null"],
        (0, 0),
    ),
    (NFSD(cfg=3.0, weight="uniform"), 100, ["pos", "null"], X - 3 * MU["pos"] + 2 * MU["null"], (1, 0)),
]


def holds(objective: Distillation, t: int, mean: Tensor, noise: tuple[int, int]) -> bool:
    """Are mean and variance the expected ones, within 5 standard errors plus rounding?"""
    prior = gaussians(STD)
    c = context(X.expand(VIEWS, *SHAPE), prior, critic=OracleCritic(prior.models[3]))
    g = gradient(objective, c, t)
    bar = cosine().alphas_cumprod[t].item()
    v = bar * STD**2 + 1 - bar
    k, b = math.sqrt(bar * (1 - bar)) / v, noise[0] * (1 - bar) / v + noise[1]
    mean_error, variance_error = (g.mean(0) - k * mean).abs().max(), (g.var(0) - b**2).abs().max()
    return bool(mean_error < 5 * abs(b) / math.sqrt(VIEWS) + 1e-9 and variance_error < 5 * b**2 * SPREAD + 1e-9)


def flip(objective: Distillation, name: str) -> Distillation:
    """The objective with the sign of one of its terms turned."""

    class Mutant(type(objective)):  # type: ignore[misc]
        def combine(self, e: Mapping[Call, Tensor], states: dict, c: object) -> Tensor:
            wrong = {call: -v if call.cond == name else v for call, v in e.items()}
            if name == "noise":
                return super().combine(wrong, states, c) + 2 * states["t"].noise
            return super().combine(wrong, states, c)

    return Mutant(**vars(objective))


@pytest.mark.parametrize(("objective", "t", "terms", "mean", "noise"), CASES, ids=[str(c[:2]) for c in CASES])
def test_property_holds_and_every_flipped_sign_breaks_it(
    objective: Distillation, t: int, terms: list[str], mean: Tensor, noise: tuple[int, int]
) -> None:
    assert holds(objective, t, mean, noise)
    for name in terms:
        assert not holds(flip(objective, name), t, mean, noise), f"the sign of {name} is not tested"
