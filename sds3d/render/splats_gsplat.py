"""Gaussians through gsplat's CUDA rasteriser."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.render.projection import DILATION, NEAR, Raster


@cache
def obstacle() -> str | None:
    """Why gsplat cannot render here; None if it can. The first call on a CUDA machine may build gsplat's extension."""
    if importlib.util.find_spec("gsplat") is None:
        return "not installed"
    if not torch.cuda.is_available():
        return "needs a CUDA device"
    try:
        from gsplat.cuda._backend import _C
    except Exception as error:  # compilers fail in many ways
        return f"its CUDA extension does not build: {str(error).strip().splitlines()[0] if str(error) else error!r}"
    return None if _C is not None else "needs a CUDA toolkit (nvcc) to build its extension"


def intrinsics(cameras: Cameras, size: int) -> Tensor:
    """(B, 3, 3) camera matrices in pixels."""
    matrices = torch.eye(3, device=cameras.fov.device).repeat(len(cameras), 1, 1)
    matrices[:, 0, 0] = matrices[:, 1, 1] = cameras.focal(size)
    matrices[:, :2, 2] = size / 2
    return matrices


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    cameras: Cameras,
    size: int,
    absgrad: bool = False,
    dilation: float = DILATION,
) -> Raster:
    """Raster of N Gaussians in B views on a CUDA device."""
    from gsplat import rasterization

    sums, alpha, meta = rasterization(
        means, quats, scales, opacities, colors, cameras.world_to_camera(), intrinsics(cameras, size), size, size,
        near_plane=NEAR, eps2d=dilation, packed=False, render_mode="RGB+D", rasterize_mode="classic", absgrad=absgrad,
    )  # fmt: skip
    means2d: Tensor = meta["means2d"]
    if means2d.requires_grad:
        means2d.retain_grad()
    return Raster(sums.permute(0, 3, 1, 2), 1 - alpha.permute(0, 3, 1, 2), means2d, meta["radii"].float())
