"""Real spherical harmonics up to degree 3, in the order and with the signs of 3D Gaussian Splatting's files."""

from __future__ import annotations

import torch
from torch import Tensor


def basis(directions: Tensor, degree: int) -> Tensor:
    """(..., 3) unit directions -> (..., (degree + 1)^2) values; degree 0 to 3 (Sloan 2013, as in gsplat)."""
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, 0.28209479177387814)]
    if degree > 0:
        values += [-0.48860251190292 * y, 0.48860251190292 * z, -0.48860251190292 * x]
    if degree > 1:
        values += [
            1.092548430592079 * x * y,
            -1.092548430592079 * y * z,
            0.9461746957575601 * z * z - 0.3153915652525201,
            -1.092548430592079 * x * z,
            0.5462742152960395 * (x * x - y * y),
        ]
    if degree > 2:
        values += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            y * (0.4570457994644658 - 2.285228997322329 * z * z),
            z * (1.865881662950577 * z * z - 1.119528997770346),
            x * (0.4570457994644658 - 2.285228997322329 * z * z),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(values, -1)


def rest(degree: int) -> int:
    """How many coefficients a colour channel has beyond the constant one."""
    return (degree + 1) ** 2 - 1
