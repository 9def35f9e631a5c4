"""Denoised Score Distillation, as PaintHuman has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls
from sds3d.guidance.noise import shared


@dataclass(frozen=True, kw_only=True)
class DenoisedSD(Distillation):
    """g = w(t) [e^s(x_t | prompt) - lambda e^{s_n}(x'_t | negative prompt)], one noise for both, w = sigma_t^2.

    Yu et al., "PaintHuman: Towards High-fidelity Text-to-3D Human Texturing via Denoised Score Distillation" (arXiv
    2310.09458). Not established: scales, lambda and the negative image x'. Engine choice: the given asset (--source),
    or the render itself where there is none; s = 7.5, s_n = lambda = 1. 3 calls, 4 with another s_n.
    """

    cfg: float = 7.5
    negative_cfg: float = 1.0  # s_n
    strength: float = 1.0  # lambda

    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "neg"})
    summary: ClassVar[str] = "subtract the prediction for a negative prompt on the given texture (PaintHuman)"

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        return super().states(c, t) if c.x_src is None else shared(c, t, self.noise(c, t))

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.cfg) + guided_calls(self.negative_cfg, pos="neg", at=_negative(states))

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return guided(e, self.cfg) - self.strength * guided(e, self.negative_cfg, pos="neg", at=_negative(states))


def _negative(states: Mapping[str, State]) -> str:
    """Which state holds the negative image."""
    return "src" if "src" in states else "t"
