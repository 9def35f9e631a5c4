"""Which triangle every pixel sees, and where on it: the non-differentiable half of mesh rendering is here, numba on the
CPU and torch elsewhere; what is differentiated is recomputed from the answer, on covered pixels alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.render.jit import in_parallel, kernel

NEAR = 1e-3  # triangles with a corner nearer than this to the camera plane are dropped, not clipped
EDGE = 1e-5  # barycentric slack, so that no pixel falls between two triangles
CHUNK = 1 << 22  # pixel-triangle pairs that the torch path tests at once
NOTHING = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Hits:
    """What each pixel of B views sees first."""

    face: Tensor  # (B, H, H) int32, -1 for none
    inverse: Tensor  # (B, H, H) 1 / depth along the view axis, 0 for none


def project(vertices: Tensor, cameras: Cameras, size: int) -> Tensor:
    """(B, V, 3) x and y in pixels (y down, centres at halves) and 1 / depth of (V, 3) or (B, V, 3) world points.

    Points less than NEAR ahead of the camera get 1 / depth 0: faces with such a corner are not drawn.
    """
    matrix = cameras.world_to_camera().to(vertices)
    local = vertices @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3]
    depth = local[..., 2:]
    ahead = depth > NEAR
    inverse = torch.where(ahead, 1 / torch.where(ahead, depth, 1.0), 0.0)
    place = local[..., :2] * inverse * cameras.focal(size).to(vertices)[:, None, None] + size / 2
    return torch.cat([place, inverse], -1)


@torch.no_grad()
def rasterise(screen: Tensor, faces: Tensor, size: int) -> Hits:
    """The nearest of `faces` (F, 3) at every pixel centre, for projected vertices `screen` (B, V, 3)."""
    screen = screen.detach().contiguous()
    if screen.device.type != "cpu":
        return rasterise_torch(screen, faces, size)
    views = len(screen)
    face = torch.full((views, size, size), -1, dtype=torch.int32)
    inverse = torch.zeros(views, size, size)
    arrays = (screen.float().numpy(), faces.contiguous().numpy(), inverse.numpy(), face.numpy())
    in_parallel(_rasterise, [(i, *arrays) for i in range(views)])
    return Hits(face, inverse)


@kernel
def _rasterise(view, screen, faces, inverse, face):  # type: ignore[no-untyped-def]
    one = numba.float32(1)
    size = face.shape[1]
    for t in range(faces.shape[0]):
        i, j, k = faces[t, 0], faces[t, 1], faces[t, 2]
        x0, y0, d0 = screen[view, i, 0], screen[view, i, 1], screen[view, i, 2]
        x1, y1, d1 = screen[view, j, 0], screen[view, j, 1], screen[view, j, 2]
        x2, y2, d2 = screen[view, k, 0], screen[view, k, 1], screen[view, k, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not (d0 > 0 and d1 > 0 and d2 > 0 and abs(area) > 1e-9):
            continue
        left = max(0, int(math.ceil(min(x0, x1, x2) - 0.5)))
        right = min(size - 1, int(math.floor(max(x0, x1, x2) - 0.5)))
        top = max(0, int(math.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(size - 1, int(math.floor(max(y0, y1, y2) - 0.5)))
        scale = one / area
        for y in range(top, bottom + 1):
            py = numba.float32(y) + numba.float32(0.5)
            for x in range(left, right + 1):
                px = numba.float32(x) + numba.float32(0.5)
                a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * scale
                b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * scale
                c = one - a - b
                if a < -EDGE or b < -EDGE or c < -EDGE:
                    continue
                near = a * d0 + b * d1 + c * d2
                if near > inverse[view, y, x]:
                    inverse[view, y, x] = near
                    face[view, y, x] = t


@torch.no_grad()
def rasterise_torch(screen: Tensor, faces: Tensor, size: int) -> Hits:
    """`rasterise` for any device: every pair of a triangle and a pixel of its box is tested, the nearest one kept by a
    minimum over (depth, face) packed into one integer, so that the result does not depend on the order."""
    found = []
    for points in screen:
        corners = points[faces]  # (F, 3, 3)
        xy, depth = corners[..., :2], corners[..., 2]
        ab, ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
        area = ab[:, 0] * ac[:, 1] - ac[:, 0] * ab[:, 1]
        low = (xy.amin(1) - 0.5).ceil().clamp(min=0).long()
        high = (xy.amax(1) - 0.5).floor().clamp(max=size - 1).long()
        box = (high - low + 1).clamp(min=0)
        count = box.prod(-1) * ((depth > 0).all(-1) & (area.abs() > 1e-9))
        nearest = torch.full((size * size,), NOTHING, device=screen.device)
        for part in parts(count):
            face, place = expand(count, part)
            pixel = low[face] + torch.stack([place % box[face, 0], place // box[face, 0]], -1)
            p = pixel + 0.5
            weights = _barycentric(xy[face], p, area[face])
            inside = (weights >= -EDGE).all(-1)
            inverse = (weights * depth[face]).sum(-1)
            keep = inside & (inverse > 0)
            packed = pack(1 / inverse[keep], face[keep])
            nearest.scatter_reduce_(0, pixel[keep, 1] * size + pixel[keep, 0], packed, "amin")
        found.append(nearest.view(size, size))
    packed = torch.stack(found)
    hit = packed != NOTHING
    depth = (packed >> 32).int().view(torch.float32)
    face = torch.where(hit, packed & 0xFFFFFFFF, -1).int()
    return Hits(face, torch.where(hit, 1 / depth, 0.0))


def pack(order: Tensor, index: Tensor) -> Tensor:
    """One integer of a float >= 0, whose bits sort like itself, and an index that decides between equal ones."""
    return order.float().view(torch.int32).long() << 32 | index


def parts(count: Tensor) -> list[tuple[int, int]]:
    """Ranges of triangles with about CHUNK pairs each."""
    edge = (count.cumsum(0) // CHUNK).cpu().numpy()
    starts = np.concatenate([[0], np.nonzero(np.diff(edge))[0] + 1, [len(edge)]])
    return [(int(a), int(b)) for a, b in zip(starts, starts[1:], strict=False) if b > a]


def expand(count: Tensor, part: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row of every pair of this part, and its place among the row's pairs."""
    mine = count[part[0] : part[1]]
    row = torch.arange(*part, device=count.device).repeat_interleave(mine)
    first = mine.cumsum(0) - mine
    return row, torch.arange(len(row), device=count.device) - first[row - part[0]]


def _barycentric(xy: Tensor, p: Tensor, area: Tensor) -> Tensor:
    """(P, 3) screen-space weights of the corners `xy` (P, 3, 2) at `p` (P, 2), for twice the area (P,)."""
    away = xy - p[:, None]
    cross = [away[:, i, 0] * away[:, j, 1] - away[:, j, 0] * away[:, i, 1] for i, j in ((1, 2), (2, 0))]
    a, b = (c / area for c in cross)
    return torch.stack([a, b, 1 - a - b], -1)


@dataclass(frozen=True)
class Fragments:
    """The P covered pixels: where they are, and the perspective-correct weights of their face's corners."""

    pixel: Tensor  # (P,) index into the B * H * H pixels
    corners: Tensor  # (P, 3) vertices
    weights: Tensor  # (P, 3), differentiable in the screen's vertices
    depth: Tensor  # (P,) along the view axis, differentiable

    def interpolate(self, values: Tensor) -> Tensor:
        """(P, C) of values (V, C) at the vertices."""
        read = values.index_select(0, self.corners.flatten()).view(-1, 3, values.shape[1])
        return (read * self.weights[..., None]).sum(1)


def fragments(screen: Tensor, faces: Tensor, hits: Hits) -> Fragments:
    """The covered pixels of `hits`, differentiable in `screen` (B, V, 3)."""
    views, count = screen.shape[:2]
    size = hits.face.shape[-1]
    seen = hits.face.flatten()
    pixel = (seen >= 0).nonzero()[:, 0]
    corners = faces.index_select(0, seen[pixel].long())
    view = pixel // size**2
    index = corners + view[:, None] * count
    at = screen.reshape(views * count, 3).index_select(0, index.flatten()).view(-1, 3, 3)
    centre = torch.stack([pixel % size, pixel // size % size], -1) + 0.5
    ab, ac = at[:, 1, :2] - at[:, 0, :2], at[:, 2, :2] - at[:, 0, :2]
    flat = _barycentric(at[..., :2], centre, ab[:, 0] * ac[:, 1] - ac[:, 0] * ab[:, 1])
    inverse = flat * at[..., 2]
    total = inverse.sum(-1, keepdim=True)
    return Fragments(pixel, corners, inverse / total, 1 / total[:, 0])
