"""The nearest point of a mesh, and whether one is inside it, for the points of a regular grid."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sds3d.render.jit import kernel

Floats = NDArray[np.float32]
NUDGE = 1.3e-4  # of a cell: columns that inside is counted along do not run through vertices on the grid


@dataclass(frozen=True)
class Nearest:
    """For a grid of (n, n, n) points, [z, y, x]: what is nearest of a mesh, within a band around it."""

    distance: Floats  # beyond the band: no less than its width
    face: NDArray[np.int32]  # -1 beyond the band
    shares: Floats  # (n, n, n, 3) of the face's corners


def nearest(corners: Floats, origin: float, spacing: float, n: int, band: float) -> Nearest:
    """The nearest of the triangles `corners` (F, 3, 3) to the points origin + spacing * (x, y, z), if it is nearer than
    `band`."""
    square = np.full((n, n, n), np.float32(band * band))
    face = np.full((n, n, n), -1, np.int32)
    shares = np.zeros((n, n, n, 3), np.float32)
    _nearest(np.ascontiguousarray(corners, np.float32), np.float32(origin), np.float32(spacing), square, face, shares)
    return Nearest(np.sqrt(square), face, shares)


@kernel
def _dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _closest(p, a, b, c):  # type: ignore[no-untyped-def]
    """Shares of b and c at the point of the triangle nearest to p (Ericson 2005, sec. 5.1.5)."""
    zero, one = numba.float32(0), numba.float32(1)
    ab, ac = (b[0] - a[0], b[1] - a[1], b[2] - a[2]), (c[0] - a[0], c[1] - a[1], c[2] - a[2])
    ap = (p[0] - a[0], p[1] - a[1], p[2] - a[2])
    bp = (p[0] - b[0], p[1] - b[1], p[2] - b[2])
    cp = (p[0] - c[0], p[1] - c[1], p[2] - c[2])
    d1, d2, d3, d4, d5, d6 = _dot(ab, ap), _dot(ac, ap), _dot(ab, bp), _dot(ac, bp), _dot(ab, cp), _dot(ac, cp)
    if d1 <= 0 and d2 <= 0:
        return zero, zero
    if d3 >= 0 and d4 <= d3:
        return one, zero
    if d6 >= 0 and d5 <= d6:
        return zero, one
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return d1 / (d1 - d3), zero
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return zero, d2 / (d2 - d6)
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return one - w, w
    total = va + vb + vc
    if not total > 0:
        return zero, zero
    return vb / total, vc / total


@kernel
def _nearest(corners, origin, spacing, square, face, shares):  # type: ignore[no-untyped-def]
    n = square.shape[0]
    band = np.sqrt(square[0, 0, 0]) if n else numba.float32(0)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for t in range(corners.shape[0]):
        ok = True
        for k in range(3):
            first = min(corners[t, 0, k], corners[t, 1, k], corners[t, 2, k])
            last = max(corners[t, 0, k], corners[t, 1, k], corners[t, 2, k])
            low[k] = max(0, int(np.ceil((first - band - origin) / spacing)))
            high[k] = min(n - 1, int(np.floor((last + band - origin) / spacing)))
            ok = ok and low[k] <= high[k]
        if not ok:
            continue
        a = (corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2])
        b = (corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2])
        c = (corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2])
        for z in range(low[2], high[2] + 1):
            for y in range(low[1], high[1] + 1):
                for x in range(low[0], high[0] + 1):
                    p = (origin + x * spacing, origin + y * spacing, origin + z * spacing)
                    v, w = _closest(p, a, b, c)
                    u = numba.float32(1) - v - w
                    away = numba.float32(0)
                    for k in range(3):
                        gap = u * a[k] + v * b[k] + w * c[k] - p[k]
                        away += gap * gap
                    if away < square[z, y, x]:
                        square[z, y, x] = away
                        face[z, y, x] = t
                        shares[z, y, x, 0], shares[z, y, x, 1], shares[z, y, x, 2] = u, v, w


def inside(corners: Floats, origin: float, spacing: float, n: int) -> NDArray[np.bool_]:
    """(n, n, n) bool [z, y, x]: lies within the closed surface of the triangles, by an odd number of crossings towards
    infinity along most of the three axes; small holes and stray faces do not matter."""
    votes = np.zeros((n, n, n), np.uint8)
    corners = np.ascontiguousarray(corners, np.float32)
    for axis in range(3):
        odd = np.zeros((n, n, n), np.uint8)  # [along, second, first]
        _crossings(corners, np.float32(origin + NUDGE * spacing), np.float32(spacing), axis, odd)
        across = {2: (0, 1, 2), 1: (1, 0, 2), 0: (1, 2, 0)}[axis]  # to [z, y, x]
        votes += odd.transpose(across)
    return votes >= 2


@kernel
def _crossings(corners, origin, spacing, axis, odd):  # type: ignore[no-untyped-def]
    """Flip all points behind each triangle along `axis`; the other two axes in order are the last and middle index."""
    n = odd.shape[0]
    i = 1 if axis == 0 else 0
    j = 1 if axis == 2 else 2
    for t in range(corners.shape[0]):
        x0, y0, z0 = corners[t, 0, i], corners[t, 0, j], corners[t, 0, axis]
        x1, y1, z1 = corners[t, 1, i], corners[t, 1, j], corners[t, 1, axis]
        x2, y2, z2 = corners[t, 2, i], corners[t, 2, j], corners[t, 2, axis]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not abs(area) > 0:
            continue
        left = max(0, int(np.ceil((min(x0, x1, x2) - origin) / spacing)))
        right = min(n - 1, int(np.floor((max(x0, x1, x2) - origin) / spacing)))
        top = max(0, int(np.ceil((min(y0, y1, y2) - origin) / spacing)))
        bottom = min(n - 1, int(np.floor((max(y0, y1, y2) - origin) / spacing)))
        for row in range(top, bottom + 1):
            y = origin + row * spacing
            for column in range(left, right + 1):
                x = origin + column * spacing
                a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                if a < 0 or b < 0 or a + b > 1:
                    continue
                z = a * z0 + b * z1 + (1 - a - b) * z2
                for k in range(max(0, int(np.ceil((z - origin) / spacing))), n):
                    odd[k, row, column] ^= 1


def signed_distance(corners: Floats, origin: float, spacing: float, n: int, band: float) -> Floats:
    """(n, n, n) distances to a closed surface, negative inside: exact within `band`, and growing beyond it."""
    near = nearest(corners, origin, spacing, n, band)
    far = ndimage.distance_transform_edt(near.face < 0).astype(np.float32) * np.float32(spacing)
    length = np.where(near.face < 0, np.float32(band) + far, near.distance)
    return np.where(inside(corners, origin, spacing, n), -length, length).astype(np.float32)


def fill(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """`values` (n, n, n, C) with those of the nearest `known` point where it is not."""
    index = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.ascontiguousarray(values[tuple(index)])
