"""Gaussians for the viewer: 22 bytes each and the harmonics, unpacked by static/splats.js.

Little-endian: count and degree (uint32), low corner and extent of the box (6 float32), least log scale and its span,
the harmonics' reach (3 float32); then whole columns: positions (N, 3) in 24 bits of the box, log scales (N, 3) in 8
bits of the span, quaternions wxyz (N, 4) int8, sRGB and opacity (N, 4) uint8, normals in an octahedron (N, 2) int8,
and where the degree is not 0 harmonics (N, K, 3) int8 of the reach, of which the first is what the sRGB in 8 bits
lacks. The largest error is 6e-8 of the box in place and half of 1/255 of the log span in size.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.view.normals import normals, octahedral

LEAST = np.log(1e-5)  # a smaller standard deviation is drawn like this one
BYTES = 22


def pack(splats: Gaussians, limit: int, harmonics: bool = True) -> bytes:
    """The bytes of at most `limit` Gaussians, those that cover most; what is not finite or not visible is left out.
    Without `harmonics` colours are the constant ones."""
    splats = splats[_most_visible(splats, limit)]
    count = len(splats)
    low, extent = _range(splats.means)
    sizes = splats.scales.clip(LEAST).reshape(-1, 1).astype(np.float64)
    least, span = _range(sizes)
    quats = splats.quats / np.linalg.norm(splats.quats, axis=1, keepdims=True).clip(1e-12)
    colors = splats.sh[:, 0] * SH0 + 0.5
    rgba = np.concatenate([colors, _opacity(splats)[:, None]], 1).clip(0, 1)
    columns = [
        _three_bytes(((splats.means - low) / extent * 0xFFFFFF).round().astype(np.uint32)),
        ((sizes - least) / span * 255).round().astype(np.uint8),
        (quats * 127).round().astype(np.int8),
        (rgba * 255).round().astype(np.uint8),
        octahedral(normals(splats)),
    ]
    degree, reach = splats.degree if harmonics else 0, 0.0
    if degree:
        rest = splats.sh.copy()
        rest[:, 0] -= ((rgba[:, :3] * 255).round() / 255 - 0.5) / SH0
        reach = max(float(np.abs(rest).max(initial=0)), 1e-9)
        columns.append((rest / reach * 127).round().astype(np.int8))
    header = struct.pack("<2I9f", count, degree, *low, *extent, *least, *span, reach)
    return header + b"".join(column.tobytes() for column in columns)


def _range(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and extent of each column, the extent above 0."""
    if not len(values):
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    low = values.min(0).astype(np.float64)
    return low, (values.max(0) - low).clip(1e-9)


def _three_bytes(values: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(N, 3) numbers below 2^24 -> (N, 3, 3) bytes, the lowest first."""
    return np.stack([values & 0xFF, values >> 8 & 0xFF, values >> 16], -1).astype(np.uint8)


def _opacity(splats: Gaussians) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-splats.opacities.astype(np.float64)))


def _most_visible(splats: Gaussians, limit: int) -> NDArray[np.intp]:
    """Indices, rising, of the finite and visible ones, the largest by opacity times area if there are too many."""
    parts = (splats.means, splats.scales, splats.quats, splats.opacities[:, None], splats.sh.reshape(len(splats), -1))
    finite = np.stack([np.isfinite(part).all(1) for part in parts]).all(0)
    opacity = _opacity(splats)
    keep = np.flatnonzero(finite & (opacity >= 1 / 255))
    if len(keep) <= limit:
        return keep
    ordered = np.sort(splats.scales[keep], 1)
    weight = np.log(opacity[keep]) + ordered[:, 1] + ordered[:, 2]
    return np.sort(keep[np.argpartition(-weight, limit - 1)[:limit]])
