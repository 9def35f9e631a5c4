"""Uni-Instruct: f-divergence distillation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.guidance.base import Call, Context, State, guided
from sds3d.guidance.density_ratio import fit, log_ratio
from sds3d.guidance.tensors import denoised
from sds3d.guidance.vsd import VSD

# a = f''(r) r^2 of the divergence D_f(p | q) = E_q f(r), from the density ratio r = p_t / q_t.
DIVERGENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse_kl": lambda r: r * 0 + 1,  # f = -log r: VSD
    "forward_kl": lambda r: r,  # f = r log r
    "jensen_shannon": lambda r: r / (1 + r),  # f = r log r - (1 + r) log((1 + r) / 2)
    "hellinger": lambda r: r.sqrt() / 2,  # f = (1 - sqrt r)^2
    "chi_square": lambda r: 2 * r.square(),  # f = (r - 1)^2
}


@dataclass(frozen=True, kw_only=True)
class UniInstruct(VSD):
    """g = w(t) a(p_t / q_t) [e^s(x_t) - e_psi(x_t | y, camera)], one factor a(r) = f''(r) r^2 per view.

    Wang et al., "Uni-Instruct: One-step Diffusion Model through Unified Diffusion Divergence Instruction" (arXiv
    2505.20755): minimise an f-divergence between the prior's and the renders' distributions at every noise level. This
    is its integral-KL branch with the factor of f-distill (arXiv 2502.15681); its score branch, which needs the
    network's Jacobian, is left out (b = 0). Engine choice: the divergence; the density ratio, which is a running linear
    discriminant between the renders and their one-step clean predictions; its clamp to [1 / limit, limit].
    """

    divergence: str = "jensen_shannon"  # a name in DIVERGENCES
    limit: float = 10.0  # largest density ratio, and the inverse of the smallest
    memory: float = 0.95  # what a step keeps of the discriminant

    summary: ClassVar[str] = "VSD weighted by a density ratio: any f-divergence, not only reverse KL"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise unknown("divergence", self.divergence, DIVERGENCES)
        if self.limit < 1 or not 0 <= self.memory < 1:
            raise UserError("uni_instruct needs a limit of at least 1 and a memory from 0 up to but not including 1")

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state = states["t"]
        target = denoised(state, guided(e, self.cfg))
        log_q_over_p = log_ratio(state, *fit(c.cache, c.x, target, self.memory))
        bound = math.log(self.limit)
        factor = DIVERGENCES[self.divergence]((-log_q_over_p).clamp(-bound, bound).exp())
        return factor.view_as(state.alpha) * super().combine(e, states, c)
