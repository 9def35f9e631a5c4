"""Interval Score Matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Context, State, q_sample
from sds3d.guidance.paths import grid, path
from sds3d.guidance.sds import SDS


@dataclass(frozen=True, kw_only=True)
class ISM(SDS):
    """g = lambda_t [e^s(x_t) - e_null(x_s)], x_s and x_t being on one DDIM inversion of the render, s = t - delta.

    LucidDreamer (Liang et al., "LucidDreamer: Towards High-Fidelity Text-to-3D Generation via Interval Score Matching",
    arXiv 2311.11284). The inversion starts at level 0 with its little noise, takes steps of `step` T without a prompt,
    and one step from s to t; its last prediction is the target, so that ISM costs ceil(s / step) + 1 + 2. delta falls
    in a line from `interval_start` T to `interval` T over the first `warmup` of the run. The published factor 0.1 is
    the setting guidance_weight; the published 0.1 offset per channel on the start noise is left out.
    """

    weight: str = "lambda"
    cfg: float = 7.5
    interval_start: float = 0.1  # share of T
    interval: float = 0.08  # share of T
    warmup: float = 0.3  # share of the run
    step: float = 0.2  # share of T

    empty: ClassVar[str] = "null"  # the condition that inverts
    summary: ClassVar[str] = "match two levels of one inversion path (LucidDreamer); smooth gradients, detailed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step <= 1 or min(self.interval, self.interval_start, self.warmup) < 0:
            raise UserError("guidance step is a share of T above 0; intervals and warmup must not be negative")

    def delta(self, c: Context) -> int:
        """t - s in timesteps."""
        p = min(c.progress / self.warmup, 1.0) if self.warmup > 0 else 1.0
        return round((self.interval_start + (self.interval - self.interval_start) * p) * c.prior.schedule.steps)

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        """ "t", whose noise is e_null(x_s), and "s"."""
        schedule = c.prior.schedule
        start = q_sample(c.x, torch.zeros_like(t), self.noise(c, t), schedule)
        inner = grid(0, (t - self.delta(c)).clamp(min=0), max(1, round(self.step * schedule.steps)))
        *_, s, end = path(c, start.z, torch.cat([inner, t[None]]), null=self.empty)
        return {"t": end, "s": s}
