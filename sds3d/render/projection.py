"""EWA projection of 3D Gaussians (Zwicker et al. 2001, in the form of gsplat's `classic` mode), in plain torch.

It is the reference for the fused kernels and the differentiable projection of the torch backend. Constants
are gsplat's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sds3d.camera import Cameras

NEAR = 0.01  # Gaussians nearer than this are not drawn
DILATION = 0.3  # pixels^2 added to the diagonal of the screen covariance, by default
MIN_ALPHA = 1.0 / 255.0  # weaker contributions are skipped
MAX_ALPHA = 0.999
MIN_TRANSMITTANCE = 1e-4  # a pixel is finished before its transmittance falls to this
FRUSTUM_SLACK = 1.3  # the Jacobian is taken at most this far off axis, in half image widths


class Projection(NamedTuple):
    """B cameras x N Gaussians in pixels. `radii` is the half-size of the box outside which alpha < 1/255, in whole
    pixels; 0 where a Gaussian is not drawn."""

    means2d: Tensor  # (B, N, 2)
    conics: Tensor  # (B, N, 3) upper triangle of the inverse screen covariance
    depths: Tensor  # (B, N) along the view axis
    radii: Tensor  # (B, N, 2)


class Raster(NamedTuple):
    """What a backend returns: sums along each pixel's ray, with weights alpha_i T_i."""

    sums: Tensor  # (B, 4, H, W): premultiplied rgb, then depth
    transmittance: Tensor  # (B, 1, H, W)
    means2d: Tensor  # (B, N, 2); `.grad` is there after a backward pass
    radii: Tensor  # (B, N, 2), see Projection


def rotation_matrices(quats: Tensor) -> Tensor:
    """(..., 4) quaternions w, x, y, z of any length -> (..., 3, 3) rotations."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).view(*quats.shape[:-1], 3, 3)


def facing(normals: Tensor) -> Tensor:
    """(N, 4) wxyz: the shortest rotations that take +Z to (N, 3) unit normals."""
    x, y, z = normals.unbind(-1)
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(x)], -1)
    turned = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(quats)  # -Z: half a turn about X
    return torch.nn.functional.normalize(torch.where((z < -1 + 1e-6)[:, None], turned, quats), dim=-1)


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    cameras: Cameras,
    size: int,
    dilation: float = DILATION,
) -> Projection:
    """Means (N, 3), quaternions (N, 4), scales (N, 3) and opacities (N,) seen by B cameras at size x size pixels."""
    view = cameras.world_to_camera()
    focal = cameras.focal(size)[:, None]  # (B, 1)
    x, y, z = (means @ view[:, :3, :3].mT + view[:, None, :3, 3]).unbind(-1)  # (B, N) each
    drawn = z > NEAR
    z = torch.where(drawn, z, torch.ones_like(z))  # keeps gradients of undrawn Gaussians finite
    u, v = x / z, y / z
    means2d = torch.stack([u, v], -1) * focal[..., None] + size / 2

    axes = view[:, None, :3, :3] @ (rotation_matrices(quats) * scales[:, None])  # (B, N, 3, 3), columns in camera space
    limit = FRUSTUM_SLACK * size / 2 / focal
    u, v = torch.clamp(u, -limit, limit)[..., None], torch.clamp(v, -limit, limit)[..., None]
    slope = (focal / z)[..., None]
    right = slope * (axes[..., 0, :] - u * axes[..., 2, :])  # (B, N, 3): rows of J W R S
    down = slope * (axes[..., 1, :] - v * axes[..., 2, :])
    xx = (right * right).sum(-1) + dilation
    xy = (right * down).sum(-1)
    yy = (down * down).sum(-1) + dilation
    conics = torch.stack([yy, -xy, xx], -1) / (xx * yy - xy * xy)[..., None]

    with torch.no_grad():
        reach = torch.sqrt(2 * torch.log((opacities / MIN_ALPHA).clamp_min(1.0)))  # (N,): where alpha meets 1/255
        radii = torch.ceil(reach[:, None] * torch.stack([xx, yy], -1).sqrt())
        inside = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
        drawn = drawn & inside & (opacities >= MIN_ALPHA) & ((xx * yy - xy * xy) > 0)
        radii = torch.where(drawn[..., None], radii, torch.zeros_like(radii))
    return Projection(means2d, conics, z, radii)
