"""Rectified-flow distillation with refined noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Context
from sds3d.guidance.noise import refined
from sds3d.guidance.rfds import RFDS


@dataclass(frozen=True, kw_only=True)
class RFDSRev(RFDS):
    """RFDS with the noise that the prior itself finds in the render: n <- n + (1 - s)(v_pos + x - n) = e_pos(x_s).

    Yang et al. (arXiv 2406.03293); the flow-matching counterpart of SDI. Published: one round, so 3 calls.
    """

    rounds: int = 1

    summary: ClassVar[str] = "RFDS on noise refined by the prior: steadier targets for one more prediction"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 0:
            raise UserError("rfds_rev.rounds must not be negative")

    def noise(self, c: Context, t: Tensor) -> Tensor:
        return refined(c, t, super().noise(c, t), self.rounds, "pos")
