"""Noise-Free Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided


@dataclass(frozen=True, kw_only=True)
class NFSD(Distillation):
    """g = w(t) [s (e_pos - e_null) + delta_D], the denoiser's noise direction left out.

    delta_D = e_null below t = `threshold` T, where its noise part is small, else e_null - e_neg, which cancels it.
    Katzir et al., "Noise-Free Score Distillation" (arXiv 2310.17590), eq. 6 and 7. The branch is chosen per view; the
    negative prompt is not evaluated when no view needs it (2 calls instead of 3).
    """

    cfg: float = 7.5
    threshold: float = 0.2  # share of T

    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "neg"})
    summary: ClassVar[str] = "guidance plus the domain direction, without the noise term; moderate scale"

    def low_noise(self, state: State, c: Context) -> Tensor:
        """(B, 1, 1, 1) bool: views below the threshold."""
        return (state.t < self.threshold * c.prior.schedule.steps).to(state.alpha.device).view_as(state.alpha)

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        low = self.low_noise(states["t"], c)
        return [Call("pos"), Call("null")] + ([] if bool(low.all()) else [Call("neg")])

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        neg, mixed = e.get(Call("neg")), guided(e, self.cfg)  # s (e_pos - e_null) + e_null
        return mixed if neg is None else torch.where(self.low_noise(states["t"], c), mixed, mixed - neg)
