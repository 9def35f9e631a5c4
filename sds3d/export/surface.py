"""From a scene's field to a closed, light, clean triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds3d.export.agreement import agreement
from sds3d.export.fusion import fuse
from sds3d.export.mesh import Mesh, compact, taubin, watertight
from sds3d.export.repair import outward, repaired, without_crumbs
from sds3d.export.slivers import without_slivers
from sds3d.export.views import Views
from sds3d.export.volume import Volume, bridged, choose_level, mended, sample_field, solid, to_occupancy
from sds3d.scenes.base import Field

MENDED = 0.054  # half the width of holes that are closed
LEVEL_RESOLUTION = 112  # cells on which the level is found: it is the same on finer ones
DEEPER = (1.1, 1.21, 1.33, 1.46)  # what it is multiplied with in turn
SPARE, ENOUGH = 0.015, 0.955  # IoU
SMOOTHING = 6  # Taubin rounds: takes marching cubes' terraces away, leaves thin legs


@dataclass(frozen=True)
class Surface:
    """A mesh cut from a field, and where it was cut."""

    mesh: Mesh
    level: float  # the density at which the surface lies; 0 when the visual hull had to stand in
    level_iou: float  # silhouettes of that level against the views it was chosen by
    fine: Mesh | None = None  # as it was before it was decimated


def extract(
    field: Field,
    views: Views,
    device: torch.device,
    resolution: int = 112,
    faces: int = 10_000,
    bridge: float = 0.0,
) -> Surface:
    """The surface of `field` whose silhouettes match `views`, with at most `faces` triangles. Never empty: where the
    field has no level that shows, the views' hull is meshed. A scene that shows nothing is a UserError.

    Half transparent sheets have holes at the level of their outline. Up to 2 `bridge` wide they are closed where the
    field is half as dense."""
    coarse = min(resolution, LEVEL_RESOLUTION)
    volume, hull = sample_field(field, views, coarse, device)
    highest = float(volume.values.max())
    if highest == 0:
        if resolution > coarse:
            volume, hull = sample_field(field, views, resolution, device)
        return _finished(_smooth(Volume(hull.float(), volume.origin, volume.spacing), hull), faces, 0.0, 0.0)
    level, _ = choose_level(volume, views)
    level, iou, mesh = _deepest(volume, hull, min(level, highest / 2), views)
    if resolution > coarse:
        volume, hull = sample_field(field, views, resolution, device)
    if resolution > coarse or bridge:
        mesh = _smooth(to_occupancy(volume, level), hull, bridge)
    return _finished(mesh, faces, level, iou)


def _deepest(volume: Volume, hull: Tensor, level: float, views: Views) -> tuple[float, float, Mesh]:
    """Of rising levels from `level` on, the one whose mesh is nearest to the views in depth and colour while it still
    covers what they cover, its IoU and that mesh.

    Soft scenes are seen into: the colours that a view shows lie deeper than the level whose outline it has, and a
    surface that lies where they do keeps them in their places. So SPARE of IoU is given for it, as long as ENOUGH is
    left. A scene full of holes would come apart instead, and stays where its outline is.
    """
    mesh = _smooth(to_occupancy(volume, level), hull)
    nearest = agreement(mesh, views)
    best, chosen = nearest.iou, level
    for factor in DEEPER:
        deeper = _smooth(to_occupancy(volume, level * factor), hull)
        found = agreement(deeper, views)
        best = max(best, found.iou)
        if not found.better(nearest) or found.iou < max(best - SPARE, min(best - 0.001, ENOUGH)):
            break
        nearest, mesh, chosen = found, deeper, level * factor
    return chosen, nearest.iou, mesh


def fused(views: Views, bound: float, resolution: int = 112, faces: int = 10_000) -> Surface:
    """The surface that the views' depths tell of (fusion.fuse); never empty, as that of `extract`."""
    occupancy, hull = fuse(views, bound, resolution)
    if not (occupancy.values > 0.5).any():
        occupancy = Volume(hull.float(), occupancy.origin, occupancy.spacing)
    return _finished(_smooth(occupancy, hull), faces, 0.5, 0.0)


def _finished(fine: Mesh, faces: int, level: float, iou: float) -> Surface:
    mesh = decimate(fine, faces)
    return Surface(mesh, level, iou, fine if len(mesh.faces) < len(fine.faces) else None)


def _smooth(occupancy: Volume, hull: Tensor, bridge: float = 0.0) -> Mesh:
    cells, wide = (min(round(half / occupancy.spacing), max(hull.shape) // 8) for half in (MENDED, bridge))
    whole = mended(occupancy.values.numpy(), hull.numpy(), cells)  # of a tiny object, not all of it
    if bridge:
        whole = bridged(whole, hull.numpy(), wide)
    return taubin(_march(solid(whole), occupancy), SMOOTHING)


def _march(occupancy: NDArray[np.float32], place: Volume) -> Mesh:
    """Marching cubes at one half over `place`'s grid, padded with emptiness so that the surface closes."""
    from skimage.measure import marching_cubes

    padded = np.pad(occupancy, 1)
    vertices, faces, _, _ = marching_cubes(padded, 0.5, allow_degenerate=False)
    vertices = (vertices - 1) * place.spacing + place.origin.numpy()
    return outward(compact(Mesh(vertices.astype(np.float32), faces.astype(np.int32))))


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """A 2-manifold without slivers of at most `faces` triangles, by quadric edge collapse (Garland & Heckbert 1997);
    a gentler pass is taken when a fast one tears a closed mesh. Mending may add some faces: then fewer are kept."""
    target = faces
    while len((smaller := _mended(_collapsed(mesh, target))).faces) > faces:
        target -= max(len(smaller.faces) - faces, faces // 100)
    return smaller


def _mended(mesh: Mesh) -> Mesh:
    return without_slivers(without_crumbs(repaired(mesh)))


def _collapsed(mesh: Mesh, faces: int) -> Mesh:
    import fast_simplification

    if len(mesh.faces) <= faces:
        return mesh
    closed = watertight(mesh.faces)
    for aggression in (5, 3, 1):
        vertices, triangles = fast_simplification.simplify(
            mesh.vertices, mesh.faces, target_count=faces, agg=aggression
        )
        smaller = compact(Mesh(np.asarray(vertices, np.float32), np.asarray(triangles, np.int32)))
        if not closed or watertight(smaller.faces):
            break
    return smaller
