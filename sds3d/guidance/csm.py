"""Classifier Score Matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, State, guided
from sds3d.guidance.ism import ISM


@dataclass(frozen=True, kw_only=True)
class CSM(ISM):
    """g = lambda_t s [e_pos(x_t) - e_null(x_t)] on a DDIM inversion of the render: ISM without its interval term.

    TV-3DG (Yang et al., "TV-3DG: Mastering Text-to-3D Customized Generation with Visual Prompt", arXiv 2410.21299).
    Engine choice: the scale, the weight and the path are those of ISM, so that CSM is TSM at gamma = 0.
    """

    summary: ClassVar[str] = "the classifier direction on an inverted render, without random noise (TV-3DG)"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [*super().calls(c, states), Call("null")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        return guided(e, self.cfg) - e[Call("null")]
