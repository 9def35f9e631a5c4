"""An objective around another one, given or named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.guidance.base import Call, Context, Objective, State


class Wrapper:
    """Everything as `inner` does it; a subclass changes what it wants to.

    The step's options (weight, clamps, Perp-Neg...) are those of `inner`: a wrapper has none of its own.
    """

    inner: Objective
    summary: ClassVar[str] = ""

    @property
    def critic(self) -> bool:
        return self.inner.critic

    @property
    def source(self) -> bool:
        return self.inner.source

    @property
    def weight(self) -> str:
        return self.inner.weight

    @property
    def clamp(self) -> float:
        return self.inner.clamp

    @property
    def clip(self) -> float:
        return self.inner.clip

    @property
    def rescale(self) -> float:
        return self.inner.rescale

    @property
    def cfg_interval(self) -> tuple[float, float]:
        return self.inner.cfg_interval

    @property
    def perp_neg(self) -> float:
        return self.inner.perp_neg

    @property
    def image_weight(self) -> float:
        return self.inner.image_weight

    def needs(self) -> frozenset[str]:
        return self.inner.needs()

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        return self.inner.states(c, t)

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return self.inner.calls(c, states)

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return self.inner.combine(e, states, c)

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor:
        return self.inner.post(g, states, c)

    def geometry_loss(self, g: Tensor, c: Context) -> Tensor | None:
        return self.inner.geometry_loss(g, c)


@dataclass(frozen=True, kw_only=True)
class NamedWrapper(Wrapper):
    """A wrapper whose inner objective is chosen by its name in GUIDANCE.

    Args:
        base: the name.
        over: that objective with the user's options; None takes its defaults.
    """

    base: str = "sds"
    over: InitVar[Objective | None] = None

    def __post_init__(self, over: Objective | None) -> None:
        from sds3d.guidance import GUIDANCE  # which holds this class

        if self.base not in GUIDANCE:
            raise unknown("guidance", self.base, GUIDANCE)
        if issubclass(GUIDANCE[self.base], NamedWrapper):
            raise UserError(f"the base of a guidance must be a plain one, not {self.base!r}: choose sds, vsd, csd...")
        object.__setattr__(self, "inner", GUIDANCE[self.base]() if over is None else over)
