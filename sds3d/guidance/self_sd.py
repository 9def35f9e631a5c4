"""Self Score Distillation (HeadArtist)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls


@dataclass(frozen=True, kw_only=True)
class SelfSD(Distillation):
    """g = w(t) [e^s(x_t | y, view) - e(x_t | y)]: the frozen prior with the plain prompt is its own critic.

    Liu et al., "HeadArtist: Text-conditioned 3D Head Generation with Self Score Distillation" (arXiv 2312.07539), with
    w = sigma_t^2. Where prompt and plain prompt agree it is (s - 1) CSD. Published: scale 100 for geometry, 7.5 for
    texture. Engine choice: no landmark ControlNet on either side, as a prior of this engine is told the view in words
    or by its camera.
    """

    cfg: float = 7.5

    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "plain"})
    summary: ClassVar[str] = "the prior with the view-free prompt is its own critic (HeadArtist); no training"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [*guided_calls(self.cfg), Call("plain")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return guided(e, self.cfg) - e[Call("plain")]
