"""From a scene to an asset: surface, atlas, texture, and how good they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor

from sds3d.camera import ring
from sds3d.export.bake import refined, supersampled
from sds3d.export.config import ExportConfig
from sds3d.export.delight import delighted
from sds3d.export.fusion import SIZE as FUSED_SIZE
from sds3d.export.fusion import all_around
from sds3d.export.materials import finish_of
from sds3d.export.mesh import Mesh, TexturedMesh, topology
from sds3d.export.normals import normal_map, tangents
from sds3d.export.own import own_painter, own_surface
from sds3d.export.qa import Quality, likeness
from sds3d.export.seams import seam_gap
from sds3d.export.surface import Surface, extract, fused
from sds3d.export.texture import Texels, from_field, paint, rasterise
from sds3d.export.unwrap import Atlas, Unwrapping
from sds3d.export.views import Views, look
from sds3d.scenes.base import Field, Scene

FIT_SIZE, BAKE_SIZE, HELD_OUT_SIZE = 96, 192, 128  # pixels
FAITHFUL = 36.0  # dB from which the field's own colours are taken without asking the views


@dataclass
class Clock:
    """Seconds by part of the work; tells `progress` when one begins."""

    progress: Callable[[str], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        if self.progress:
            self.progress(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def build(scene: Scene, config: ExportConfig, clock: Clock, prompt: str = "") -> tuple[TexturedMesh, Quality]:
    """The scene's textured mesh and its QA record. Held-out views are drawn while xatlas works."""
    shape = scene.surface()
    with clock.part("views"):
        fit = look(scene, ring(8, (0.0, 35.0)), FIT_SIZE)
    with clock.part("surface"):
        surface = own_surface(scene, config.faces) or _surface(scene, shape, fit, config)
    unwrapping = Unwrapping(surface.mesh, config.texture, config.unwrap_seconds)
    try:
        with clock.part("views"):
            held_out = look(scene, ring(8, (15.0, 40.0), start=22.5), HELD_OUT_SIZE)
        with clock.part("unwrap"):
            atlas = unwrapping.result()
    finally:
        unwrapping.close()
    with clock.part("texture"):
        texels = rasterise(surface.mesh, atlas)
        colors, baked_from = _bake(scene, shape, surface.mesh, atlas, texels, fit, config)
        mesh = paint(surface.mesh, atlas, texels, colors)
    with clock.part("check"):
        quality = _measure(mesh, surface, atlas, texels, baked_from, held_out)
    with clock.part("material"):
        if config.delight:
            mesh = paint(surface.mesh, atlas, texels, delighted(colors, texels.normals))
        mesh = _finish(mesh, texels, surface.fine if config.normal_map else None)
        finish = finish_of(prompt, config.roughness, config.metallic)
    return replace(mesh, roughness=finish.roughness, metallic=finish.metallic), quality


def _surface(scene: Scene, shape: Field, fit: Views, config: ExportConfig) -> Surface:
    if config.surface == "density":
        return extract(shape, fit, scene.device, config.resolution, config.faces)
    return fused(look(scene, all_around(), FUSED_SIZE), shape.bound, config.resolution, config.faces)


def _bake(
    scene: Scene, shape: Field, mesh: Mesh, atlas: Atlas, texels: Texels, fit: Views, config: ExportConfig
) -> tuple[Tensor, str]:
    """(N, 3) colours from where the settings say; "auto" takes the field's if they are faithful to the views that the
    surface was fitted to, else has them corrected by more views."""
    exact = own_painter(scene)
    color = exact or (lambda some: from_field(some, shape, scene.device))
    own = supersampled(color, mesh, atlas, texels, config.antialias)
    if exact is not None:
        return own, "field"
    faithful = config.bake == "auto" and likeness(paint(mesh, atlas, texels, own), fit).psnr >= FAITHFUL
    if config.bake == "field" or faithful:
        return own, "field"
    seen = look(scene, ring(24, (-5.0, 20.0, 50.0)), BAKE_SIZE, batch=2)
    return refined(mesh, atlas, texels, own, seen), "views"


def _finish(mesh: TexturedMesh, texels: Texels, fine: Mesh | None) -> TexturedMesh:
    """With tangents and the normal map of the `fine` surface, if there is one."""
    if fine is None:
        return mesh
    mesh = replace(mesh, tangents=tangents(mesh.vertices, mesh.faces, mesh.normals, mesh.uv))
    return replace(mesh, normal_map=normal_map(mesh, texels, fine))


def _measure(
    mesh: TexturedMesh, surface: Surface, atlas: Atlas, texels: Texels, baked_from: str, held_out: Views
) -> Quality:
    shape = topology(surface.mesh)
    like = likeness(mesh, held_out)
    return Quality(
        vertices=len(surface.mesh.vertices),
        faces=len(surface.mesh.faces),
        components=shape.components,
        watertight=shape.watertight,
        manifold=shape.manifold,
        uv_use=texels.used,
        atlas=atlas.kind,
        texture=atlas.texels,
        baked_from=baked_from,
        seam_gap=seam_gap(surface.mesh, atlas, mesh.texture),
        level=surface.level,
        silhouette_iou=like.iou,
        texture_psnr=like.psnr,
    )
