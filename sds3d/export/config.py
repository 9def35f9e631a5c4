"""Settings of an export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sds3d.errors import UserError

LOOKED_FOR = ("surface", "resolution")  # say how a surface is looked for in a field
MADE = ("faces", "bake")  # and these how it is made, where it is no asset that keeps its triangles and colours


@dataclass(frozen=True)
class ExportConfig:
    """How a scene becomes files. UserError for values out of range."""

    resolution: int = 112  # cells across the scene's cube
    faces: int = 10_000  # at most; fewer for small surfaces
    texture: int = 512  # texels a side; twice that, at most 2048, where xatlas runs out of time
    unwrap_seconds: float = 15.0  # xatlas's time, on Linux of a processor; 0 goes straight to the plain atlas
    surface: Literal["density", "fusion"] = "density"  # of the scene's field, or of depths rendered all around it
    bake: Literal["auto", "field", "views"] = "auto"  # where the texture's colours come from
    antialias: int = 2  # samples a side of a texel
    normal_map: bool = True  # what decimation took from the surface, as a texture
    delight: bool = False  # take smooth shading out of the texture
    roughness: float | None = None  # of the whole asset; none: by the prompt's words, as docs/meshes.md lists them
    metallic: float | None = None
    splats: int = 30_000  # Gaussians laid over the mesh of a scene that has none of its own

    def __post_init__(self) -> None:
        for name, low, high in (
            ("resolution", 16, 512),
            ("faces", 100, 1_000_000),
            ("texture", 32, 8192),
            ("unwrap_seconds", 0, 86_400),
            ("splats", 100, 5_000_000),
            ("antialias", 1, 8),
            ("roughness", 0, 1),
            ("metallic", 0, 1),
        ):
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high:
                raise UserError(f"export.{name} must lie between {low} and {high}, not {getattr(self, name)}")


def refuse_unused(config: ExportConfig, keys: Collection[str], given: bool) -> None:
    """UserError where one of the user's `keys` ("export.X") changes a setting that has no effect on a scene which is a
    mesh, or where `given` an asset of the user's."""
    for name in (*LOOKED_FOR, *MADE) if given else LOOKED_FOR:
        if f"export.{name}" in keys and getattr(config, name) != getattr(ExportConfig, name):
            kind = "an asset keeps its triangles and colours" if given else "a mesh scene has its own triangles"
            raise UserError(f"export.{name} has no effect here: {kind}; leave it out")
