"""Variational Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls


@dataclass(frozen=True, kw_only=True)
class VSD(Distillation):
    """g = w(t) [e^s(x_t) - e_psi(x_t | y, camera)], e_psi being a critic trained online on the renders.

    ProlificDreamer (Wang et al., arXiv 2305.16213), eq. 9, with w = sigma_t^2. The prior sees the view-dependent
    prompt, the critic (condition "critic") the plain prompt and the camera. The caller trains the critic on the same
    renders once per step.
    """

    cfg: float = 7.5

    critic: ClassVar[bool] = True
    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "critic"})
    summary: ClassVar[str] = "subtract a critic trained on the renders (ProlificDreamer); detailed, slower"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [*guided_calls(self.cfg), Call("critic")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return guided(e, self.cfg) - e[Call("critic")]
