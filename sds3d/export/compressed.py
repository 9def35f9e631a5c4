"""SuperSplat's compressed .ply: 16 bytes a Gaussian in chunks of 256 that lie together in space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import SH0, Floats, Gaussians
from sds3d.assets.splat_ply import CHUNK
from sds3d.files import write_bytes

PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def write_compressed_ply(path: Path, splats: Gaussians) -> list[Path]:
    """Steps: positions and log scales 1/2047 of their chunk's range (1/1023 along Y), colours 1/255 of it, opacities
    1/255, higher harmonics 1/32 within [-4, 4], quaternion components 1/723. The order becomes that of space."""
    splats = splats[np.argsort(morton(splats.means), kind="stable")]
    count, chunks = len(splats), -(-len(splats) // CHUNK)
    colors = splats.sh[:, 0] * SH0 + 0.5
    alpha = 1 / (1 + np.exp(-splats.opacities.astype(np.float64)))
    ranges, shares = zip(*(_chunked(part, chunks) for part in (splats.means, splats.scales, colors)), strict=True)
    words = np.stack(
        [
            pack(shares[0], (11, 10, 11)),
            rotations(splats.quats),
            pack(shares[1], (11, 10, 11)),
            pack(np.concatenate([shares[2], alpha[:, None]], 1), (8, 8, 8, 8)),
        ],
        1,
    )
    rest = splats.sh[:, 1:].transpose(0, 2, 1).reshape(count, -1).astype(np.float64)
    axes = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
    bounds = [f"{end}_{name}" for names in axes for end in ("min", "max") for name in names]
    header = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    header += [f"property float {name}" for name in bounds]
    header += [f"element vertex {count}", *(f"property uint {name}" for name in PACKED)]
    if rest.shape[1]:
        header += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(rest.shape[1]))]
    data = "\n".join([*header, "end_header", ""]).encode()
    data += np.concatenate(ranges, 1).astype("<f4").tobytes() + words.astype("<u4").tobytes()
    return [write_bytes(path, data + np.floor((rest / 8 + 0.5) * 256).clip(0, 255).astype(np.uint8).tobytes())]


def morton(means: Floats) -> NDArray[np.int64]:
    """(N,) place along the Z-order curve of a grid of 1024^3 over the points."""
    low = means.min(0)
    cells = ((means - low) / np.maximum(means.max(0) - low, 1e-30) * 1023).astype(np.int64)
    code = np.zeros(len(means), np.int64)
    for bit in range(10):
        code |= (((cells >> bit) & 1) << (3 * bit + np.arange(3))).sum(1)
    return code


def _chunked(values: Floats, chunks: int) -> tuple[Floats, NDArray[np.float64]]:
    """Per chunk its least and greatest values (chunks, 6), and every row's place between them (N, 3) in [0, 1]."""
    padded = np.concatenate([values, np.repeat(values[-1:], chunks * CHUNK - len(values), axis=0)])
    blocks = padded.reshape(chunks, CHUNK, 3)
    low, high = blocks.min(1), blocks.max(1)
    span = np.maximum((high - low).astype(np.float64), 1e-30)[:, None]  # a chunk of equal values: all at its lower end
    share = ((blocks - low[:, None]) / span).reshape(-1, 3)[: len(values)]
    return np.concatenate([low, high], 1), share


def pack(shares: NDArray[np.float64], widths: tuple[int, ...]) -> NDArray[np.int64]:
    """(N,) words of numbers in [0, 1] (N, number of widths), the first one in the highest bits."""
    word = np.zeros(len(shares), np.int64)
    for k, width in enumerate(widths):
        top = (1 << width) - 1
        word = word << width | np.floor(shares[:, k] * top + 0.5).clip(0, top).astype(np.int64)
    return word


def rotations(quats: Floats) -> NDArray[np.int64]:
    """(N,) words: which of w x y z is largest (2 bits), and the others over sqrt(2), from -1/2 to 1/2 (10 each)."""
    unit = quats.astype(np.float64) / np.linalg.norm(quats.astype(np.float64), axis=1, keepdims=True)
    largest = np.abs(unit).argmax(1)
    unit *= np.where(unit[np.arange(len(unit)), largest] < 0, -1, 1)[:, None]
    others = unit[np.arange(4) != largest[:, None]].reshape(-1, 3)
    return largest << 30 | pack(others * np.sqrt(0.5) + 0.5, (10, 10, 10))
