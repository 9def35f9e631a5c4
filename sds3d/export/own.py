"""The mesh of a scene that is one: it is taken as it is, not looked for in a field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sds3d.export.mesh import Mesh, compact
from sds3d.export.surface import Surface, decimate
from sds3d.export.texture import Texels
from sds3d.scenes.base import OwnMesh, Scene

CHUNK = 1 << 18  # texels at a time


@runtime_checkable
class HasMesh(Protocol):
    """A scene that is made of triangles."""

    def own_mesh(self) -> OwnMesh: ...


def own_surface(scene: Scene, faces: int) -> Surface | None:
    """The scene's own mesh, mended and with at most `faces` triangles, `fine` if it had more; as it is where it is
    `given`, an asset of the user's. None for a scene that is not a mesh."""
    if not isinstance(scene, HasMesh):
        return None
    own = scene.own_mesh()
    mesh = Mesh(own.vertices.numpy().astype(np.float32), own.faces.numpy().astype(np.int32))
    if own.given:
        return Surface(mesh, 0.0, 1.0)
    whole = compact(mesh)
    return Surface(decimate(whole, faces), 0.0, 1.0, whole if len(whole.faces) > faces else None)


def own_painter(scene: Scene) -> Callable[[Texels], Tensor] | None:
    """(N, 3) what a scene that knows its mesh's colours triangle by triangle says of texels; None for others."""
    color = scene.own_mesh().color if isinstance(scene, HasMesh) else None
    if color is None:
        return None

    def painted(texels: Texels) -> Tensor:
        pieces = zip(*(part.split(CHUNK) for part in (texels.positions, texels.face, texels.shares)), strict=True)
        return torch.cat([color(*piece) for piece in pieces]).nan_to_num(0.5).clamp(0, 1)

    return painted
