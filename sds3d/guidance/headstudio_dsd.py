"""Denoising Score Distillation, as HeadStudio has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, State, replaced
from sds3d.guidance.nfsd import NFSD


@dataclass(frozen=True, kw_only=True)
class HeadStudioDSD(NFSD):
    """g = w(t) e^s(x_t) below t = `threshold` T, w(t) [e^s(x_t) - e^{s_n}(x_t | negative prompt)] from there on.

    Zhou et al., "HeadStudio: Text to Animatable Head Avatars with 3D Gaussian Splatting" (arXiv 2402.06149): s = 7.5,
    s_n = 1, w = sigma_t^2. As e^{s_n} = e_null + s_n (e_neg - e_null), it is NFSD with a scale, equal to it at s_n = 1.
    3 calls, 2 where no view needs the negative prompt.
    """

    negative_cfg: float = 1.0  # s_n

    summary: ClassVar[str] = "subtract the negative prompt's prediction above t = 0.2 (HeadStudio); NFSD with a scale"

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        neg, null = e.get(Call("neg")), e[Call("null")]
        if neg is not None:
            e = replaced(e, {Call("neg"): null + self.negative_cfg * (neg - null)})
        return super().combine(e, states, c)
