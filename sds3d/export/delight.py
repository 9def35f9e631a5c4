"""Shading taken out of a baked texture: what depends smoothly on the normal counts as light, the rest as colour.

Diffuse light from afar is, to 1 %, a quadratic of the normal (Ramamoorthi & Hanrahan 2001, eq. 13). Its logarithm is
fitted to that of the texels' luminance by iteratively reweighted least squares, so that few bright or dark parts do not
count as light.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
SOFTNESS = 0.15  # least residual in log luminance beyond which a texel counts less and less: twice the median one
RIDGE = 1e-3
STRONGEST = 2.5  # light is taken to vary by no more than this factor to either side
LUMINANCE = (0.2126, 0.7152, 0.0722)
DARKEST = 1e-3  # luminance below which nothing can be told


def delighted(colors: Tensor, normals: Tensor) -> Tensor:
    """(N, 3) sRGB colours of texels with (N, 3) unit normals, without the shading; their mean luminance stays."""
    linear = to_linear(colors)
    luminance = linear @ linear.new_tensor(LUMINANCE)
    light = shading(luminance, normals)
    flat = linear / light[:, None]
    gain = luminance.mean() / (flat @ linear.new_tensor(LUMINANCE)).mean().clamp_min(1e-9)
    return to_srgb(flat * gain)


def shading(luminance: Tensor, normals: Tensor) -> Tensor:
    """(N,) the light at each normal, of geometric mean 1, that explains (N,) linear luminances best."""
    basis = harmonics(normals)
    target = luminance.clamp_min(DARKEST).log().double()
    columns = torch.cat([torch.ones_like(basis[:, :1]), basis], 1).double()
    weight = torch.ones_like(target)
    ridge = RIDGE * len(target) * torch.eye(columns.shape[1], dtype=torch.double)
    for _ in range(ROUNDS):
        weighed = columns * weight[:, None]
        solution = torch.linalg.solve(columns.T @ weighed + ridge, weighed.T @ target)
        residual = (target - columns @ solution).abs()
        weight = 1 / (1 + (residual / (2 * residual.median()).clamp_min(SOFTNESS)).square())  # Cauchy
    tilt = columns[:, 1:] @ solution[1:]
    return (tilt - tilt.mean()).exp().clamp(1 / STRONGEST, STRONGEST).float()


def harmonics(normals: Tensor) -> Tensor:
    """(N, 8) bands one and two of the real spherical harmonics, each up to its constant."""
    x, y, z = normals.unbind(-1)
    return torch.stack([x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], -1)


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1), any shape."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055).clamp_min(0) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Linear light to sRGB in [0, 1] (IEC 61966-2-1), any shape; clamped."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)
