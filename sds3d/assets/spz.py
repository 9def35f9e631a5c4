"""Niantic's .spz, versions 2 and 3 (github.com/nianticlabs/spz), and antimatter15's .splat."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import SH0, Floats, Gaussians
from sds3d.assets.limits import Broken, splats_within
from sds3d.assets.source import Source
from sds3d.assets.splat_ply import EDGE, with_largest

MAGIC, HEADER = b"NGSP", struct.Struct("<4sIIBBBB")  # magic, version, count, degree, fraction bits, flags, reserved
EXTENDED = 2  # flag: records of other makers follow the header
COLOR = 0.15  # what a harmonic is multiplied with, so that colours beyond [0, 1] fit
SCALE_STEP, SCALE_LOW = 1 / 16, -10.0
RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])  # of a .splat


def read_spz(source: Source) -> Gaussians:
    """Gaussians with +Y up and +Z towards the viewer, as the format says. Never more is unpacked than the header's
    count needs."""
    unpacker = zlib.decompressobj(31)
    head = unpacker.decompress(source.data, HEADER.size)
    if len(head) < HEADER.size or head[:4] != MAGIC:
        raise Broken("is compressed, but no .spz")
    _, version, count, degree, fraction, flags, _ = HEADER.unpack(head)
    if version not in (2, 3) or degree > 3 or flags & EXTENDED:
        raise Broken(f"is .spz version {version}, degree {degree}, flags {flags}: 2 or 3, up to 3, plain ones are read")
    splats_within(count)
    harmonics = (degree + 1) ** 2 - 1
    widths = (9, 1, 3, 3, 4 if version == 3 else 3, 3 * harmonics)
    wanted = count * sum(widths)
    data = unpacker.decompress(unpacker.unconsumed_tail, wanted) if wanted else b""
    if len(data) != wanted:
        raise Broken(f"ends early: {len(data):,} of {wanted:,} bytes for its {count:,} Gaussians")
    parts, at = [], 0
    for width in widths:
        parts.append(np.frombuffer(data, np.uint8, count * width, at).reshape(count, width))
        at += count * width
    means, alphas, colors, scales, quats, rest = parts
    alpha = (alphas[:, 0] / 255.0).clip(EDGE, 1 - EDGE)
    constant = (colors / 255.0 - 0.5) / COLOR
    higher = (rest.astype(np.float64) - 128) / 128
    return Gaussians(
        means=(fixed_point(means) / 2.0**fraction).astype(np.float32),
        scales=(scales * SCALE_STEP + SCALE_LOW).astype(np.float32),
        quats=_smallest_three(quats) if version == 3 else _first_three(quats),
        opacities=np.log(alpha / (1 - alpha)).astype(np.float32),
        sh=np.concatenate([constant[:, None], higher.reshape(count, harmonics, 3)], 1).astype(np.float32),
    )


def fixed_point(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(N, 3) signed numbers of three bytes each, the lowest first."""
    wide = np.zeros((len(data), 3, 4), np.uint8)
    wide[..., 1:] = data.reshape(-1, 3, 3)
    return wide.view("<i4")[..., 0] >> 8


def _smallest_three(data: NDArray[np.uint8]) -> Floats:
    """A word per quaternion x y z w: index of the largest (2 bits), then sign and 9 bits for each of the others."""
    word = np.ascontiguousarray(data).view("<u4")[:, 0]
    fields = np.stack([(word >> shift) & 1023 for shift in (20, 10, 0)], -1)
    others = (fields & 511) / 511 * np.sqrt(0.5) * np.where(fields >> 9, -1, 1)
    return np.ascontiguousarray(with_largest(others, word >> 30)[:, [3, 0, 1, 2]])


def _first_three(data: NDArray[np.uint8]) -> Floats:
    xyz = data / 127.5 - 1
    return with_largest(xyz, np.zeros(len(xyz), int))  # w, the first, is not negative and follows from the others


def read_splat(source: Source) -> Gaussians:
    """Records of 32 bytes without a header; in the axes of a 3DGS .ply."""
    if len(source.data) % RECORD.itemsize:
        raise Broken(f"is no .splat: its size is no multiple of {RECORD.itemsize}")
    splats_within(len(source.data) // RECORD.itemsize)
    rows = np.frombuffer(source.data, RECORD)
    rgba = rows["rgba"] / 255.0
    alpha = rgba[:, 3].clip(EDGE, 1 - EDGE)
    return Gaussians(
        means=rows["mean"].copy(),
        scales=np.log(np.maximum(rows["scale"], 1e-12)),
        quats=(rows["quat"].astype(np.float32) - 128) / 128,
        opacities=np.log(alpha / (1 - alpha)).astype(np.float32),
        sh=((rgba[:, None, :3] - 0.5) / SH0).astype(np.float32),
    )
