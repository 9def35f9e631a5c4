"""Consistent Flow Distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Context
from sds3d.guidance.noise_field import FieldNoise
from sds3d.guidance.sds import SDS


@dataclass(frozen=True, kw_only=True)
class CFD(FieldNoise, SDS):
    """g = lambda_t [e^s(x_t) - n(view)], n being a noise field on the object: the clean flow of every view agrees.

    Yan et al., "Consistent Flow Distillation for Text-to-3D Generation" (arXiv 2501.05445). Under a descending t the
    clean image follows the probability-flow ODE; `gamma` renews the field by so much a step (the SDE variant), and only
    the share `beta` of the noise's variance comes from the field: gamma 1 or beta 0 is SDS. Published for Stable
    Diffusion: scale 71, gamma 1e-4, time.policy piecewise (its default levels). 2 calls. Engine choice: the field is
    made of hashed voxels instead of a rasterised texture.
    """

    weight: str = "lambda"
    cfg: float = 71.0
    gamma: float = 1e-4
    beta: float = 1.0

    summary: ClassVar[str] = "SDS on a noise field that sticks to the object: views follow one consistent flow"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.gamma <= 1 and 0 <= self.beta <= 1):
            raise UserError("cfd.gamma and cfd.beta are shares between 0 and 1")

    def noise(self, c: Context, t: Tensor) -> Tensor:
        field = self.field(c, self.gamma) if self.beta > 0 else 0.0
        fresh = super().noise(c, t) if self.beta < 1 else 0.0
        return self.beta**0.5 * field + (1 - self.beta) ** 0.5 * fresh
