"""Score distillation with a learned manifold corrective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided
from sds3d.guidance.manifold import corrective
from sds3d.guidance.tensors import denoised


@dataclass(frozen=True, kw_only=True)
class LMCSDS(Distillation):
    """g = w(t) [s (e_pos - e_null) + (b(x, t) - x0(e_null)) / lambda_t], b a small network trained once per prior.

    Alldieck et al., "Score Distillation Sampling with Learned Manifold Corrective" (arXiv 2401.05293). SDS's noisy term
    e_null - n is (x - x0(e_null)) / lambda_t; b stands in for x there and mimics what the prior does to a clean image
    at level t, so that only the pull towards the manifold of images is left. No gradient goes through b. Engine choice:
    s, and w = sigma_t^2, which keeps 1 / lambda_t in bounds at both ends. See `manifold` for b.
    """

    cfg: float = 8.0

    summary: ClassVar[str] = "SDS whose noise is replaced by a small net's view of a clean image; trains once per prior"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state, null = states["t"], e[Call("null")]
        pull = (corrective(c)(c.x, state.t).to(c.x) - denoised(state, null)) * state.alpha / state.sigma
        return guided(e, self.cfg) - null + pull
