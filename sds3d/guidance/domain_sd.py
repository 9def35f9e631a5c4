"""Domain Score Distillation (DreamPolish)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State


@dataclass(frozen=True, kw_only=True)
class DomainSD(Distillation):
    """g = w(t) [a (e_pos - e_null) + b (e_pos - e_psi)]: pulls away from the image domain and from the renders.

    Cheng et al., "DreamPolish: Domain Score Distillation With Progressive Geometry Generation" (arXiv 2411.01602).
    b = 0 is a CSD; a = s - 1, b = 1 is VSD at scale s. Engine choice: the published factors are not established; these
    give e_pos the weight 7.5 of VSD, half of it against each domain.
    """

    a: float = 3.75  # against the unconditional image domain
    b: float = 3.75  # against the variational domain, the critic's

    critic: ClassVar[bool] = True
    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "critic"})
    summary: ClassVar[str] = "classifier direction and critic direction with weights of their own (DreamPolish)"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null"), Call("critic")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        pos = e[Call("pos")]
        return self.a * (pos - e[Call("null")]) + self.b * (pos - e[Call("critic")])
