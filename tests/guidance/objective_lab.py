"""One step of an objective on closed-form priors that differ by condition, beside the predictions it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from guidance_helpers import SHAPE, ByCondition, cond
from torch import Tensor

from sds3d.guidance import Call, Context, Distillation, State, View, distill_gradient
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.critic import OracleCritic
from sds3d.guidance.step import Stats
from sds3d.priors.oracle import MixturePrior
from sds3d.schedule import cosine

NAMES = ("null", "pos", "neg", "plain", "critic", "critic_marg")
TIMES = torch.tensor([60, 350, 700, 940])


def images(n: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixtures(shape: tuple[int, int, int] = SHAPE) -> ByCondition:
    """Three Gaussians of different widths for each name, none like another's."""
    spread = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    return ByCondition([MixturePrior(images(3, seed=10 + i, shape=shape), spread) for i in range(len(NAMES))])


@dataclass
class Step:
    """What went into and came out of one step."""

    g: Tensor
    stats: Stats
    state: State
    e: dict[str, Tensor]  # every condition's prediction at the state, by its name
    c: Context

    @property
    def n(self) -> Tensor:
        assert self.state.noise is not None
        return self.state.noise

    @property
    def lam(self) -> Tensor:
        return self.state.sigma / self.state.alpha

    def x0(self, e: Tensor) -> Tensor:
        return (self.state.z - self.state.sigma * e) / self.state.alpha

    @property
    def cost(self) -> tuple[int, int]:
        return self.stats.nfe, self.stats.critic_nfe


@dataclass
class Lab:
    """Contexts of one prior, by default that of `mixtures`, with an oracle critic of the same kind."""

    prior: Any = field(default_factory=mixtures)
    x: Tensor = field(default_factory=lambda: images(4, seed=1))
    t: Tensor = field(default_factory=lambda: TIMES)
    view: View | None = None

    def context(self, seed: int = 0, cache: dict[str, Any] | None = None, progress: float = 0.0) -> Context:
        conds = {name: cond(i) for i, name in enumerate(NAMES)}
        generator = torch.Generator().manual_seed(seed)
        cache = {} if cache is None else cache
        return Context(self.x, conds, self.prior, generator, progress, OracleCritic(self.prior), self.view, cache=cache)

    def step(self, objective: Distillation, **options: Any) -> Step:
        """The predictions are asked anew, each alone."""
        c = self.context(**options)
        g, stats = distill_gradient(objective, c, self.t)
        state = q_sample(self.x, self.t, iid_noise(self.context(**options)), cosine())
        n = len(self.x)
        e = {name: self.prior.predict(state.z, self.t, cond(i, n)) for i, name in enumerate(NAMES)}
        return Step(g, stats, state, e, c)


def combined(objective: Distillation, step: Step, e: dict[str, Tensor]) -> Tensor:
    """The objective's mix, unweighted, of predictions put in by hand."""
    states = {"t": step.state}
    return objective.combine({call: e[call.cond] for call in objective.calls(step.c, states)}, states, step.c)


def called(objective: Distillation, step: Step) -> list[str]:
    calls: list[Call] = objective.calls(step.c, {"t": step.state})
    return sorted(call.cond for call in calls)


def unrelated(step: Step, seed: int = 3) -> dict[str, Tensor]:
    """Random tensors in place of the networks' answers."""
    return dict(zip(NAMES, images(len(NAMES) * len(step.g), seed, step.g.shape[1:]).chunk(len(NAMES)), strict=True))


def close(a: Tensor, b: Tensor, atol: float = 1e-10) -> bool:
    return torch.allclose(a, b.expand_as(a), atol=atol, rtol=1e-10)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(B, 1, 1, 1)"""
    return (a * b).flatten(1).sum(1).view(-1, 1, 1, 1)


def exponent(gap: Tensor, covariance: Tensor) -> Tensor:
    """log N(gap; 0, covariance) but for a constant."""
    return -0.5 * gap @ torch.linalg.inv(covariance) @ gap
