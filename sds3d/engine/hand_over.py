"""From one stage's scene to the next one's: its surface as a mesh, its colours on it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from sds3d.camera import ring
from sds3d.errors import UserError
from sds3d.export.mesh import Mesh, taubin, vertex_normals
from sds3d.export.splats import of_scene
from sds3d.export.surface import extract
from sds3d.export.texture import Texels, from_field, from_views
from sds3d.export.views import look
from sds3d.scenes.base import Scene
from sds3d.scenes.mesh_color import Painter

RESOLUTION, FACES = 96, 40_000  # most cells and triangles of the mesh between two stages
BRIDGE = 0.2  # half the width of holes in soft sheets that are closed
SMOOTHING = 80  # Taubin rounds, of triangles finer than the lattice: a scene's bumps go, its thin legs stay
SIZE = 128  # pixels of the views that it is fitted to
LIMIT = 0.97  # its farthest vertex, so that the ball holds it


@runtime_checkable
class StartsFromMesh(Protocol):
    """A scene that can begin as a mesh, which it takes at `cells` a side."""

    cells: int

    def start_from(self, corners: NDArray[np.float32], painter: Painter) -> None:
        """Take the closed surface of triangles (F, 3, 3) in the unit ball, and the colours that `painter` tells of
        points on it."""
        ...


def hand_over(old: Scene, new: Scene) -> None:
    """Let `new` begin as what `old` shows. UserError where `old` shows nothing."""
    if not isinstance(new, StartsFromMesh):
        raise UserError(f"a {type(new).__name__} cannot take over from another scene: choose mesh for the later stage")
    views = look(old, ring(8, (0.0, 35.0)), SIZE)
    surface = extract(old.surface(), views, old.device, min(RESOLUTION, 2 * new.cells), FACES, BRIDGE)
    mesh = taubin(surface.mesh, SMOOTHING)
    longest = np.linalg.norm(mesh.vertices, axis=1).max()
    shrunk = Mesh(mesh.vertices * np.float32(min(1.0, LIMIT / longest)), mesh.faces)
    new.start_from(shrunk.corners, painter_of(old, mesh))


def painter_of(scene: Scene, mesh: Mesh) -> Painter:
    """The scene's colours on `mesh`: from its views where it is of Gaussians, which overlap, else from its field."""
    field, normals = scene.surface(), vertex_normals(mesh)
    seen = look(scene, ring(12, (-5.0, 20.0, 50.0)), SIZE, batch=2) if of_scene(scene) is not None else None

    def paint(face: NDArray[np.int32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
        corners = mesh.faces[face]
        at, normal = (torch.from_numpy(np.einsum("pk,pkc->pc", shares, v[corners])) for v in (mesh.vertices, normals))
        nowhere = (np.zeros(0, np.intp), np.zeros(0, np.intp))
        unit = torch.nn.functional.normalize(normal, dim=-1)
        texels = Texels(nowhere, at, unit, 0, torch.from_numpy(face), torch.from_numpy(shares))
        own = from_field(texels, field, scene.device)
        return (own if seen is None else from_views(texels, mesh, seen, own)).numpy()

    return paint
