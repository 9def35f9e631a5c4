"""3D Gaussians to images: one function, several backends with the same result (gsplat's `classic` mode).

gsplat  CUDA rasteriser
numba   CPU kernels
torch   plain torch on any device; slow, the reference
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError, unknown
from sds3d.render.projection import DILATION, MIN_ALPHA, Raster

BACKENDS = {  # name -> module with `rasterize`; in order of preference
    "gsplat": "sds3d.render.splats_gsplat",
    "numba": "sds3d.render.splats_numba",
    "torch": "sds3d.render.splats_torch",
}
DEVICES = {"gsplat": "cuda", "numba": "cpu"}  # torch: any


@dataclass
class SplatFrame:
    """What B cameras saw, and what densification needs."""

    rgb: Tensor  # (B, 3, H, W) over the background
    alpha: Tensor  # (B, 1, H, W)
    depth: Tensor  # (B, 1, H, W) alpha-weighted mean along the view axis, 0 where alpha is 0
    means2d: Tensor  # (B, N, 2) pixels; `.grad` holds the screen-space gradients after a backward pass, see `absgrad`
    radii: Tensor  # (B, N, 2) half-sizes in pixels, 0 where a Gaussian is not drawn


def _obstacle(name: str, device: torch.device | None = None) -> str | None:
    """Why backend `name` cannot be used here, or for tensors on `device`; None if it can."""
    home = DEVICES.get(name)
    if device is not None and home not in (None, device.type):
        return f"it runs on {home}, the scene is on {device.type}"
    if name == "gsplat":
        from sds3d.render.splats_gsplat import obstacle

        return obstacle()
    try:
        import_module(name)
    except ImportError as error:
        return f"it does not load ({' '.join(str(error).split())[:120]})"
    return None


def available_backends() -> dict[str, str]:
    """Backend name -> "ok", or why it cannot be used here. On a CUDA machine this may build gsplat's extension."""
    return {name: _obstacle(name) or "ok" for name in BACKENDS}


def choose_backend(device: torch.device) -> str:
    """The fastest usable backend for tensors on `device`."""
    return next(name for name in BACKENDS if _obstacle(name, device) is None)


def check_backend(name: str, device: torch.device) -> None:
    """Raises UserError for a backend that is unknown or unusable for tensors on `device`."""
    if name not in BACKENDS:
        raise unknown("splat backend", name, BACKENDS)
    if reason := _obstacle(name, device):
        raise UserError(f"splat backend {name!r} cannot be used: {reason}; choose auto or torch")


def render_splats(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    cameras: Cameras,
    size: int,
    background: Tensor,
    backend: str | None = None,
    absgrad: bool = False,
    dilation: float = DILATION,
) -> SplatFrame:
    """N Gaussians in B views of size x size pixels.

    Args: means (N, 3); quaternions (N, 4) w, x, y, z of any length; scales (N, 3) standard deviations; opacities (N,)
    in [0, 1]; colors (N, 3) sRGB, or (B, N, 3) for colours that differ between the views; background (B, 3) sRGB. All
    float32 on one device. `backend` defaults to the fastest for that device. With `absgrad`, `means2d.absgrad`
    (B, N, 2) holds sums over pixels of |dL/d mean2d| after a backward pass, each component for itself (AbsGS, Ye et
    al. 2024). `dilation`, in square pixels, is what the screen covariance grows by. Raises UserError for a backend that
    is unknown or unusable here.
    """
    name = backend or choose_backend(means.device)
    check_backend(name, means.device)
    rasterize: Callable[..., Raster] = import_module(BACKENDS[name]).rasterize
    raster = rasterize(means, quats, scales, opacities, colors, cameras.to(means.device), size, absgrad, dilation)
    alpha = 1 - raster.transmittance
    rgb = raster.sums[:, :3] + raster.transmittance * background[:, :, None, None]
    depth = raster.sums[:, 3:] / alpha.clamp_min(MIN_ALPHA / 2)
    return SplatFrame(rgb, alpha, depth, raster.means2d, raster.radii)
