"""A point light on a matt surface (DreamFusion, Poole et al. 2022, section 3.2), drawn anew for every view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.scenes.grid_config import ShadingConfig


@dataclass(frozen=True)
class Light:
    """How B views are lit."""

    on: Tensor  # (B,) bool: is it lit at all
    white: Tensor  # (B,) bool: is the surface white
    position: Tensor  # (B, 3) in the world


def draw_light(config: ShadingConfig, progress: float, cameras: Cameras, generator: torch.Generator) -> Light:
    """Lights of a step at `progress` in [0, 1]: around the camera, so that what is seen is lit (threestudio's draw)."""
    share = config.share[0] + (config.share[1] - config.share[0]) * progress if progress >= config.after else 0.0
    chance = torch.rand(2, len(cameras), generator=generator)
    place = cameras.positions.cpu() + config.perturb * torch.randn(len(cameras), 3, generator=generator)
    low, high = config.distance
    reach = low + (high - low) * torch.rand(len(cameras), generator=generator)
    position = torch.nn.functional.normalize(place, dim=-1) * (reach * cameras.distance.cpu())[:, None]
    device = cameras.fov.device
    return Light(
        (chance[0] < share).to(device), (chance[1] < config.textureless).to(device), position.to(device, torch.float32)
    )


def lambert(normals: Tensor, points: Tensor, position: Tensor, config: ShadingConfig) -> Tensor:
    """(P, 1) ambient + diffuse max(0, n . l), l the unit direction from points (P, 3) to the light (P, 3)."""
    towards = torch.nn.functional.normalize(position - points, dim=-1)
    return config.ambient + config.diffuse * (normals * towards).sum(-1, keepdim=True).clamp(min=0)
