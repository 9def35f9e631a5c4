"""Closed-form and recording priors for the tests of objectives, critics and the evaluator."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sds3d.guidance import Context, CriticLike, Distillation, distill_gradient
from sds3d.priors.base import Cond
from sds3d.priors.oracle import MixturePrior, gaussian
from sds3d.schedule import Schedule, cosine

SHAPE = (2, 2, 2)  # an "image": 8 numbers
CONDS = ("null", "pos", "neg", "critic")


def cond(index: int, n: int = 1) -> Cond:
    return Cond(torch.full((n, 1, 1), float(index)), torch.ones(n, 1, dtype=torch.bool))


@dataclass
class ByCondition:
    """A prior that answers condition i with the i-th of `models`; records the batch size of every forward."""

    models: list[MixturePrior]
    forwards: list[int] = field(default_factory=list)
    schedule: Schedule = field(default_factory=cosine)
    capabilities: frozenset[str] = frozenset()
    name: str = "by-condition"
    size: int = SHAPE[-1]
    device: torch.device = torch.device("cpu")
    network: torch.nn.Module | None = None

    def encode(self, rgb: Tensor) -> Tensor:
        return rgb

    def decode(self, x: Tensor) -> Tensor:
        return x

    def text(self, prompts: list[str]) -> Cond:
        return Cond.cat([cond(CONDS.index(p or "null")) for p in prompts])

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        self.forwards.append(len(x_t))
        index = cond.tokens.flatten().long()
        eps = torch.empty_like(x_t, dtype=torch.promote_types(x_t.dtype, torch.float32))
        for i in index.unique():
            rows = (index == i).nonzero()[:, 0]
            eps[rows] = self.models[i].predict(x_t[rows], t[rows], cond.select(rows))
        return eps


def means(seed: int = 0) -> dict[str, Tensor]:
    """One mean image per condition."""
    g = torch.Generator().manual_seed(seed)
    return {name: torch.randn(SHAPE, generator=g, dtype=torch.float64) for name in CONDS}


def gaussians(std: float = 0.7, seed: int = 0) -> ByCondition:
    """A Gaussian of its own for each condition: every expectation is linear in the means."""
    return ByCondition([gaussian(mean, std) for mean in means(seed).values()])


def context(
    x: Tensor, prior: object, progress: float = 0.0, critic: CriticLike | None = None, seed: int = 0
) -> Context:
    conds = {name: cond(i) for i, name in enumerate(CONDS)}
    generator = torch.Generator().manual_seed(seed)
    return Context(x, conds, prior, generator, progress=progress, critic=critic)  # type: ignore[arg-type]


def gradient(objective: Distillation, c: Context, t: int) -> Tensor:
    """g at one timestep for all views."""
    return distill_gradient(objective, c, torch.full((len(c.x),), t))[0]
