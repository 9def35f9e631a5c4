"""The noise field on the CPU: a numba kernel that finds the voxels of each pixel and sums their numbers at once.

The numbers are those of noise_field.py and counter_noise.py. Every pixel is on its own, so results are the same bytes
for any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sds3d.guidance.base import View
from sds3d.guidance.counter_noise import FIRST, SECOND, jump, number, renewal
from sds3d.guidance.surface import covered_depth
from sds3d.render.jit import in_parallel, inlined, kernel, ranges

PIECES = 16  # pieces of work a step is cut into, whatever the number of threads

# The kernel sees these as literals of their types.
_FIRST, _SECOND = np.uint64(FIRST), np.uint64(SECOND)
_27, _30, _31, _41, _LOW = (np.uint64(n) for n in (27, 30, 31, 41, 0xFFFFFF))
_HALF, _2, _BIT, _TURN = (np.float32(x) for x in (0.5, 2.0, 2.0**-23, 2 * math.pi / 2**24))


def drawn(
    view: View,
    background: Tensor,
    texels: int,
    edge: float,
    opaque: float,
    bits: int,
    salt: int,
    step: int,
    gamma: float,
) -> Tensor:
    """`background` (B, C, n, n) with the field in the pixels that see voxels; float32.

    `edge` is a voxel's, `opaque` the coverage from which there is a surface, `bits` those of an index along an axis.
    """
    out = background.float().contiguous().clone()
    _, channels, size, _ = out.shape
    weights = renewal(step, gamma)
    jumps = [[jump(number(lane, draw)) for draw in weights] for lane in range(channels)]
    cameras = view.cameras
    fixed = (
        covered_depth(view, 2 * texels * size).detach().double().contiguous().numpy(),
        *(v.double().contiguous().numpy() for v in (cameras.world_to_camera(), cameras.positions, cameras.focal(2))),
        (2 * texels, edge, opaque, bits, salt),
        np.array(jumps, np.uint64),
        np.array(list(weights.values()), np.float32),
        out.numpy(),
    )
    blocks = ranges(size, max(1, PIECES // len(out)))
    in_parallel(_draw, [(b, *rows, *fixed) for b in range(len(out)) for rows in blocks])
    return out


@kernel
def _draw(b, first, last, covered, matrices, positions, focals, options, jumps, weights, out):  # type: ignore[no-untyped-def]
    """Rows first..last of out[b]."""
    side, edge, opaque, bits, salt = options
    size = out.shape[2]
    camera = matrices[b], positions[b], focals[b]
    lines = np.empty((2, covered.shape[3]))
    depth = np.empty((side, side * size))  # of the row's points, 0 where nothing is covered
    tried, kept = np.empty(side * side, np.int64), np.empty(side * side, np.int64)
    sums = np.empty(len(jumps), np.float32)
    for row in range(first, last):
        for s in range(side):
            _read(covered[b], row * side + s, opaque, lines, depth[s])
        for column in range(size):
            found = _voxels(row, column, depth, size, camera, edge, bits, tried, kept)
            if found:
                _sum(kept[:found], salt, jumps, weights, sums)
                for lane in range(len(sums)):
                    out[b, lane, row, column] = sums[lane] / np.float32(math.sqrt(found))


@inlined
def _place(i, fine, n):  # type: ignore[no-untyped-def]
    """Where point i of `fine` lies between n pixels: the one before, the one after, the share of the latter."""
    at = max((i + 0.5) * n / fine - 0.5, 0.0)
    before = int(at)
    return before, min(before + 1, n - 1), at - before


@inlined
def _read(covered, line, opaque, lines, depth):  # type: ignore[no-untyped-def]
    """Mean depth of what is covered along a line of points, bilinear."""
    fine, n = len(depth), covered.shape[1]
    before, after, share = _place(line, fine, n)
    for i in range(n):
        for k in range(2):
            lines[k, i] = covered[k, before, i] * (1 - share) + covered[k, after, i] * share
    for i in range(fine):
        before, after, share = _place(i, fine, n)
        coverage = lines[1, before] * (1 - share) + lines[1, after] * share
        depth[i] = 0.0
        if coverage > opaque:
            depth[i] = (lines[0, before] * (1 - share) + lines[0, after] * share) / coverage


@inlined
def _voxels(row, column, depth, size, camera, edge, bits, tried, kept):  # type: ignore[no-untyped-def]
    """Write the voxels of a pixel to `kept`: its points lie in them and their centres project into it. Their number."""
    matrix, position, focal = camera
    side = len(depth)
    middle = 1 << (bits - 1)
    seen = found = 0
    for s in range(side):
        y = ((row * side + s + 0.5) / (side * size) * 2 - 1) / focal
        for q in range(side):
            d = depth[s, column * side + q]
            if d == 0:
                continue
            x = ((column * side + q + 0.5) / (side * size) * 2 - 1) / focal
            i = math.floor(((x * matrix[0, 0] + y * matrix[1, 0] + matrix[2, 0]) * d + position[0]) / edge)
            j = math.floor(((x * matrix[0, 1] + y * matrix[1, 1] + matrix[2, 1]) * d + position[1]) / edge)
            k = math.floor(((x * matrix[0, 2] + y * matrix[1, 2] + matrix[2, 2]) * d + position[2]) / edge)
            key = (int(i) + middle) << (2 * bits) | (int(j) + middle) << bits | (int(k) + middle)
            if _among(tried, seen, key):
                continue
            tried[seen] = key
            seen += 1
            if _lands(((i + 0.5) * edge, (j + 0.5) * edge, (k + 0.5) * edge), matrix, focal, size, row, column):
                kept[found] = key
                found += 1
    return found


@inlined
def _among(keys, n, key):  # type: ignore[no-untyped-def]
    i = n - 1  # neighbours came last
    while i >= 0 and keys[i] != key:
        i -= 1
    return i >= 0


@inlined
def _lands(point, matrix, focal, size, row, column):  # type: ignore[no-untyped-def]
    """Whether a point projects into the pixel."""
    x, y, z = point
    scale = focal / max(matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3], 1e-6)
    u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]) * scale
    v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]) * scale
    return math.floor((u + 1) / 2 * size) == column and math.floor((v + 1) / 2 * size) == row


@inlined
def _sum(voxels, salt, jumps, weights, sums):  # type: ignore[no-untyped-def]
    """sums[lane] = sum over voxels and draws of their weighted Gaussians."""
    sums[:] = 0
    for voxel in voxels:
        key = _mix(np.uint64(voxel ^ salt))
        for lane in range(len(sums)):
            for i in range(len(weights)):
                bits = _mix(key + jumps[lane, i])
                radius = math.sqrt(-_2 * math.log((np.float32(np.int64(bits >> _41)) + _HALF) * _BIT))
                sums[lane] += weights[i] * radius * math.cos(np.float32(np.int64(bits & _LOW)) * _TURN)


@inlined
def _mix(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser on uint64."""
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)
