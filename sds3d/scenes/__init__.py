"""What can be optimised, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sds3d.scenes.base import Field, Frame, ParamGroup, Scene
from sds3d.scenes.grid import GridConfig, GridScene
from sds3d.scenes.mesh import MeshConfig, MeshScene
from sds3d.scenes.splats import SplatScene, SplatsConfig
from sds3d.scenes.texture import create_texture
from sds3d.scenes.texture_config import TextureConfig


@dataclass(frozen=True)
class Kind:
    """A sort of scene: its options, and what makes one of them."""

    config: type
    create: Callable[[Any, torch.device, torch.Generator], Scene]
    summary: str
    follows: bool = False  # has start_from(corners, painter), so that it can take over from another scene


SCENES: dict[str, Kind] = {
    "splats": Kind(SplatsConfig, SplatScene.create, "3D Gaussians; fast, exports the Gaussians themselves", True),
    "grid": Kind(GridConfig, GridScene.create, "radiance field on a multi-resolution grid; smooth, slower"),
    "mesh": Kind(
        MeshConfig, MeshScene.create, "triangles cut from a signed distance; clean outlines, for a last stage", True
    ),
    "texture": Kind(TextureConfig, create_texture, "an asset of yours, see sds3d texture and sds3d refine"),
}

__all__ = ["SCENES", "Field", "Frame", "Kind", "ParamGroup", "Scene"]
