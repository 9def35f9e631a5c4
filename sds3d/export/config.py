"""Settings of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sds3d.errors import UserError


@dataclass(frozen=True)
class ExportConfig:
    resolution: int = 112  # cells across the scene's cube
    faces: int = 10_000  # at most; fewer for small surfaces
    texture: int = 512  # texels a side; twice that where xatlas runs out of time
    unwrap_seconds: float = 15.0  # xatlas's time; 0 goes straight to the plain atlas
    bake: Literal["auto", "field", "views"] = "auto"  # where the texture's colours come from
    splats: int = 30_000  # Gaussians laid over the mesh of a scene that has none of its own

    def __post_init__(self) -> None:
        for name, low, high in (
            ("resolution", 16, 512),
            ("faces", 100, 1_000_000),
            ("texture", 32, 8192),
            ("unwrap_seconds", 0, 86_400),
            ("splats", 100, 5_000_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"export.{name} must lie between {low} and {high}, not {getattr(self, name)}")
