"""Rectified-flow distillation, on any prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.guidance.base import Context, State
from sds3d.guidance.sds import SDS
from sds3d.transfer import put_like


@dataclass(frozen=True, kw_only=True)
class RFDS(SDS):
    """g = w [v^s(x_s) - (n - x)]: the velocity that a flow-matching prior predicts against the straight one.

    Yang et al., "Text-to-Image Rectified Flow as Plug-and-Play Priors" (arXiv 2406.03293). For x_s = (1 - s) x +
    s n and any alpha : sigma = (1 - s) : s, v - (n - x) = (e - n) / (1 - s), weight "flow" times SDS's combination: so
    it is defined on every prior. w is the paper's sigmoid of a standard normal, one per view. Published: scale 100, t
    in [0.3, 0.98] of the table of levels. 2 calls.
    """

    weight: str = "flow"
    random_weight: bool = True

    summary: ClassVar[str] = "SDS in velocities, for flow-matching priors and any other through eps"

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor:
        if not self.random_weight:
            return g
        return g * put_like(torch.randn(len(g), generator=c.generator), g).sigmoid().view(-1, 1, 1, 1)
