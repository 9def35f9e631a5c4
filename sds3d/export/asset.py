"""From a scene to an asset: surface, atlas, texture, and how good they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sds3d.export.config import ExportConfig
from sds3d.export.mesh import Mesh, TexturedMesh, topology
from sds3d.export.own import own_colors, own_surface
from sds3d.export.qa import Quality, likeness
from sds3d.export.surface import Surface, extract
from sds3d.export.texture import Texels, from_field, from_views, paint, rasterise
from sds3d.export.unwrap import Atlas, Unwrapping
from sds3d.export.views import Views, look, ring
from sds3d.scenes.base import Field, Scene

FIT_SIZE, BAKE_SIZE, HELD_OUT_SIZE = 96, 192, 128  # pixels
FAITHFUL = 32.0  # dB from which the field's own colours are taken without asking the views


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


def build(scene: Scene, config: ExportConfig, clock: Clock) -> tuple[TexturedMesh, Quality]:
    """The scene's textured mesh and its QA record. Held-out views are drawn while xatlas works."""
    shape = scene.surface()
    with clock.part("views"):
        fit = look(scene, ring(8, (0.0, 35.0)), FIT_SIZE)
    with clock.part("surface"):
        surface = own_surface(scene, config.faces)
        if surface is None:
            surface = extract(shape, fit, scene.device, config.resolution, config.faces)
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
        mesh, baked_from = _bake(scene, shape, surface.mesh, atlas, texels, fit, config.bake)
    with clock.part("check"):
        quality = _measure(mesh, surface, atlas, texels, baked_from, held_out)
    return mesh, quality


def _bake(
    scene: Scene, shape: Field, mesh: Mesh, atlas: Atlas, texels: Texels, fit: Views, source: str
) -> tuple[TexturedMesh, str]:
    """The texture from `source`; "auto" takes the field's colours if they are faithful to the views the surface was
    fitted to, else whichever of field and views comes nearer to them."""
    exact = own_colors(scene, texels)
    own = from_field(texels, shape, scene.device) if exact is None else exact
    by_field = paint(mesh, atlas, texels, own)
    if exact is not None or source == "field" or (source == "auto" and likeness(by_field, fit).psnr >= FAITHFUL):
        return by_field, "field"
    seen = look(scene, ring(12, (-5.0, 20.0, 50.0)), BAKE_SIZE, batch=2)
    by_views = paint(mesh, atlas, texels, from_views(texels, mesh, seen, own))
    if source == "views" or likeness(by_views, fit).psnr >= likeness(by_field, fit).psnr:
        return by_views, "views"
    return by_field, "field"


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
        level=surface.level,
        silhouette_iou=like.iou,
        texture_psnr=like.psnr,
    )
