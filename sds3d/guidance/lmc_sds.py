"""Score distillation with a learned manifold corrective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls
from sds3d.guidance.manifold import corrective


@dataclass(frozen=True, kw_only=True)
class LMCSDS(Distillation):
    """g = w(t) [s (e_pos - e_null) + (b(x, t) - x0(e_null)) / lambda_t], b a small network trained once per prior.

    Alldieck et al., "Score Distillation Sampling with Learned Manifold Corrective" (arXiv 2401.05293). SDS's noisy term
    e_null - n is (x - x0(e_null)) / lambda_t; b stands in for x there and mimics what the prior does to a clean image
    at level t, so that only the pull towards the manifold of images is left: g / w = e^s - (x_t - alpha_t b) / sigma_t,
    SDS with the noise that would lead from b to x_t. No gradient goes through b. Engine choice: s, and w = sigma_t^2,
    which keeps 1 / lambda_t in bounds at both ends. See `manifold` for b.
    """

    cfg: float = 8.0

    summary: ClassVar[str] = "SDS whose noise is replaced by a small net's view of a clean image; trains once per prior"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.cfg)

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state, clean = states["t"], corrective(c)
        return guided(e, self.cfg) - (state.z - state.alpha * clean(c.x, state.t).to(c.x)) / state.sigma
