"""Entropic Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, State, guided, guided_calls
from sds3d.guidance.vsd import VSD

MIXED = (Call("critic"), Call("critic_marg"))


@dataclass(frozen=True, kw_only=True)
class ESD(VSD):
    """g = w(t) [e^s(x_t) - entropy e_psi(x_t | y) - (1 - entropy) e_psi(x_t | y, camera)].

    Wang et al., "Taming Mode Collapse in Score Distillation for Text-to-3D Generation" (arXiv 2401.00909): VSD with an
    entropy of the views' marginal, so that views do not all collapse to the front. The critic without the camera is
    condition "critic_marg"; what the current weight multiplies by zero is left out. 0 is VSD; published: 0.5.
    """

    entropy: float = 0.5  # the paper's lambda

    conds: ClassVar[frozenset[str]] = VSD.conds | {"critic_marg"}
    summary: ClassVar[str] = "VSD whose critic half forgets the camera, against repeated fronts"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.entropy <= 1:
            raise UserError("esd.entropy must lie between 0 and 1")

    def shares(self) -> dict[Call, float]:
        """Of the critic's two predictions; they sum to one, zeros left out."""
        return {call: v for call, v in zip(MIXED, (1 - self.entropy, self.entropy), strict=True) if v != 0}

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [*guided_calls(self.cfg), *self.shares()]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        result = guided(e, self.cfg)
        for call, share in self.shares().items():
            result = result - share * e[call]
        return result
