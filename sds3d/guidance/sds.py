"""Score Distillation Sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls


@dataclass(frozen=True, kw_only=True)
class SDS(Distillation):
    """g = w(t) [e^s(x_t) - n], with e^s = e_null + s (e_pos - e_null) and w = sigma_t^2.

    DreamFusion (Poole et al., arXiv 2209.14988), eq. 3. The published scale for latent Stable Diffusion is 100, for
    the pixel model of DreamFusion 20 to 100. With weight "lambda" g = x - x0(e^s), the one-step denoising residual.
    """

    cfg: float = 100.0

    summary: ClassVar[str] = "match the injected noise (DreamFusion); strong guidance, saturated colours"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.cfg)

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        noise = states["t"].noise
        assert noise is not None
        return guided(e, self.cfg) - noise
