"""What a scene shows from a few cameras, as arrays: the yardstick the mesh and its texture are held against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.scenes.base import Scene

COVERED = 0.5  # alpha above which a pixel belongs to the silhouette


@dataclass(frozen=True)
class Views:
    """B square pictures on the CPU. `rgb` is straight: the colour of what covers a pixel, without the background."""

    cameras: Cameras
    rgb: Tensor  # (B, 3, H, H) sRGB
    alpha: Tensor  # (B, H, H)
    depth: Tensor  # (B, H, H) along the view axis

    @property
    def size(self) -> int:
        return self.alpha.shape[-1]


@torch.no_grad()
def look(scene: Scene, cameras: Cameras, size: int, batch: int = 4) -> Views:
    """Render `cameras` at size x size, `batch` at a time."""
    frames = []
    for i in range(0, len(cameras), batch):
        some = cameras[i : i + batch].to(scene.device)
        frame = scene.render(some, size, torch.zeros(len(some), 3, device=scene.device))
        frames.append((frame.rgb.cpu(), frame.alpha[:, 0].cpu(), frame.depth[:, 0].cpu()))
    rgb, alpha, depth = (torch.nan_to_num(torch.cat(part).float()) for part in zip(*frames, strict=True))
    straight = (rgb / alpha.clamp_min(1e-6)[:, None]).clamp(0, 1)
    return Views(cameras, straight, alpha, depth)
