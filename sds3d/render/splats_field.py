"""Gaussians as a density in space: sums over those near a point, found through a grid of cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.render.jit import in_parallel, inlined, kernel, ranges
from sds3d.render.projection import MIN_ALPHA, rotation_matrices
from sds3d.render.splats_raster import exp

CELLS = 40  # per axis, fewer where Gaussians are large
ENTRIES = 1 << 24  # most (cell, Gaussian) pairs
PIECES = 16
# Columns of a Gaussian's row: mean, upper triangle of the inverse covariance, opacity, colour.
X, Y, Z, XX, XY, XZ, YY, YZ, ZZ, OPACITY, RED, GREEN, BLUE = (np.uint64(i) for i in range(13))
_0, _HALF, _MIN_ALPHA = np.float32(0.0), np.float32(0.5), np.float32(MIN_ALPHA)


class SplatField:
    """Density and colour of N Gaussians (arguments as in render_splats), on the CPU. A Gaussian reaches as far as its
    density exceeds 1/255."""

    def __init__(self, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor) -> None:
        seen = opacities >= MIN_ALPHA
        means, quats, scales, opacities, colors = (v[seen].float() for v in (means, quats, scales, opacities, colors))
        rotation, scales = rotation_matrices(quats), scales.clamp_min(1e-6)
        inverse = torch.einsum("nik,nk,njk->nij", rotation, scales**-2, rotation)
        upper = inverse[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
        self.rows = torch.cat([means, upper, opacities[:, None], colors], 1).contiguous().numpy()  # (N, 13)
        reach = (2 * torch.log(opacities / MIN_ALPHA)).sqrt()[:, None]
        extent = reach * torch.einsum("nik,nk->ni", rotation.square(), scales.square()).sqrt()
        low, high = means - extent, means + extent
        self.origin = low.amin(0).numpy() if len(means) else np.zeros(3, np.float32)
        span = float((high.amax(0) - low.amin(0)).max()) if len(means) else 1.0
        self.side, self.cell = CELLS, np.float32(span / CELLS * (1 + 1e-5) + 1e-9)
        while True:
            first, last = (self._cells(v.numpy()) for v in (low, high))
            entries = int(np.prod(last - first + 1, axis=1, dtype=np.int64).sum())
            if entries <= ENTRIES or self.side == 1:
                break
            self.side, self.cell = self.side // 2, self.cell * np.float32(self.side / (self.side // 2))
        self.offsets = np.zeros(self.side**3 + 1, np.int64)
        self.hits = np.empty(entries, np.int32)
        _sort_into_cells(first, last, self.side, self.offsets, self.hits)

    def density(self, points: Tensor) -> Tensor:
        """(P, 3) -> (P,)."""
        return torch.from_numpy(self._sums(points)[:, 0].copy()).to(points.device)

    def color(self, points: Tensor) -> Tensor:
        """(P, 3) -> (P, 3) sRGB: the mean weighted by density; out of all reach, the nearest Gaussian's."""
        from scipy.spatial import cKDTree

        sums = self._sums(points)
        bare = sums[:, 0] == 0
        colors = sums[:, 1:] / np.where(bare, 1, sums[:, 0])[:, None]
        if bare.any() and len(self.rows):
            _, nearest = cKDTree(self.rows[:, :3]).query(points.detach().cpu().numpy()[bare])
            colors[bare] = self.rows[nearest, 10:13]
        return torch.from_numpy(colors).to(points.device)

    def _cells(self, points: np.ndarray) -> np.ndarray:
        return ((points - self.origin) / self.cell).astype(np.int64).clip(0, self.side - 1)

    def _sums(self, points: Tensor) -> np.ndarray:
        """(P, 4): density and density-weighted colour."""
        where = np.ascontiguousarray(points.detach().cpu().numpy().astype(np.float32, copy=False))
        out = np.zeros((len(where), 4), np.float32)
        grid = (self.origin, self.cell, self.side, self.offsets, self.hits)
        in_parallel(_evaluate, [(where, self.rows, *grid, out, *r) for r in ranges(len(where), PIECES)])
        return out


@kernel
def _sort_into_cells(first, last, side, offsets, hits):  # type: ignore[no-untyped-def]
    """Lists of Gaussians per cell, in their own order: offsets (cells + 1,) into hits."""
    for i in range(len(first)):
        for x in range(first[i, 0], last[i, 0] + 1):
            for y in range(first[i, 1], last[i, 1] + 1):
                for z in range(first[i, 2], last[i, 2] + 1):
                    offsets[(x * side + y) * side + z + 1] += 1
    for c in range(len(offsets) - 1):
        offsets[c + 1] += offsets[c]
    cursor = offsets[:-1].copy()
    for i in range(len(first)):
        for x in range(first[i, 0], last[i, 0] + 1):
            for y in range(first[i, 1], last[i, 1] + 1):
                for z in range(first[i, 2], last[i, 2] + 1):
                    c = (x * side + y) * side + z
                    hits[cursor[c]] = i
                    cursor[c] += 1


@inlined
def _cell(value: Any, origin: Any, cell: Any) -> int:
    return int(math.floor((value - origin) / cell))


@kernel
def _evaluate(points, rows, origin, cell, side, offsets, hits, out, start, stop):  # type: ignore[no-untyped-def]
    for p in range(start, stop):
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        x, y, z = _cell(px, origin[0], cell), _cell(py, origin[1], cell), _cell(pz, origin[2], cell)
        if not (0 <= x < side and 0 <= y < side and 0 <= z < side):
            continue
        c = (x * side + y) * side + z
        total, red, green, blue = _0, _0, _0, _0
        for k in range(np.uint64(offsets[c]), np.uint64(offsets[c + 1])):
            i = np.uint64(hits[k])
            dx, dy, dz = px - rows[i, X], py - rows[i, Y], pz - rows[i, Z]
            power = _HALF * (rows[i, XX] * dx * dx + rows[i, YY] * dy * dy + rows[i, ZZ] * dz * dz)
            power += rows[i, XY] * dx * dy + rows[i, XZ] * dx * dz + rows[i, YZ] * dy * dz
            weight = rows[i, OPACITY] * exp(-power)
            weight = weight if weight >= _MIN_ALPHA else _0
            total += weight
            red += weight * rows[i, RED]
            green += weight * rows[i, GREEN]
            blue += weight * rows[i, BLUE]
        out[p, 0], out[p, 1], out[p, 2], out[p, 3] = total, red, green, blue
