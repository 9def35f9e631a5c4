"""Baking: the colour of every texel, from the scene's field or from its views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sds3d.export.mesh import Floats, Mesh, TexturedMesh, vertex_normals
from sds3d.export.unwrap import Atlas
from sds3d.export.views import COVERED, Views
from sds3d.export.volume import evaluate, project
from sds3d.render.jit import kernel
from sds3d.render.mesh import Material, Soup, render_soup
from sds3d.scenes.base import Field

REACH = 1.0  # texels beyond a triangle's edge that still take the colour of its nearest point
SHARPNESS = 2  # power of the viewing cosine that weighs a view
TOGETHER = 1 << 20  # texels that are asked about at a time
FLATTEST = 0.2  # viewing cosine below which a view says nothing about a surface


@dataclass(frozen=True)
class Texels:
    """The N texels of a T x T texture that lie on or next to a triangle."""

    where: tuple[NDArray[np.intp], NDArray[np.intp]]  # rows from the top, columns
    positions: Tensor  # (N, 3)
    normals: Tensor  # (N, 3) unit
    side: int
    face: Tensor  # (N,) the triangle
    shares: Tensor  # (N, 3) of its corners

    @property
    def used(self) -> float:
        """Share of the texture that is used."""
        return len(self.positions) / self.side**2


@kernel
def _rasterise(uv, reach, face, weights, distance):
    """uv (F, 3, 2) in texels, y down. For every texel the nearest triangle within `reach`: fills face (T, T), weights
    (T, T, 2) of its first two corners at the nearest point, and the squared distance (T, T)."""
    side = face.shape[0]
    for t in range(uv.shape[0]):
        ax, ay = uv[t, 0, 0], uv[t, 0, 1]
        bx, by, cx, cy = uv[t, 1, 0] - ax, uv[t, 1, 1] - ay, uv[t, 2, 0] - ax, uv[t, 2, 1] - ay
        area = bx * cy - cx * by
        if not abs(area) > 1e-9:
            continue
        left = max(0, int(np.floor(ax + min(0.0, bx, cx) - reach - 0.5)))
        right = min(side - 1, int(np.ceil(ax + max(0.0, bx, cx) + reach - 0.5)))
        top = max(0, int(np.floor(ay + min(0.0, by, cy) - reach - 0.5)))
        bottom = min(side - 1, int(np.ceil(ay + max(0.0, by, cy) + reach - 0.5)))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5 - ax, row + 0.5 - ay
                wb, wc = (x * cy - cx * y) / area, (bx * y - x * by) / area
                gap = 0.0
                if wb < 0 or wc < 0 or wb + wc > 1:
                    gap = np.inf
                    for edge in range(3):
                        ub, uc = 1.0 if edge == 1 else 0.0, 1.0 if edge == 2 else 0.0  # where the edge starts ...
                        vb, vc = 1.0 if edge == 0 else 0.0, 1.0 if edge == 1 else 0.0  # ... and ends
                        sx, sy = ub * bx + uc * cx, ub * by + uc * cy
                        ex, ey = vb * bx + vc * cx - sx, vb * by + vc * cy - sy
                        along = ((x - sx) * ex + (y - sy) * ey) / max(ex * ex + ey * ey, 1e-12)
                        along = min(1.0, max(0.0, along))
                        away = (x - sx - along * ex) ** 2 + (y - sy - along * ey) ** 2
                        if away < gap:
                            gap, wb, wc = away, ub + along * (vb - ub), uc + along * (vc - uc)
                if gap <= reach * reach and gap < distance[row, column]:
                    distance[row, column] = gap
                    face[row, column] = t
                    weights[row, column, 0] = 1 - wb - wc
                    weights[row, column, 1] = wb


def rasterise(mesh: Mesh, atlas: Atlas, shift: tuple[float, float] = (0.0, 0.0)) -> Texels:
    """Where in the world every texel of the atlas lies: its middle, or what is `shift` texels right of and below it."""
    side = atlas.texels
    face = np.full((side, side), -1, np.int32)
    weights = np.zeros((side, side, 2), np.float32)
    flipped = atlas.uv[atlas.faces].astype(np.float64) * (1, -1) + (0, 1)
    _rasterise(flipped * side - np.array(shift), REACH, face, weights, np.full((side, side), np.inf))
    rows, columns = np.nonzero(face >= 0)
    where = (rows, columns)
    a, b = weights[where].T
    shares = np.stack([a, b, 1 - a - b], -1)
    corners = mesh.faces[face[where]]
    positions, normals = (_blend(values, corners, shares) for values in (mesh.vertices, vertex_normals(mesh)))
    return Texels(
        where,
        torch.from_numpy(positions),
        F.normalize(torch.from_numpy(normals), dim=-1),
        side,
        torch.from_numpy(face[where]),
        torch.from_numpy(shares),
    )


def _blend(values: Floats, corners: NDArray[np.int32], shares: Floats) -> Floats:
    """(N, 3) sums of three of the `values`, one after the other since N is the largest number there is."""
    total: Floats = values[corners[:, 0]] * shares[:, :1]
    for k in (1, 2):
        total += values[corners[:, k]] * shares[:, k : k + 1]
    return total


def from_field(texels: Texels, field: Field, device: torch.device) -> Tensor:
    """(N, 3) the field's own colour at every texel."""
    return evaluate(field.color, texels.positions, device).nan_to_num(0.5).clamp(0, 1)


def from_views(texels: Texels, mesh: Mesh, views: Views, otherwise: Tensor) -> Tensor:
    """(N, 3) mean of the views that see a texel, each weighed by its viewing cosine; `otherwise` where none does."""
    _, depths = render_soup(bare_soup(mesh), views.cameras, views.size, supersample=1)
    inner = -F.max_pool2d(-(views.alpha[:, None] > COVERED).float(), 3, stride=1, padding=1)  # rims are mixtures
    mean, weight = gather(texels, depths, views, views.rgb, inner)
    return torch.where(weight > 1e-4, mean, otherwise).clamp(0, 1)


class Places(Protocol):
    """Points of a surface."""

    @property
    def positions(self) -> Tensor: ...  # (N, 3)

    @property
    def normals(self) -> Tensor: ...  # (N, 3) unit


def gather(
    places: Places, depths: Floats, views: Views, images: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(N, C) mean of `images` (B, C, H, H) where the views see a place, weighed by the viewing cosines, 0 where none
    does; and the weight (N, 1). `depths` (B, H, H) of the surface tell who is seen, `mask` (B, 1, H, H) what counts."""
    counts = torch.ones_like(views.alpha[:, None]) if mask is None else mask
    pictures = torch.cat([images, torch.from_numpy(depths)[:, None], counts], 1)
    parts = zip(places.positions.split(TOGETHER), places.normals.split(TOGETHER), strict=True)
    gathered = [_gather(positions, normals, views, pictures) for positions, normals in parts]
    mean, weight = zip(*gathered, strict=True)
    return torch.cat(mean), torch.cat(weight)


def _gather(positions: Tensor, normals: Tensor, views: Views, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """`gather` for some of the texels; the last two channels of `pictures` (B, C + 2, H, H) are depth and mask."""
    total, weight = torch.zeros(len(positions), pictures.shape[1] - 2), torch.zeros(len(positions), 1)
    for i in range(len(views.cameras)):
        camera = views.cameras[i : i + 1]
        where, depth = project(positions, camera)
        seen = F.grid_sample(pictures[i : i + 1], where.view(1, 1, -1, 2), align_corners=False)[0, :, 0].T  # (N, C + 2)
        ray = F.normalize(camera.positions - positions, dim=-1)
        facing = (normals * ray).sum(-1)
        pixel = camera.distance / camera.focal(views.size)
        visible = (seen[:, -2] > depth - 3 * pixel) & (seen[:, -1] > 0.99) & (facing > FLATTEST)
        share = (visible * facing.clamp_min(0) ** SHARPNESS)[:, None]
        total += share * seen[:, :-2]
        weight += share
    return total / weight.clamp_min(1e-4), weight


def paint(mesh: Mesh, atlas: Atlas, texels: Texels, colors: Tensor) -> TexturedMesh:
    """The mesh with a texture of these (N, 3) texel colours."""
    normals = vertex_normals(mesh)[atlas.source]
    return TexturedMesh(mesh.vertices[atlas.source], atlas.faces, normals, atlas.uv, spread(texels, colors))


def spread(texels: Texels, colors: Tensor) -> NDArray[np.uint8]:
    """(T, T, 3) these (N, 3) texel colours, and in the empty parts the nearest one's, so that no seam shows."""
    image = np.zeros((texels.side, texels.side, 3), np.uint8)
    image[texels.where] = (colors * 255).round().byte().numpy()
    empty = np.ones((texels.side, texels.side), bool)
    empty[texels.where] = False
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def bare_soup(mesh: Mesh) -> Soup:
    """The mesh as the rasteriser takes it, in plain grey."""
    corners = mesh.corners
    count = len(corners)
    return Soup(
        corners, np.zeros_like(corners), np.zeros((count, 3, 2), np.float32), np.zeros(count, np.int32), [Material()]
    )


def textured_soup(mesh: TexturedMesh) -> Soup:
    """The textured mesh as the rasteriser takes it."""
    opaque = np.full((*mesh.texture.shape[:2], 1), 255, np.uint8)
    material = Material((1.0, 1.0, 1.0, 1.0), np.concatenate([mesh.texture, opaque], -1))
    index = np.zeros(len(mesh.faces), np.int32)
    return Soup(mesh.vertices[mesh.faces], mesh.normals[mesh.faces], mesh.uv[mesh.faces], index, [material])


def look_up(mesh: TexturedMesh, uv: Floats) -> Floats:
    """(N, 3) sRGB in [0, 1] of the texels that hold (N, 2) uv."""
    side = len(mesh.texture)
    columns = np.clip((uv[:, 0] * side).astype(int), 0, side - 1)
    rows = np.clip(((1 - uv[:, 1]) * side).astype(int), 0, side - 1)
    return mesh.texture[rows, columns].astype(np.float32) / 255
