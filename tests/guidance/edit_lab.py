"""One step of an editing objective on closed-form priors, beside every prediction it could have been made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from guidance_helpers import SHAPE, ByCondition, cond
from torch import Tensor

from sds3d.guidance import Context, Distillation, State, distill_gradient
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.priors.oracle import MixturePrior
from sds3d.schedule import cosine

NAMES = ("null", "pos", "neg", "src")
TIMES = torch.tensor([60, 350, 700, 940])


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixtures() -> ByCondition:
    """Three Gaussians of different widths for each name, none like another's."""
    spread = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    return ByCondition([MixturePrior(images(3, seed=10 + i), spread) for i in range(len(NAMES))])


@dataclass
class Edited:
    """What went into and came out of one step; `e[name, at]` is the prior's answer at the render or the source."""

    g: Tensor
    nfe: int
    states: dict[str, State]
    e: dict[tuple[str, str], Tensor]
    c: Context

    def guided(self, scale: float, name: str, at: str) -> Tensor:
        return self.e["null", at] + scale * (self.e[name, at] - self.e["null", at])


@dataclass
class Desk:
    """Contexts with a source asset (None: without one)."""

    prior: Any = field(default_factory=mixtures)
    x: Tensor = field(default_factory=lambda: images(4, seed=1))
    x_src: Tensor | None = field(default_factory=lambda: images(4, seed=2))
    t: Tensor = field(default_factory=lambda: TIMES)
    alias: dict[str, str] = field(default_factory=dict)  # one condition in the place of another

    def context(self, seed: int = 0) -> Context:
        conds = {name: cond(NAMES.index(self.alias.get(name, name))) for name in NAMES}
        return Context(self.x, conds, self.prior, torch.Generator().manual_seed(seed), x_src=self.x_src)

    def step(self, objective: Distillation, seed: int = 0) -> Edited:
        """The predictions are asked anew, each alone."""
        c = self.context(seed)
        g, stats = distill_gradient(objective, c, self.t)
        noise = iid_noise(self.context(seed))
        pictures = {"t": self.x} | ({} if self.x_src is None else {"src": self.x_src})
        states = {at: q_sample(x, self.t, noise, cosine()) for at, x in pictures.items()}
        e = {
            (name, at): self.prior.predict(state.z, self.t, c.conds[name].repeat(len(self.x)))
            for name in NAMES
            for at, state in states.items()
        }
        return Edited(g, stats.nfe, states, e, c)


def close(a: Tensor, b: Tensor, atol: float = 1e-10) -> bool:
    return torch.allclose(a, b.expand_as(a), atol=atol, rtol=1e-10)
