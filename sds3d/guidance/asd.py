"""Asynchronous Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls, q_sample
from sds3d.transfer import put


@dataclass(frozen=True, kw_only=True)
class ASD(Distillation):
    """g = w(t) [e^s(x_t, t) - e_pos(x_t+, t+)]: the frozen prior itself, asked slightly later, in place of a critic.

    ScaleDreamer (Ma et al., "ScaleDreamer: Scalable Text-to-3D Synthesis with Asynchronous Score Distillation", arXiv
    2407.02040). Both states share one noise; t+ = t + floor(`shift` u (t - t_min)) with u ~ U(0, 1) for each view and
    w = sigma_t^2. t_min is the lower end of the published band of t: a line over the run from `floor` to `floor_end`
    (shares of T). On N(mu, c^2) the mean is [k(t) - k(t+)] (x - mu) at s = 1, which pushes away from mu where
    sigma_t / alpha_t < c: the guidance has to win there.
    """

    cfg: float = 7.5
    shift: float = 0.1
    floor: float = 0.5
    floor_end: float = 0.02

    summary: ClassVar[str] = "subtract the prior's own prediction at a later timestep (ScaleDreamer); no critic"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift < 0 or not (0 <= self.floor <= 1 and 0 <= self.floor_end <= 1):
            raise UserError("guidance shift must not be negative; floor and floor_end are shares of T between 0 and 1")

    def later(self, c: Context, t: Tensor) -> Tensor:
        """t+ (B,) of t (B,), at most T - 1."""
        steps = c.prior.schedule.steps
        low = (self.floor + (self.floor_end - self.floor) * c.progress) * steps
        u = put(torch.rand(len(t), generator=c.generator), t.device)
        return (t + self.gap((self.shift * u * (t - low)).floor().clamp(min=0), c.progress).long()).clamp(max=steps - 1)

    def gap(self, drawn: Tensor, progress: float) -> Tensor:
        """t+ - t (B,), given the draw."""
        return drawn

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        later = self.later(c, t)
        noise = self.noise(c, later)
        return {name: q_sample(c.x, level, noise, c.prior.schedule) for name, level in (("t", t), ("later", later))}

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [*guided_calls(self.cfg), Call("pos", "later")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return guided(e, self.cfg) - e[Call("pos", "later")]
