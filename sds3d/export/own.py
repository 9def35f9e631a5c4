"""The mesh of a scene that is one: it is taken as it is, not looked for in a field."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sds3d.export.mesh import Mesh, adjacency, areas, compact
from sds3d.export.surface import Surface, decimate
from sds3d.export.texture import Texels
from sds3d.scenes.base import OwnMesh, Scene

CHUNK = 1 << 18  # texels at a time
SMALLEST = 0.01  # parts with less than this share of the surface's area are crumbs


@runtime_checkable
class HasMesh(Protocol):
    """A scene that is made of triangles."""

    def own_mesh(self) -> OwnMesh: ...


def own_surface(scene: Scene, faces: int) -> Surface | None:
    """The scene's own mesh with at most `faces` triangles and without crumbs; as it is where it is `given`, an asset
    that only its colours are changed of. None for a scene that is not a mesh."""
    if not isinstance(scene, HasMesh):
        return None
    own = scene.own_mesh()
    mesh = Mesh(own.vertices.numpy().astype(np.float32), own.faces.numpy().astype(np.int32))
    return Surface(mesh if own.given else decimate(without_crumbs(compact(mesh)), faces), 0.0, 1.0)


def own_colors(scene: Scene, texels: Texels) -> Tensor | None:
    """(N, 3) what a scene that knows its mesh's colours triangle by triangle says of the texels; None for others."""
    color = scene.own_mesh().color if isinstance(scene, HasMesh) else None
    if color is None:
        return None
    pieces = zip(*(part.split(CHUNK) for part in (texels.positions, texels.face, texels.shares)), strict=True)
    return torch.cat([color(*piece) for piece in pieces]).nan_to_num(0.5).clamp(0, 1)


def without_crumbs(mesh: Mesh) -> Mesh:
    """The mesh without parts of less than SMALLEST of its area."""
    labels = connected_components(adjacency(mesh), directed=False)[1][mesh.faces[:, 0]]
    share = np.bincount(labels, weights=areas(mesh)) / max(float(areas(mesh).sum()), 1e-12)
    return compact(Mesh(mesh.vertices, mesh.faces[share[labels] >= SMALLEST]))
