"""A learned background: colours of the sky around, too smooth to hide an object in."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.render.harmonics import basis

DEGREE = 3  # of the harmonics


class Backdrop:
    """sigmoid(sum_k c_k Y_k(d)) in the ray's unit direction d; grey at first."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.coefficients = torch.nn.Parameter(torch.zeros((DEGREE + 1) ** 2, 3, device=device))

    def __call__(self, directions: Tensor) -> Tensor:
        """(..., 3) unit directions -> (..., 3) sRGB."""
        return torch.sigmoid(basis(directions, DEGREE) @ self.coefficients)
