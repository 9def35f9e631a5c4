"""Gaussians for the .ply: a scene's own, or flat ones laid over the baked mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sds3d.export.mesh import Mesh, TexturedMesh, areas
from sds3d.export.texture import look_up
from sds3d.scenes.base import Scene
from sds3d.streams import stream

OVERLAP = 0.8  # standard deviation of a sampled Gaussian over the mean distance to its neighbours
THICKNESS = 0.1  # its extent along the normal, over that along the surface
OPACITY = 0.95


@runtime_checkable
class HasSplats(Protocol):
    """A scene that is made of Gaussians."""

    def splats(self) -> dict[str, Tensor]:
        """means (N, 3), scales (N, 3) standard deviations, quats (N, 4) wxyz, opacities (N,), colors (N, 3) sRGB."""
        ...


@dataclass(frozen=True)
class Splats:
    """N Gaussians in the world's axes."""

    means: Tensor  # (N, 3)
    scales: Tensor  # (N, 3) standard deviations
    quats: Tensor  # (N, 4) wxyz
    opacities: Tensor  # (N,) in [0, 1]
    colors: Tensor  # (N, 3) sRGB


def of_scene(scene: Scene) -> Splats | None:
    """The scene's own Gaussians on the CPU; None if it is not made of any."""
    if not isinstance(scene, HasSplats):
        return None
    return Splats(**{name: value.detach().cpu().float() for name, value in scene.splats().items()})


def on_surface(mesh: TexturedMesh, count: int, seed: int = 0) -> Splats:
    """`count` flat Gaussians over the surface, evenly by area, in the texture's colours."""
    generator = stream(seed, "surface splats")
    area = areas(Mesh(mesh.vertices, mesh.faces)).astype(np.float64)
    strata = (np.arange(count) + torch.rand(count, generator=generator).numpy()) / count
    face = np.searchsorted(area.cumsum(), strata * area.sum()).clip(0, len(area) - 1)
    a, b = torch.rand(2, count, generator=generator).numpy()
    a, b = np.where(a + b > 1, (1 - a, 1 - b), (a, b))  # the half of the unit square that is the triangle
    shares = np.stack([1 - a - b, a, b], -1)[..., None].astype(np.float32)
    corners = mesh.faces[face]
    means, normals, uv = ((part[corners] * shares).sum(1) for part in (mesh.vertices, mesh.normals, mesh.uv))
    spread = float(np.sqrt(area.sum() / count)) * OVERLAP
    scales = torch.tensor([spread, spread, spread * THICKNESS]).repeat(count, 1)
    quats = facing(torch.nn.functional.normalize(torch.from_numpy(normals), dim=-1))
    colors = torch.from_numpy(look_up(mesh, uv))
    return Splats(torch.from_numpy(means), scales, quats, torch.full((count,), OPACITY), colors)


def facing(normals: Tensor) -> Tensor:
    """(N, 4) wxyz: the shortest rotations that take +Z to (N, 3) unit normals."""
    x, y, z = normals.unbind(-1)
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(x)], -1)
    turned = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(quats)  # -Z: half a turn about X
    return torch.nn.functional.normalize(torch.where((z < -1 + 1e-6)[:, None], turned, quats), dim=-1)
