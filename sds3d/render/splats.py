"""3D Gaussians to images: one function, several backends with the same result (gsplat's `classic` mode).

gsplat  CUDA rasteriser
numba   CPU kernels
torch   plain torch on any device; slow, the reference
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError, unknown
from sds3d.render.projection import MIN_ALPHA, Raster

BACKENDS = {  # name -> module with `rasterize`; in order of preference
    "gsplat": "sds3d.render.splats_gsplat",
    "numba": "sds3d.render.splats_numba",
    "torch": "sds3d.render.splats_torch",
}
DEVICES = {"gsplat": ("cuda",), "numba": ("cpu",)}  # torch: any


@dataclass
class SplatFrame:
    """What B cameras saw, and what densification needs."""

    rgb: Tensor  # (B, 3, H, W) over the background
    alpha: Tensor  # (B, 1, H, W)
    depth: Tensor  # (B, 1, H, W) alpha-weighted mean along the view axis, 0 where alpha is 0
    means2d: Tensor  # (B, N, 2) pixels; `.grad` holds the screen-space gradients after a backward pass
    radii: Tensor  # (B, N, 2) half-sizes in pixels, 0 where a Gaussian is not drawn


def available_backends() -> dict[str, str]:
    """Backend name -> "ok", or why it cannot be used here."""
    gsplat = "ok" if torch.cuda.is_available() else "needs a CUDA device"
    found = {"gsplat": gsplat, "numba": "ok", "torch": "ok"}
    missing = {name: "not installed" for name in found if importlib.util.find_spec(name) is None}
    return found | missing


def choose_backend(device: torch.device) -> str:
    """The first usable backend for tensors on `device`."""
    usable = available_backends()
    for name in BACKENDS:
        if usable[name] == "ok" and device.type in DEVICES.get(name, (device.type,)):
            return name
    raise UserError(f"no Gaussian renderer for device {device}: install numba or use --device cpu")


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
) -> SplatFrame:
    """N Gaussians in B views of size x size pixels.

    Args: means (N, 3); quaternions (N, 4) w, x, y, z of any length; scales (N, 3) standard deviations; opacities (N,)
    in [0, 1]; colors (N, 3) sRGB; background (B, 3) sRGB. All float32 on one device. `backend` defaults to the fastest
    for that device. Raises UserError for a backend that is unknown or unusable here.
    """
    name = backend or choose_backend(means.device)
    if name not in BACKENDS:
        raise unknown("splat backend", name, BACKENDS)
    if (reason := available_backends()[name]) != "ok":
        raise UserError(f"splat backend {name!r} cannot be used: {reason}")
    if means.device.type not in DEVICES.get(name, (means.device.type,)):
        raise UserError(f"splat backend {name!r} does not run on {means.device}: leave the backend unset")
    rasterize: Callable[..., Raster] = import_module(BACKENDS[name]).rasterize
    raster = rasterize(means, quats, scales, opacities, colors, cameras.to(means.device), size)
    alpha = 1 - raster.transmittance
    rgb = raster.sums[:, :3] + raster.transmittance * background[:, :, None, None]
    depth = raster.sums[:, 3:] / alpha.clamp_min(MIN_ALPHA / 2)
    return SplatFrame(rgb, alpha, depth, raster.means2d, raster.radii)
