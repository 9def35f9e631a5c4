"""The objective seam (OBJECTIVES ch. 3): states -> network calls -> combination -> weight -> post-op -> gradient on x."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from sds3d.priors.base import Cond, Prior


@dataclass(frozen=True)
class Call:
    """One network evaluation: condition `cond` at state `at`, by the prior or by the critic (cond starts "critic")."""

    cond: str  # "pos" "null" "neg" "src" "critic" ...
    at: str = "t"


@dataclass(frozen=True)
class State:
    """A noisy state of the B views."""

    z: Tensor  # (B, C, h, w)
    t: Tensor  # (B,) integer timestep
    alpha: Tensor  # (B, 1, 1, 1)
    sigma: Tensor  # (B, 1, 1, 1)
    noise: Tensor | None  # (B, C, h, w) what it was built with


class CriticLike(Protocol):
    """A trainable (or closed-form) model of the rendered distribution."""

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor: ...

    def train_step(self, x: Tensor, cond: Cond, generator: torch.Generator) -> float: ...


@dataclass
class Context:
    """Everything an objective may look at in one step."""

    x: Tensor  # (B, C, h, w) encoded render, detached
    conds: dict[str, Cond]  # by the names used in Call.cond, each of length B
    prior: Prior
    generator: torch.Generator  # this step's noise stream
    progress: float = 0.0
    critic: CriticLike | None = None
    x_src: Tensor | None = None  # source image for editing objectives
    cache: dict[str, Any] = field(default_factory=dict)  # lives as long as the run


class Objective(Protocol):
    """A frozen dataclass of hyper-parameters plus these functions; 5 to 40 lines each."""

    weight: str  # a name in schedule.WEIGHTS

    def states(self, c: Context, t: Tensor) -> dict[str, State]: ...

    def calls(self, c: Context) -> list[Call]: ...

    def combine(self, e: dict[Call, Tensor], states: dict[str, State], c: Context) -> Tensor: ...

    def post(self, g: Tensor, c: Context) -> Tensor: ...
