"""How training pictures are roughened, so that the probe judges diffusion samples and splats as fairly as renders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.embedded.data import backgrounds, premultiplied

ZOOM = (0.88, 1.12)
SHIFT = 0.08  # of half the frame
GAIN = 0.12  # brightness, up or down; hue is never touched: colours are judged
NOISE = 0.07


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def sometimes(n: int, most: float, generator: torch.Generator) -> Tensor:
    """(n, 1, 1, 1): zero half of the time, else uniform up to `most`."""
    on = torch.rand(n, generator=generator) < 0.5
    return (on * uniform(n, 0, most, generator)).view(-1, 1, 1, 1)


def over(picture: Tensor, grey: Tensor) -> Tensor:
    """(B, 4, H, W) premultiplied over grey (B,) -> (B, 3, H, W)."""
    return picture[:, :3] + (1 - picture[:, 3:]) * grey.view(-1, 1, 1, 1)


def moved(picture: Tensor, mirror: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored where asked, zoomed and shifted a little."""
    n = len(picture)
    zoom = uniform(n, *ZOOM, generator)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = torch.where(mirror, -zoom, zoom), zoom
    theta[:, 0, 2], theta[:, 1, 2] = (uniform(n, -SHIFT, SHIFT, generator) for _ in range(2))
    grid = F.affine_grid(theta, list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid, align_corners=False)


def roughened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 3, H, W) with other brightness, half-size blur and noise."""
    n = len(pictures)
    soft = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    x = torch.lerp(pictures, soft, sometimes(n, 1.0, generator))
    x = x * uniform(n, 1 - GAIN, 1 + GAIN, generator).view(-1, 1, 1, 1)
    noise = torch.randn(x.shape, generator=generator) * sometimes(n, NOISE, generator)
    return (x + noise).clamp(0, 1)


def augment(rgba: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, 64, 64, 4) uint8 -> (B, 3, 64, 64) in [0, 1] over grey, and (B,) which are mirrored."""
    n = len(rgba)
    mirror = torch.rand(n, generator=generator) < 0.5
    picture = moved(premultiplied(rgba), mirror, generator)
    return roughened(over(picture, backgrounds(n, generator)), generator), mirror
