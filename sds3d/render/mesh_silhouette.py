"""Antialiased silhouettes, which is where a mesh's outline gets its gradient.

As Laine et al. 2020, "Modular primitives for high-performance differentiable rendering" (sec. 3.4): where an outline
passes between two pixel centres, the two are blended by how much of either lies behind it. Here the outlines are drawn
into the picture edge by edge, instead of being looked for at the triangles that pixels happen to see: so triangles
smaller than a pixel are not missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import torch
from torch import Tensor

from sds3d.render.jit import in_parallel, kernel
from sds3d.render.mesh_raster import NOTHING, Hits, expand, pack, parts
from sds3d.render.mesh_topology import Edges

FRONT = 1e-4  # share of the depth by which an outline must lie before what is behind it


@dataclass(frozen=True)
class Outline:
    """N places where a visible outline passes between two pixel centres, `first` left of or above `second`."""

    view: Tensor  # (N,)
    first: Tensor  # (N,) index into the B * H * H pixels
    second: Tensor  # (N,)
    edge: Tensor  # (N,)
    axis: Tensor  # (N,) 0: the pixels lie side by side, 1: one above the other


@torch.no_grad()
def find_outline(screen: Tensor, edges: Edges, hits: Hits) -> Outline:
    """The outlines of projected vertices `screen` (B, V, 3), at most one for each pair of pixels: that which reaches
    farthest out, where folds of the surface lie behind each other."""
    screen = screen.detach().contiguous()
    views, size = hits.face.shape[:2]
    if screen.device.type == "cpu":
        found = torch.full((views, 2, size, size), -1, dtype=torch.int32)
        reach = torch.full((views, 2, size, size), -1.0)
        arrays = (edges.ends.contiguous().numpy(), edges.opposite.contiguous().numpy(), hits.inverse.numpy())
        in_parallel(_find, [(i, screen.float().numpy(), *arrays, reach.numpy(), found.numpy()) for i in range(views)])
    else:
        found = find_torch(screen, edges, hits)
    return outline_of(found)


def outline_of(found: Tensor) -> Outline:
    """The outline from the edges (B, 2, H, H) between a pixel and its right and its lower neighbour, -1 for none."""
    size = found.shape[-1]
    view, axis, row, column = (found >= 0).nonzero().unbind(-1)
    first = (view * size + row) * size + column
    step = torch.where(axis == 0, 1, size)
    return Outline(view, first, first + step, found[view, axis, row, column].long(), axis)


@kernel
def _side(screen, view, a, b, o):  # type: ignore[no-untyped-def]
    """On which side of the line from a to b a vertex o appears."""
    ax, ay = screen[view, a, 0], screen[view, a, 1]
    return (screen[view, b, 0] - ax) * (screen[view, o, 1] - ay) - (screen[view, b, 1] - ay) * (screen[view, o, 0] - ax)


@kernel
def _find(view, screen, ends, opposite, inverse, reach, found):  # type: ignore[no-untyped-def]
    half = numba.float32(0.5)
    size = inverse.shape[1]
    for e in range(ends.shape[0]):
        a, b, o, other = ends[e, 0], ends[e, 1], opposite[e, 0], opposite[e, 1]
        if not (screen[view, a, 2] > 0 and screen[view, b, 2] > 0):
            continue
        side = _side(screen, view, a, b, o)
        if other >= 0 and side * _side(screen, view, a, b, other) <= 0:
            continue
        dx, dy = screen[view, b, 0] - screen[view, a, 0], screen[view, b, 1] - screen[view, a, 1]
        axis = 0 if abs(dy) >= abs(dx) else 1  # steep edges part neighbours in a row
        if axis == 1:
            dx, dy, side = dy, dx, -side
        if dy < 0:
            a, b, dx, dy, side = b, a, -dx, -dy, -side
        u, v = screen[view, a, axis], screen[view, a, 1 - axis]
        d, slope = screen[view, a, 2], screen[view, b, 2] - screen[view, a, 2]
        for row in range(max(0, int(math.ceil(v - half))), min(size, int(math.ceil(v + dy - half)))):
            share = (row + half - v) / dy
            place = u + share * dx - half
            column = int(math.floor(place))
            if column < 0 or column + 1 >= size:
                continue
            depth, extent = d + share * slope, place - column
            beyond = column + 1  # the pixel that the surface does not reach
            if side < 0:
                beyond, extent = column, 1 - extent
            behind = inverse[view, row, beyond] if axis == 0 else inverse[view, beyond, row]
            r, c = (row, column) if axis == 0 else (column, row)
            if depth > behind * (1 + FRONT) and extent > reach[view, axis, r, c]:
                reach[view, axis, r, c] = extent
                found[view, axis, r, c] = e


def find_torch(screen: Tensor, edges: Edges, hits: Hits) -> Tensor:
    """`_find` for any device: (B, 2, H, H) edges, -1 for none."""
    return torch.stack(
        [_find_in_view(points, edges, inverse) for points, inverse in zip(screen, hits.inverse, strict=True)]
    )


def _find_in_view(points: Tensor, edges: Edges, inverse: Tensor) -> Tensor:
    size = len(inverse)
    a, b = (points[i] for i in edges.ends.unbind(-1))  # (E, 3)
    sides = [_cross(b - a, points[o.clamp(min=0)] - a) for o in edges.opposite.unbind(-1)]
    shown = ((edges.opposite[:, 1] < 0) | (sides[0] * sides[1] > 0)) & (a[:, 2] > 0) & (b[:, 2] > 0)
    kept = shown.nonzero()[:, 0]
    a, b, side = a[kept], b[kept], sides[0][kept]
    flat = (b - a)[:, 1].abs() < (b - a)[:, 0].abs()  # part neighbours in a column
    a, b = (torch.where(flat[:, None], p[:, [1, 0, 2]], p) for p in (a, b))
    falling = b[:, 1] < a[:, 1]
    side = torch.where(flat ^ falling, -side, side)
    a, b = torch.where(falling[:, None], b, a), torch.where(falling[:, None], a, b)
    low = (a[:, 1] - 0.5).ceil().clamp(min=0).long()
    high = (b[:, 1] - 0.5).ceil().clamp(max=size).long()
    count = (high - low).clamp(min=0)
    best = torch.full((2 * size * size,), NOTHING, device=points.device)
    for part in parts(count):
        e, place = expand(count, part)
        row = low[e] + place
        share = (row + 0.5 - a[e, 1]) / (b - a)[e, 1]
        at = torch.lerp(a[e], b[e], share[:, None])
        column = (at[:, 0] - 0.5).floor().long()
        fits = (column >= 0) & (column + 1 < size)
        e, row, column, depth = e[fits], row[fits], column[fits], at[fits, 2]
        gap = torch.where(side[e] < 0, at[fits, 0] - 0.5 - column, column + 1.5 - at[fits, 0])
        beyond = torch.where(side[e] < 0, column, column + 1)
        behind = torch.where(flat[e], inverse[beyond, row], inverse[row, beyond])
        front = depth > behind * (1 + FRONT)
        e, row, column, gap = e[front], row[front], column[front], gap[front].clamp(0, 1)
        r, c = torch.where(flat[e], column, row), torch.where(flat[e], row, column)
        best.scatter_reduce_(0, (flat[e].long() * size + r) * size + c, pack(gap, kept[e]), "amin")
    return torch.where(best == NOTHING, -1, best & 0xFFFFFFFF).int().view(2, size, size)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def antialias(image: Tensor, screen: Tensor, edges: Edges, outline: Outline) -> Tensor:
    """`image` (B, H, H, C) with pixels beside an outline blended; differentiable in `image` and in `screen`.

    An outline at share s of the way from the first pixel's centre to the second's covers half a pixel less or more
    than whole ones: the pixel on whose half it lies takes |s - 1/2| of the other.
    """
    if not len(outline.edge):
        return image
    size, count = image.shape[1], screen.shape[1]
    flat, points = image.reshape(-1, image.shape[-1]), screen.reshape(-1, 3)
    a, b = (points.index_select(0, v + outline.view * count) for v in edges.ends[outline.edge].unbind(-1))
    steep = outline.axis == 0
    (ax, ay), (bx, by) = (torch.where(steep, p[:, :2].T, p[:, :2].flip(-1).T).unbind(0) for p in (a, b))
    column, row = outline.first % size, outline.first // size % size
    row, column = torch.where(steep, row, column), torch.where(steep, column, row)
    share = ax + (row + 0.5 - ay) / (by - ay) * (bx - ax) - column - 0.5
    first, second = flat.index_select(0, outline.first), flat.index_select(0, outline.second)
    change = first - second
    beyond = (share - 0.5)[:, None]
    flat = flat.index_add(0, outline.second, beyond.clamp(min=0) * change)
    flat = flat.index_add(0, outline.first, beyond.clamp(max=0) * change)
    return flat.view(image.shape)
