"""Flat Gaussians, discs in space (2DGS, Huang et al. 2024), through gsplat's CUDA rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.render.projection import MIN_ALPHA, NEAR
from sds3d.render.splats import SplatFrame
from sds3d.render.splats_gsplat import intrinsics, obstacle


@dataclass
class SurfelFrame(SplatFrame):
    """What B cameras saw of discs."""

    normal: Tensor  # (B, 3, H, W) unit, world axes, towards the camera; 0 where alpha is 0
    bend: Tensor  # (B, 1, H, W) alpha - n . N: sum of w (1 - n_i . N), N the normal of the depth (2DGS, eq. 14)
    distortion: Tensor  # (B, 1, H, W) sum of w_i w_j |z_i - z_j| (2DGS, eq. 13, L1 as in gsplat)


def check_surfels(device: torch.device) -> None:
    """Raises UserError where discs cannot be drawn."""
    reason = obstacle() if device.type == "cuda" else f"the scene is on {device.type}"
    if reason:
        raise UserError(f"splats.surfels needs gsplat on a CUDA device ({reason}): leave splats.surfels out")


def render_surfels(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    cameras: Cameras,
    size: int,
    background: Tensor,
) -> SurfelFrame:
    """N discs in B views of size x size pixels. Arguments as in `render_splats`; a disc's normal is its third axis, and
    its third scale is not looked at. Raises UserError without a CUDA device."""
    from gsplat import rasterization_2dgs

    check_surfels(means.device)
    cameras = cameras.to(means.device)
    colors = colors.expand(len(cameras), *colors.shape[-2:])
    scales = torch.cat([scales[:, :2], torch.ones_like(scales[:, 2:])], 1)  # else normals might not be unit
    sums, alpha, normals, of_depth, distortion, _, meta = rasterization_2dgs(
        means, quats, scales, opacities, colors, cameras.world_to_camera(), intrinsics(cameras, size), size, size,
        near_plane=NEAR, render_mode="RGB+ED", distloss=True,
    )  # fmt: skip
    sums, alpha, normals, of_depth, distortion = (
        v.view(len(cameras), size, size, -1).permute(0, 3, 1, 2) for v in (sums, alpha, normals, of_depth, distortion)
    )
    known = (of_depth != 0).any(1, keepdim=True)  # the image's border has no differences of depth
    bend = known * (alpha - (normals * of_depth).sum(1, keepdim=True))
    rgb = sums[:, :3] + (1 - alpha) * background[:, :, None, None]
    depth = torch.where(alpha > MIN_ALPHA / 2, sums[:, 3:], 0.0)
    normal = torch.nn.functional.normalize(normals, dim=1)
    radii = meta["radii"].float()
    radii = radii if radii.dim() == 3 else radii[..., None].expand(*radii.shape, 2)
    return SurfelFrame(rgb, alpha, depth, meta["gradient_2dgs"], radii, normal, bend, distortion)
