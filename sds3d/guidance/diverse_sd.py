"""Diverse Score Distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.asd import ASD
from sds3d.guidance.base import Context
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.paths import grid, guided_eps, path


@dataclass(frozen=True, kw_only=True)
class DiverseSD(ASD):
    """g = w(t) [e^s(x_t, t) - e_pos(x_t+, t+)], both states with the noise n = e^s(z_t+, t+) of the seed's ODE path.

    Xu et al., "Diverse Score Distillation" (arXiv 2412.06780). z_T is drawn once per run; DDIM with guidance s takes it
    from T - 1 to t+ in at most `hops` steps, so that every seed follows another generation. t+ = t + max(floor(`shift`
    u (t - t_min)), `least`) with t_min the published end of the annealing of t; `least` gets ten times as large for the
    last quarter of the run. Costs 2 (steps + 1) + 3 predictions, the published code one more: the pair at t+ is needed
    by its conditional half only. The path is made anew at each step, because it depends on the view's camera and words.
    """

    floor: float = 0.32
    floor_end: float = 0.32
    least: int = 1  # timesteps
    hops: int = 10

    summary: ClassVar[str] = "every seed follows its own ODE path, for different shapes from one prompt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hops < 1 or self.least < 0:
            raise UserError("guidance hops must be at least 1, least at least 0")

    def gap(self, drawn: Tensor, progress: float) -> Tensor:
        return drawn.clamp(min=self.least * (1 if progress < 0.75 else 10))

    def noise(self, c: Context, t: Tensor) -> Tensor:
        """e^s (B, C, h, w) where the ODE path of the run's z_T is at t (B,)."""
        top = c.prior.schedule.steps - 1
        start = run_fixed(c, name="diverse")
        end = path(c, start, grid(top, t, max(1, c.prior.schedule.steps // self.hops)), self.cfg)[-1]
        return guided_eps(c, end.z, t, self.cfg)
