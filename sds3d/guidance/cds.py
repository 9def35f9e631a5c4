"""Consistency Distillation Sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import (
    Call,
    Context,
    Distillation,
    Predictions,
    State,
    guided,
    guided_calls,
    negative_calls,
    q_sample,
)
from sds3d.guidance.evaluate import evaluate
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.paths import state_at, ve_step
from sds3d.transfer import put


@dataclass(frozen=True, kw_only=True)
class CDS(Distillation):
    """g = w [e^s(x_t) - e^s(x_s)], x_t built with the one noise of the run and x_s an ODE step from it, s < t.

    Consistent3D (Wu et al., "Consistent3D: Towards Consistent High-Fidelity Text-to-3D Generation with Deterministic
    Sampling Prior", arXiv 2401.09050). The engine's t is the noisier level, s = t - U(`gap`) T for each view; w = 1.
    The scale goes in a line over the run from `cfg` to `cfg_end`. The sign is that of the published code: literal
    descent on |D(x_t) - sg D(x_s)|^2 without the Jacobian has the other one, and expands on a Gaussian. Their clip of
    2, later 8, is the option clip.
    """

    weight: str = "uniform"
    cfg: float = 101.0
    cfg_end: float = 51.0
    gap: tuple[float, float] = (0.1, 0.3)  # shares of T

    summary: ClassVar[str] = "two levels of one ODE under a noise fixed for the run agree (Consistent3D)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gap[0] <= self.gap[1] <= 1:
            raise UserError("guidance gap needs two rising shares of T between 0 and 1")

    def scale(self, progress: float) -> float:
        return self.cfg + (self.cfg_end - self.cfg) * progress

    def noise(self, c: Context, t: Tensor) -> Tensor:
        return run_fixed(c, name="cds")

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        """ "t" and "s", whose noise is e^s(x_t)."""
        schedule, scale = c.prior.schedule, self.scale(c.progress)
        states = {"t": q_sample(c.x, t, self.noise(c, t), schedule)}
        calls = guided_calls(scale)
        answers = evaluate([*calls, *negative_calls(calls, self)], states, c)
        eps = guided(Predictions(answers, states, c, self), scale)
        low, high = self.gap
        gap = low + (high - low) * put(torch.rand(len(t), generator=c.generator), t.device)
        s = (t - (gap * schedule.steps).long()).clamp(min=0)
        return states | {"s": state_at(ve_step(states["t"].z, eps, t, s, schedule), s, schedule, eps)}

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.scale(c.progress), at="s")

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        eps = states["s"].noise
        assert eps is not None
        return eps - guided(e, self.scale(c.progress), at="s")
