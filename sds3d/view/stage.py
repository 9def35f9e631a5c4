"""What the viewer's two panes show: files made small enough, in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sds3d.assets.gaussians import Gaussians
from sds3d.assets.load import load_mesh, load_splats
from sds3d.assets.mesh import LoadedMesh
from sds3d.assets.placement import Placement
from sds3d.assets.splats import LoadedSplats
from sds3d.view.glb import self_contained, to_glb
from sds3d.view.packing import BYTES, pack
from sds3d.view.page import Part

SPLATS_INSIDE, SPLATS_SERVED = 150_000, 2_000_000  # at most this many Gaussians in a page, or from the local server
HARMONICS_INSIDE = 3_000_000  # bytes of Gaussians in a page from which colours no longer change with the view
MESH_INSIDE = 6_000_000  # bytes of a .glb in a page from which its texture is made smaller
TEXELS_INSIDE = 1024  # a side, then
Axes = tuple[str, str] | None  # up and front in words; None: as usual


def run_parts(
    mesh: Path | None, splats: Path | None, inside: bool, axes: Sequence[Axes] = (None, None)
) -> tuple[Part | None, Part | None]:
    """The panes of a run's files, which may lie anywhere but lie there together: the mesh is brought into the unit
    ball (`Part.placement`), and the Gaussians with it. `inside`: small enough to stand in the page. `axes`: up and
    front in the two files, where they are not the usual ones."""
    shown, placement = None, None
    if mesh is not None:
        loaded = load_mesh(mesh, *(axes[0] or ()))
        shown, placement = mesh_part(loaded, mesh.read_bytes(), inside), loaded.placement
    if splats is None:
        return shown, None
    return shown, splats_part(_beside(load_splats(splats, *(axes[1] or ())), placement), inside)


def _beside(loaded: LoadedSplats, placement: Placement | None) -> Gaussians:
    """The Gaussians in the world where the mesh with `placement` is in the unit ball."""
    if placement is None:
        return loaded.world
    upright = loaded.world.placed(loaded.placement.radius, loaded.placement.centre)
    return upright.placed(1 / placement.radius, -placement.centre / placement.radius)


def mesh_part(loaded: LoadedMesh, data: bytes, inside: bool = False) -> Part:
    """The pane of a mesh, `data` the file that it was loaded from: as it is, if the viewer can read that and it is not
    too large."""
    label = f"{len(loaded.faces):,} faces"
    if not self_contained(data):
        return Part(to_glb(loaded), label)
    if inside and len(data) > MESH_INSIDE:
        note = "The mesh is shown with its colours alone, in a smaller texture; sds3d view shows all of it."
        return Part(to_glb(loaded, TEXELS_INSIDE), label, note)
    front = loaded.placement.upright_axes[:, 2]
    turn = math.degrees(math.atan2(-front[0], front[2]))  # brings the file's front to +Z
    return Part(data, label, placement=(*loaded.placement.centre.tolist(), loaded.placement.radius, turn))


def splats_part(splats: Gaussians, inside: bool) -> Part:
    """The pane of Gaussians; where there are too many, of those that cover most."""
    total, limit = len(splats), SPLATS_INSIDE if inside else SPLATS_SERVED
    label = f"{total:,} Gaussians" if total <= limit else f"{limit:,} of {total:,} Gaussians"
    size = min(total, limit) * (BYTES + splats.sh[0].size) if splats.degree else 0
    harmonics = not inside or size <= HARMONICS_INSIDE
    note = "" if harmonics else "The splats' colours do not change with the view here; with sds3d view they do."
    return Part(pack(splats, limit, harmonics), label, note)
