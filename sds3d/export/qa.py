"""Does the mesh look like the scene, and does the file hold the mesh?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sds3d.errors import UserError
from sds3d.export.mesh import TexturedMesh
from sds3d.export.texture import textured_soup
from sds3d.export.views import Views
from sds3d.export.volume import silhouettes
from sds3d.render.mesh import render_soup


@dataclass(frozen=True)
class Likeness:
    """How near a mesh comes to the scene over some views."""

    iou: float  # of all the views' silhouettes together
    psnr: float  # dB, of straight colours where both cover the pixel


def likeness(mesh: TexturedMesh, views: Views) -> Likeness:
    """Draw the mesh unlit from the views' cameras and compare."""
    unlit = dict(ambient=1.0, diffuse=0.0, headlight=0.0)
    drawn, _ = render_soup(textured_soup(mesh), views.cameras, views.size, supersample=2, **unlit)  # type: ignore[arg-type]
    covered, expected = drawn[..., 3] > 127, silhouettes(views).numpy()
    both = covered & expected
    error = drawn[both][:, :3] / 255.0 - views.rgb.permute(0, 2, 3, 1).numpy()[both]
    mse = float((error**2).mean()) if both.any() else 1.0
    return Likeness(float(both.sum() / max((covered | expected).sum(), 1)), float(-10 * np.log10(max(mse, 1e-10))))


@dataclass(frozen=True)
class Quality:
    """The QA record of an exported asset; `line` is what a person reads."""

    vertices: int
    faces: int
    components: int
    watertight: bool
    manifold: bool
    uv_use: float  # share of the texture that carries the surface
    atlas: str  # xatlas | grid
    texture: int  # texels a side
    baked_from: str  # field | views
    seam_gap: float  # mean difference of colours across the texture's seams, in [0, 1]
    level: float  # density at the surface
    silhouette_iou: float  # over held-out views
    texture_psnr: float  # dB, over held-out views

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def line(self) -> str:
        closed = "watertight" if self.watertight else "not watertight"
        plain = "" if self.atlas == "xatlas" else ", plain grid of triangles"
        return (
            f"{self.faces} faces, {self.components} part{'s' * (self.components != 1)}, {closed}, "
            f"{self.texture} px texture ({self.uv_use:.0%} used{plain}), "
            f"silhouette IoU {self.silhouette_iou:.3f}, texture PSNR {self.texture_psnr:.1f} dB"
        )


def reread_glb(path: Path, mesh: TexturedMesh) -> None:
    """Open the written file with trimesh and compare counts and texture; a UserError if the disk did not keep it."""
    import trimesh

    loaded: Any = trimesh.load(path, force="mesh", process=False)
    texture = loaded.visual.material.baseColorTexture
    kept = (len(loaded.faces), len(loaded.vertices), texture is not None and texture.size)
    side = len(mesh.texture)
    if kept != (len(mesh.faces), len(mesh.vertices), (side, side)):
        raise UserError(f"{path} did not read back as it was written: check the disk and export again")
