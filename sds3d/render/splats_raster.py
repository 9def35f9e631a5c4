"""Numba kernels that sort Gaussians into tiles and composite them, forward and backward.

Each call runs one fixed piece of work and writes to memory of its own. `shade` (1 or B, N, 4) holds r, g, b, opacity;
`screen` and the gradient buffers are described in splats_projection.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sds3d.render import projection
from sds3d.render.jit import inlined, kernel
from sds3d.render.splats_projection import CULLED

TILE = 8
PIXELS = TILE * TILE

# Planes of a tile's working memory: forward, and where it differs backward. Unsigned, so that indexing needs no check.
X, Y, RED, GREEN, BLUE, DEPTH, TRANS, ALIVE, LAST = (np.uint64(i * PIXELS) for i in range(9))
BEHIND = ALIVE
PLANES = 9

# The kernels see these as float32 literals.
_MIN_ALPHA, _MAX_ALPHA = np.float32(projection.MIN_ALPHA), np.float32(projection.MAX_ALPHA)
_MIN_T = np.float32(projection.MIN_TRANSMITTANCE)
_0, _HALF, _1, _2 = (np.float32(c) for c in (0.0, 0.5, 1.0, 2.0))
_LOG2E, _LN2_HI, _LN2_LO = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_C3, _C4, _C5 = np.float32(1 / 6), np.float32(4.1665795894e-2), np.float32(8.3334519073e-3)
_C6, _C7 = np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)


@inlined
def exp(x: Any) -> Any:
    """exp(x) for x <= 0 to 2 ulp, in operations a compiler turns into vector code (Cephes' expf)."""
    x = min(max(x, np.float32(-80.0)), _0)
    k = np.floor(x * _LOG2E + _HALF)
    r = x - k * _LN2_HI - k * _LN2_LO
    tail = ((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _HALF
    return (tail * r * r + r + _1) * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def _box(screen: Any, b: int, i: int, side: int) -> Any:
    """First and last tile of Gaussian i, in x and in y."""
    u, v, rx, ry = screen[b, i, 0], screen[b, i, 1], screen[b, i, 6], screen[b, i, 7]
    x0, x1 = max(0, int(math.floor((u - rx) / TILE))), min(side, int(math.floor((u + rx) / TILE)) + 1)
    y0, y1 = max(0, int(math.floor((v - ry) / TILE))), min(side, int(math.floor((v + ry) / TILE)) + 1)
    return x0, x1, y0, y1


@kernel
def count_hits(screen, offsets, side, first, last):  # type: ignore[no-untyped-def]
    """Number of Gaussians per tile, at offsets[view, tile + 1], for views first..last."""
    for b in range(first, last):
        for i in range(screen.shape[1]):
            if screen[b, i, 6] > _0:
                x0, x1, y0, y1 = _box(screen, b, i, side)
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        offsets[b, y * side + x + 1] += 1


@kernel
def fill_hits(screen, keys, offsets, hits, side, first, last):  # type: ignore[no-untyped-def]
    """Gaussians of every tile in depth order, for views first..last."""
    for b in range(first, last):
        cursor = offsets[b].copy()
        for key in keys[b]:
            if key >= CULLED:
                break
            i = key & 0xFFFFFFFF
            x0, x1, y0, y1 = _box(screen, b, i, side)
            for y in range(y0, y1):
                for x in range(x0, x1):
                    hits[cursor[y * side + x]] = i
                    cursor[y * side + x] += 1


@inlined
def _coordinates(s: Any) -> None:
    """Pixel centres relative to the tile."""
    for p in range(PIXELS):
        s[X + np.uint64(p)] = np.float32(p % TILE) + _HALF
        s[Y + np.uint64(p)] = np.float32(p // TILE) + _HALF


@inlined
def _span(v: Any, ry: Any) -> Any:
    """First and last pixel of the tile's rows within ry of v; pairs of rows, so that loops are whole vectors."""
    first = max(_0, _2 * np.floor(_HALF * (v - ry)))
    last = min(np.float32(TILE), _2 * np.floor(_HALF * (v + ry)) + _2)
    return np.uint64(first) * np.uint64(TILE), np.uint64(max(first, last)) * np.uint64(TILE)


@kernel
def raster_forward(screen, shade, offsets, hits, image, last, side, b, row0, row1):  # type: ignore[no-untyped-def]
    """Tiles of rows row0..row1 of view b: image (B, 5, H, W) rgb, depth, transmittance; last hit of every pixel."""
    size = image.shape[2]
    paint = shade[b if len(shade) > 1 else 0]
    s = np.empty(PLANES * PIXELS, np.float32)
    _coordinates(s)
    for tile in range(row0 * side, row1 * side):
        left, top = (tile % side) * TILE, (tile // side) * TILE
        s[RED:TRANS] = _0
        s[TRANS:LAST] = _1
        s[LAST:] = -_1
        first = offsets[b, tile]
        for k in range(first, offsets[b, tile + 1]):
            i = hits[k]
            u, v = screen[b, i, 0] - np.float32(left), screen[b, i, 1] - np.float32(top)
            xx, xy, yy, z = screen[b, i, 2], screen[b, i, 3], screen[b, i, 4], screen[b, i, 5]
            red, green, blue, opacity = paint[i, 0], paint[i, 1], paint[i, 2], paint[i, 3]
            here = np.float32(k - first)
            p0, p1 = _span(v, screen[b, i, 7])
            for p in range(p0, p1):
                dx, dy = s[X + p] - u, s[Y + p] - v
                power = _HALF * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                alpha = min(opacity * exp(-power), _MAX_ALPHA)
                t, alive, deepest = s[TRANS + p], s[ALIVE + p], s[LAST + p]
                alpha = alpha * alive if alpha >= _MIN_ALPHA else _0
                after = t * (_1 - alpha)
                over = after <= _MIN_T  # never true of a finished pixel, whose alpha is 0 and t above the limit
                w = _0 if over else alpha * t
                s[RED + p] += w * red
                s[GREEN + p] += w * green
                s[BLUE + p] += w * blue
                s[DEPTH + p] += w * z
                s[TRANS + p] = t if over else after
                s[ALIVE + p] = _0 if over else alive
                s[LAST + p] = here if w > _0 else deepest
            if (k - first) % 16 == 15:
                remaining = _0
                for p in range(ALIVE, LAST):
                    remaining += s[p]
                if remaining == _0:
                    break
        for p in range(PIXELS):
            last[b, tile, p] = s[LAST + np.uint64(p)]
        for y in range(min(TILE, size - top)):
            for x in range(min(TILE, size - left)):
                for c in range(5):
                    image[b, c, top + y, left + x] = s[(c + 2) * PIXELS + y * TILE + x]


@kernel
def raster_backward(  # type: ignore[no-untyped-def]
    screen, shade, offsets, hits, image, last, upstream, buffers, absolute, side, piece, b, row0, row1
):  # fmt: skip
    """Adds the gradients of the tiles of rows row0..row1 of view b to buffers[piece] (N, 10), and to absolute[piece]
    (N, 2) the sums over pixels of |dL/d mean2d|. With None for `absolute` the compiler leaves the latter out."""
    size = image.shape[2]
    paint = shade[b if len(shade) > 1 else 0]
    s = np.empty(PLANES * PIXELS, np.float32)  # RED .. DEPTH hold upstream gradients here
    _coordinates(s)
    for tile in range(row0 * side, row1 * side):
        left, top = (tile % side) * TILE, (tile // side) * TILE
        s[RED:] = _0
        deepest = -_1
        for p in range(PIXELS):
            s[LAST + np.uint64(p)] = last[b, tile, p]
            deepest = max(deepest, last[b, tile, p])
        for y in range(min(TILE, size - top)):
            for x in range(min(TILE, size - left)):
                p = np.uint64(y * TILE + x)
                for c in range(4):
                    s[RED + np.uint64(c * PIXELS) + p] = upstream[b, c, top + y, left + x]
                s[TRANS + p] = image[b, 4, top + y, left + x]
                s[BEHIND + p] = upstream[b, 4, top + y, left + x] * s[TRANS + p]
        first = offsets[b, tile]
        for k in range(first + int(deepest), first - 1, -1):
            i = hits[k]
            u, v = screen[b, i, 0] - np.float32(left), screen[b, i, 1] - np.float32(top)
            xx, xy, yy, z = screen[b, i, 2], screen[b, i, 3], screen[b, i, 4], screen[b, i, 5]
            red, green, blue, opacity = paint[i, 0], paint[i, 1], paint[i, 2], paint[i, 3]
            here = np.float32(k - first)
            p0, p1 = _span(v, screen[b, i, 7])
            g0, gx, gy, gxx, gxy, gyy, gr, gg, gb, gz = _0, _0, _0, _0, _0, _0, _0, _0, _0, _0
            ax, ay = _0, _0
            for p in range(p0, p1):
                dx, dy = s[X + p] - u, s[Y + p] - v
                power = _HALF * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                raw = opacity * exp(-power)
                alpha = min(raw, _MAX_ALPHA)
                alpha = alpha if raw >= _MIN_ALPHA else _0
                alpha = alpha if here <= s[LAST + p] else _0
                inverse = _1 / (_1 - alpha)
                t = s[TRANS + p] * inverse
                s[TRANS + p] = t
                w = alpha * t
                light = s[RED + p] * red + s[GREEN + p] * green + s[BLUE + p] * blue + s[DEPTH + p] * z
                behind = s[BEHIND + p]
                h = (t * light - behind * inverse) * alpha
                h = h if raw <= _MAX_ALPHA else _0
                s[BEHIND + p] = behind + w * light
                gr += w * s[RED + p]
                gg += w * s[GREEN + p]
                gb += w * s[BLUE + p]
                gz += w * s[DEPTH + p]
                g0 += h
                gx += h * dx
                gy += h * dy
                gxx += h * dx * dx
                gxy += h * dx * dy
                gyy += h * dy * dy
                if absolute is not None:
                    ax += abs(h * (xx * dx + xy * dy))
                    ay += abs(h * (xy * dx + yy * dy))
            buffers[piece, i, 0] += g0
            buffers[piece, i, 1] += gx
            buffers[piece, i, 2] += gy
            buffers[piece, i, 3] += gxx
            buffers[piece, i, 4] += gxy
            buffers[piece, i, 5] += gyy
            buffers[piece, i, 6] += gr
            buffers[piece, i, 7] += gg
            buffers[piece, i, 8] += gb
            buffers[piece, i, 9] += gz
            if absolute is not None:
                absolute[piece, i, 0] += ax
                absolute[piece, i, 1] += ay
