"""Between pixels and points of the surface that a view shows, differentiable in the depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.guidance.base import View


def covered_depth(view: View, size: int) -> Tensor:
    """Coverage x depth, and coverage, (B, 2, n, n): n is the view's resolution, or `size` where that is less.

    Attached to the view's depth alone.
    """
    alpha = view.alpha.detach()
    pair = torch.cat([alpha * view.depth, alpha], 1)
    return F.interpolate(pair, size=(size, size), mode="bilinear", antialias=True) if pair.shape[-1] > size else pair


def surface_depth(view: View, size: int) -> tuple[Tensor, Tensor]:
    """Mean depth of what is covered, and the coverage, (B, size, size) each at pixel centres of that size.

    Attached to the view's depth alone.
    """
    seen = F.interpolate(covered_depth(view, size), size=(size, size), mode="bilinear")
    return seen[:, 0] / seen[:, 1].clamp_min(1e-6), seen[:, 1]


def unproject(cameras: Cameras, depth: Tensor) -> Tensor:
    """World points (B, n, n, 3) at `depth` (B, n, n) along the view axis behind the pixel centres."""
    n = depth.shape[-1]
    axis = (torch.arange(n, device=depth.device, dtype=depth.dtype) + 0.5) / n * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    focal = cameras.focal(2).to(depth).view(-1, 1, 1)  # of an image that is 2 wide
    local = torch.stack([x / focal, y / focal, torch.ones_like(x).expand(len(focal), n, n)], -1) * depth[..., None]
    rotation = cameras.world_to_camera()[:, :3, :3].to(depth)  # rows are camera axes
    return torch.einsum("bhwi,bij->bhwj", local, rotation) + cameras.positions.to(depth)[:, None, None]


def project(cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (B, P, 2) in [-1, 1], x right and y down, and depth (B, P) of world points (B, P, 3)."""
    matrix = cameras.world_to_camera().to(points)
    local = torch.einsum("bij,bpj->bpi", matrix[:, :3, :3], points) + matrix[:, None, :3, 3]
    depth = local[..., 2]
    scale = cameras.focal(2).to(points)[:, None, None]
    return local[..., :2] / depth[..., None].clamp_min(1e-6) * scale, depth
