"""Score Distillation via Inversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Context
from sds3d.guidance.paths import grid, path
from sds3d.guidance.sds import SDS
from sds3d.transfer import put


@dataclass(frozen=True, kw_only=True)
class SDI(SDS):
    """g = lambda_t [e^s(x_t) - kappa] = x - x0(e^s), kappa being the noise that DDIM inversion finds in the render.

    Lukoianov et al., "Score Distillation via Reparametrized DDIM" (arXiv 2405.15891). x is inverted from level 0 to
    t' = t + U(0, `beyond`) T in steps of `step` T with guidance `inversion_cfg`, each step perturbed by `eta`; kappa =
    (z_t' - alpha_t' x) / sigma_t' and x_t = alpha_t x + sigma_t kappa. (The published code feeds z_t' to the network as
    if it were at t.) Costs 2 ceil(t' / step) + 2 predictions. t falls from .98 to .25 in a line over the run.
    """

    weight: str = "lambda"
    cfg: float = 7.5
    inversion_cfg: float = -7.5
    eta: float = 0.3
    step: float = 0.1  # share of T
    beyond: float = 0.1  # share of T

    summary: ClassVar[str] = "invert the render to find its noise (SDI); sharp at a low scale, costly"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step <= 1 or not 0 <= self.beyond <= 1 or self.eta < 0:
            raise UserError("guidance step and beyond are shares of T up to 1, step above 0; eta must not be negative")

    def noise(self, c: Context, t: Tensor) -> Tensor:
        steps = c.prior.schedule.steps
        u = put(torch.rand(len(t), generator=c.generator), t.device)
        end = (t + (self.beyond * steps * u).long()).clamp(1, steps - 1)
        levels = grid(0, end, max(1, round(self.step * steps)))
        found = path(c, c.x, levels, self.inversion_cfg, self.eta)[-1]
        return (found.z - found.alpha * c.x) / found.sigma
