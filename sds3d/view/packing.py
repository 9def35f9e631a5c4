"""Gaussians for the viewer: 20 bytes each, unpacked by static/splats.js.

Little-endian: count (uint32), low corner and extent of the box (6 float32), least log scale and its span (2 float32);
then whole columns: positions (N, 3) in 24 bits of the box, log scales (N, 3) in 8 bits of the span, quaternions wxyz
(N, 4) int8, sRGB and opacity (N, 4) uint8. The largest error is 6e-8 of the box in place and half of 1/255 of the log
span in size.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sds3d.export.splats import Splats

LEAST = 1e-5  # a smaller standard deviation is drawn like this one


def pack(splats: Splats, limit: int) -> bytes:
    """The bytes of at most `limit` Gaussians, those that cover most; what is not finite or not visible is left out."""
    means, scales, quats, colors = (
        part.detach().cpu().numpy().astype(np.float64)
        for part in (splats.means, splats.scales, splats.quats, splats.colors)
    )
    opacities = splats.opacities.detach().cpu().numpy().astype(np.float64)
    scales = scales.clip(LEAST)
    keep = _most_visible(means, scales, quats, opacities, colors, limit)
    means, scales, quats, colors = (part[keep] for part in (means, scales, quats, colors))
    low = means.min(0) if len(means) else np.zeros(3)
    extent = np.maximum(np.ptp(means, 0) if len(means) else np.zeros(3), 1e-9)
    sizes = np.log(scales)
    least = sizes.min() if len(sizes) else 0.0
    span = max(float(np.ptp(sizes)) if len(sizes) else 0.0, 1e-9)
    quats = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    rgba = np.concatenate([colors, opacities[keep, None]], 1).clip(0, 1) * 255
    columns = [
        _three_bytes(((means - low) / extent * 0xFFFFFF).round().astype(np.uint32)),
        ((sizes - least) / span * 255).round().astype(np.uint8),
        (quats * 127).round().astype(np.int8),
        rgba.round().astype(np.uint8),
    ]
    header = struct.pack("<I8f", len(means), *low, *extent, least, span)
    return header + b"".join(column.tobytes() for column in columns)


def _three_bytes(values: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(N, 3) numbers below 2^24 -> (N, 3, 3) bytes, the lowest first."""
    return np.stack([values & 0xFF, values >> 8 & 0xFF, values >> 16], -1).astype(np.uint8)


def _most_visible(
    means: NDArray[np.float64],
    scales: NDArray[np.float64],
    quats: NDArray[np.float64],
    opacities: NDArray[np.float64],
    colors: NDArray[np.float64],
    limit: int,
) -> NDArray[np.intp]:
    """Indices, rising, of the finite and visible ones, the largest by opacity times area if there are too many."""
    finite = np.isfinite(np.concatenate([means, scales, quats, opacities[:, None], colors], 1)).all(1)
    keep = np.flatnonzero(finite & (opacities >= 1 / 255))
    if len(keep) <= limit:
        return keep
    ordered = np.sort(scales[keep], 1)
    weight = opacities[keep] * ordered[:, 1] * ordered[:, 2]
    return np.sort(keep[np.argpartition(-weight, limit - 1)[:limit]])
