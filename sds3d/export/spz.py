"""Niantic's .spz, version 3: fixed-point columns, one behind the other, in gzip (github.com/nianticlabs/spz)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import Floats, Gaussians
from sds3d.assets.spz import COLOR, HEADER, MAGIC, SCALE_LOW, SCALE_STEP
from sds3d.errors import UserError
from sds3d.files import write_bytes

VERSION = 3
FINEST = 16  # bits after the point, at most: finer positions only make the file longer
LARGEST = 2**23 - 1  # of a signed number of 24 bits


def write_spz(path: Path, splats: Gaussians) -> list[Path]:
    """Gaussians with +Y up. Steps: positions 2^-16 (coarser beyond 128 units), log scales 1/16, opacities 1/255,
    constant harmonics 1/38, higher ones 1/128 within [-1, 1], quaternion components 1/723."""
    fraction = fraction_bits(splats.means)
    steps = np.round(splats.means.astype(np.float64) * 2.0**fraction).astype("<i4")
    alpha = 1 / (1 + np.exp(-splats.opacities.astype(np.float64)))
    parts = [
        np.ascontiguousarray(steps)[..., None].view(np.uint8)[..., :3],
        _bytes(alpha * 255),
        _bytes((splats.sh[:, 0] * COLOR + 0.5) * 255),
        _bytes((splats.scales - SCALE_LOW) / SCALE_STEP),
        smallest_three(splats.quats).astype("<u4"),
        _bytes(splats.sh[:, 1:] * 128.0 + 128),
    ]
    head = HEADER.pack(MAGIC, VERSION, len(splats), splats.degree, fraction, 0, 0)
    body = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return [write_bytes(path, gzip.compress(head + body, mtime=0))]


def fraction_bits(means: Floats) -> int:
    """Bits after the point: as many as the farthest coordinate leaves of 24, at most FINEST."""
    extent = float(np.abs(means).max(initial=1e-6))
    bits = int(np.floor(np.log2(LARGEST / extent)))
    if bits < 0:
        raise UserError(f".spz cannot hold positions as far out as {extent:.3g}: choose another format")
    return min(bits, FINEST)


def smallest_three(quats: Floats) -> NDArray[np.uint32]:
    """(N,) words: which of x y z w is largest (2 bits), then sign and 9 bits of size for each of the others."""
    xyzw = quats[:, [1, 2, 3, 0]].astype(np.float64)
    xyzw /= np.linalg.norm(xyzw, axis=1, keepdims=True)
    largest = np.abs(xyzw).argmax(1)
    rows = np.arange(len(xyzw))
    xyzw *= np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    others = xyzw[np.arange(4) != largest[:, None]].reshape(-1, 3)
    fields = (others < 0).astype(np.uint32) << 9 | np.floor(511 * np.abs(others) / np.sqrt(0.5) + 0.5).astype(np.uint32)
    word = largest.astype(np.uint32)
    for k in range(3):
        word = word << 10 | fields[:, k]
    return word


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return values.round().clip(0, 255).astype(np.uint8)
