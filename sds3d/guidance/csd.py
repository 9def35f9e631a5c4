"""Classifier Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State


@dataclass(frozen=True, kw_only=True)
class CSD(Distillation):
    """g = w(t) [(e_pos - e_null) - omega (e_neg - e_null)]: the score of the implicit classifier p(y | x_t).

    Yu et al., "Text-to-3D with Classifier Score Distillation" (arXiv 2310.19415), eq. 7 and 9. omega is linear in the
    progress from `negative_start` to `negative_end`, reached at `anneal` of the run. Defaults are those of the coarse
    stage (0 -> 1 over the first half, w = 1); its refinement of textures uses 1 -> 0.5 over the run and w = sigma_t^2.
    Every prediction that the current omega multiplies by zero is left out: 3 calls, or 2 at omega 0 and 1.
    """

    weight: str = "uniform"
    negative_start: float = 0.0
    negative_end: float = 1.0
    anneal: float = 0.5  # share of the run

    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "neg"})
    summary: ClassVar[str] = "the classifier direction alone, with an annealed negative prompt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.anneal <= 1:
            raise UserError("guidance anneal is a share of the run: choose a number above 0 and up to 1")

    def coefficients(self, progress: float) -> dict[str, float]:
        """Non-zero factors of the predictions; they sum to zero."""
        p = min(progress / self.anneal, 1.0)
        omega = (1 - p) * self.negative_start + p * self.negative_end
        return {k: v for k, v in {"pos": 1.0, "null": omega - 1.0, "neg": -omega}.items() if v != 0}

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call(name) for name in self.coefficients(c.progress)]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        base = e[Call("pos")]
        factors = self.coefficients(c.progress)
        return sum((f * (e[Call(k)] - base) for k, f in factors.items() if k != "pos"), base.new_zeros(()))
