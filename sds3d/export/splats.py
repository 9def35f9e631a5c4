"""Gaussians to be written: a scene's own, or flat ones laid over the baked mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.placement import Matrix, Placement
from sds3d.export.mesh import Mesh, TexturedMesh, areas
from sds3d.export.texture import look_up
from sds3d.render.projection import facing
from sds3d.scenes.base import Scene
from sds3d.streams import stream

OVERLAP = 0.8  # standard deviation of a sampled Gaussian over the mean distance to its neighbours
THICKNESS = 0.1  # its extent along the normal, over that along the surface
OPACITY = 0.95
FAINT = 1 / 255  # Gaussians with less opacity than this are not written


@runtime_checkable
class HasSplats(Protocol):
    """A scene that is made of Gaussians."""

    def splats(self) -> dict[str, Tensor]:
        """means (N, 3), scales (N, 3) standard deviations, quats (N, 4) wxyz, opacities (N,), colors (N, 3) sRGB; where
        colour depends on the view also sh (N, K - 1, 3), its harmonics of degree 1 and more as 3DGS files have them."""
        ...


@runtime_checkable
class FromFile(Protocol):
    """A scene of Gaussians that began as those of a file."""

    placement: Placement

    def restored(self, splats: Gaussians, axes: Matrix) -> Gaussians:
        """`splats`, this scene's in coordinates of a file with `axes`, with the file's own numbers wherever the scene
        has not changed them."""
        ...


@dataclass(frozen=True)
class Splats:
    """N Gaussians in the world's axes."""

    means: Tensor  # (N, 3)
    scales: Tensor  # (N, 3) standard deviations
    quats: Tensor  # (N, 4) wxyz
    opacities: Tensor  # (N,) in [0, 1]
    colors: Tensor  # (N, 3) sRGB
    sh: Tensor | None = None  # (N, K - 1, 3) harmonics of degree 1 and more


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


def placement_of(scene: Scene) -> Placement:
    """Where a scene's own file has it; the world itself for one that came from nowhere."""
    placement = getattr(scene, "placement", None)
    return placement if isinstance(placement, Placement) else Placement()


def in_file(splats: Splats, scene: Scene | None, placement: Placement, axes: Matrix) -> Gaussians:
    """What a file with `axes` is to hold. A scene that came from a file keeps all its Gaussians, the unchanged ones to
    the bit; otherwise the invisible and the broken are left out."""
    own = as_stored(splats)
    if not isinstance(scene, FromFile):
        own = own[presentable(splats)]
    stored = own.placed(placement.radius, placement.centre).turned(axes)
    return scene.restored(stored, axes) if isinstance(scene, FromFile) else stored


def as_stored(splats: Splats) -> Gaussians:
    """Activations undone: logarithms, logits, harmonics; unit quaternions."""
    constant = ((splats.colors - 0.5) / SH0)[:, None]
    sh = constant if splats.sh is None else torch.cat([constant, splats.sh], 1)
    return Gaussians(
        means=splats.means.numpy(),
        scales=splats.scales.clamp_min(1e-8).log().numpy(),
        quats=torch.nn.functional.normalize(splats.quats, dim=-1).numpy(),
        opacities=torch.logit(splats.opacities, eps=1e-5).numpy(),
        sh=sh.numpy(),
    )


def presentable(splats: Splats) -> np.ndarray:
    """(N,) whether a Gaussian is made of numbers and can be seen."""
    parts = [splats.means, splats.scales, splats.quats, splats.opacities[:, None], splats.colors]
    parts += [] if splats.sh is None else [splats.sh.flatten(1)]
    finite = torch.stack([part.isfinite().all(1) for part in parts]).all(0)
    return (finite & (splats.opacities >= FAINT)).numpy()
