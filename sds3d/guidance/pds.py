"""Posterior Distillation Sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, State
from sds3d.guidance.dds import DDS
from sds3d.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class PDS(DDS):
    """g = psi_t (x - x_src) + chi_t (e^s_tgt - e^s_src): the stochastic latents of one DDPM step, matched.

    Koo et al., "Posterior Distillation Sampling" (arXiv 2311.13831). The step goes from t to t - `stride`
    while beta is that of a single step; only this mismatch gives the identity term: psi = 0 at stride 1. Published:
    scale 100, a grid of 500 steps (stride 2), t uniform in [0.02, 0.98]. The second noise cancels. 4 calls.
    """

    cfg: float = 100.0
    stride: int = 2  # of t, in steps of the prior's schedule

    summary: ClassVar[str] = "edit a finished run by matching latents of a sampling step; holds on to its identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride < 1:
            raise UserError("pds.stride must be at least 1")

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        assert c.x_src is not None
        psi, chi = coefficients(states["t"].t, self.stride, c.prior.schedule, c.x)
        return psi * (c.x - c.x_src) + chi * super().combine(e, states, c)


def coefficients(t: Tensor, stride: int, schedule: Schedule, like: Tensor) -> tuple[Tensor, Tensor]:
    """psi and chi (B, 1, 1, 1) for integer t (B,), from z = (x_t' - c0 x0 - c1 x_t) / std with t' = t - stride.

    c0 and c1 are those of DDPM's posterior mean (Ho et al. 2020, eq. 7), beta_t = 1 - alpha_t^2 / alpha_{t-1}^2.
    There is no step from t = 0: it takes those of t = 1.
    """
    (alpha, sigma), (alpha_p, sigma_p), (alpha_1, _) = (
        schedule.alpha_sigma((t.clamp(min=1) - back).clamp(min=0), like) for back in (0, stride, 1)
    )
    beta = 1 - (alpha / alpha_1) ** 2
    std = beta.sqrt() * sigma_p / sigma
    c0 = alpha_p * beta / sigma**2
    c1 = (1 - beta).sqrt() * (sigma_p / sigma) ** 2
    return (alpha_p - c0 - c1 * alpha) / std, c0 * sigma / (alpha * std)
