"""Gaussians in .ply: the layout of Kerbl et al. 2023 and SuperSplat's compressed one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import DEGREES, SH0, Floats, Gaussians
from sds3d.assets.limits import Broken, splats_within
from sds3d.assets.ply_document import Header, read_header, read_tables
from sds3d.assets.source import Data, Source

CHUNK = 256  # Gaussians that share their ranges in a compressed .ply
EDGE = 1e-6  # from 0 and 1, of opacities that are stored as whole numbers


def read_splat_ply(source: Source) -> Gaussians:
    """Either layout, in the file's own axes."""
    header = read_header(source.data)
    splats_within(header["vertex"].count)
    if header.has("vertex", "packed_position"):
        return unpack(header, source.data)
    vertex = read_tables(source.data, header, ("vertex",))["vertex"]
    rest = [name for name in vertex.dtype.names or () if name.startswith("f_rest_")]
    higher = columns(vertex, *(f"f_rest_{i}" for i in range(len(rest))))
    return Gaussians(
        means=columns(vertex, "x", "y", "z"),
        scales=columns(vertex, "scale_0", "scale_1", "scale_2"),
        quats=columns(vertex, "rot_0", "rot_1", "rot_2", "rot_3"),
        opacities=vertex["opacity"].astype(np.float32),
        sh=coefficients(columns(vertex, "f_dc_0", "f_dc_1", "f_dc_2"), higher),
    )


def columns(table: NDArray[Any], *names: str) -> Floats:
    """(N, number of names) float32; Broken for a column that is not there."""
    out = np.empty((len(table), len(names)), np.float32)
    for i, name in enumerate(names):
        if name not in (table.dtype.names or ()):
            raise Broken(f"has Gaussians without {name}")
        out[:, i] = table[name]
    return out


def coefficients(constant: Floats, higher: Floats) -> Floats:
    """(N, K, 3) of (N, 3) and of the files' (N, 3 (K - 1)), which has all of red first."""
    if higher.shape[1] % 3 or higher.shape[1] // 3 + 1 not in DEGREES:
        raise Broken(f"has {higher.shape[1]} f_rest columns, where 0, 9, 24 or 45 are read")
    rest = higher.reshape(len(higher), 3, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(np.concatenate([constant[:, None], rest], 1))


def unpack(header: Header, data: Data) -> Gaussians:
    """The compressed layout: positions and log scales in 11, 10 and 11 bits of their chunk's range, colours and opacity
    in 8, three of a quaternion's components in 10."""
    tables = read_tables(data, header, ("chunk", "vertex", "sh") if header.has("sh") else ("chunk", "vertex"))
    chunk, vertex = tables["chunk"], tables["vertex"]
    if len(chunk) != -(-len(vertex) // CHUNK):
        raise Broken(f"has {len(chunk)} chunks for {len(vertex):,} Gaussians")
    of = np.arange(len(vertex)) // CHUNK
    names = [f"{end}_{kind}{axis}" for end in ("min", "max") for kind in ("", "scale_") for axis in "xyz"]
    low_x, low_s, high_x, high_s = np.split(columns(chunk, *names)[of], 4, axis=1)
    color = bits(vertex["packed_color"], (8, 8, 8, 8))
    rgb: NDArray[Any] = color[:, :3]
    if header.has("chunk", "min_r"):
        low, high = np.split(columns(chunk, *(f"{end}_{c}" for end in ("min", "max") for c in "rgb"))[of], 2, axis=1)
        rgb = between(low, high, rgb)
    alpha = color[:, 3].clip(EDGE, 1 - EDGE)
    higher: NDArray[Any] = np.zeros((len(vertex), 0))
    if header.has("sh"):
        count = sum(name.startswith("f_rest_") for name in tables["sh"].dtype.names or ())
        steps = columns(tables["sh"], *(f"f_rest_{i}" for i in range(count)))
        higher = (np.where(steps == 0, 0, np.where(steps == 255, 256, steps + 0.5)) / 256 - 0.5) * 8
        if len(higher) != len(vertex):
            raise Broken(f"has harmonics for {len(higher):,} of {len(vertex):,} Gaussians")
    return Gaussians(
        means=between(low_x, high_x, bits(vertex["packed_position"], (11, 10, 11))),
        scales=between(low_s, high_s, bits(vertex["packed_scale"], (11, 10, 11))),
        quats=quaternions(vertex["packed_rotation"]),
        opacities=np.log(alpha / (1 - alpha)).astype(np.float32),
        sh=coefficients(((rgb - 0.5) / SH0).astype(np.float32), higher.astype(np.float32)),
    )


def bits(packed: NDArray[Any], widths: tuple[int, ...]) -> NDArray[np.float64]:
    """(N, number of widths) in [0, 1]: fields of a 32-bit word, the first one highest."""
    packed, at, fields = packed.astype(np.uint32), 32, []
    for width in widths:
        at -= width
        fields.append(((packed >> at) & ((1 << width) - 1)) / ((1 << width) - 1))
    return np.stack(fields, -1)


def between(low: Floats, high: Floats, share: NDArray[np.float64]) -> Floats:
    """From low to high by the share, all of one shape."""
    return (low * (1 - share) + high * share).astype(np.float32)


def quaternions(packed: NDArray[Any]) -> Floats:
    """(N, 4) wxyz from the index of the largest component (2 bits) and the other three over sqrt(1/2) (10 each)."""
    others = (bits(packed, (2, 10, 10, 10))[:, 1:] - 0.5) * np.sqrt(2)
    return with_largest(others, packed >> 30)


def with_largest(others: NDArray[np.float64], largest: NDArray[Any]) -> Floats:
    """(N, 4) unit quaternions: (N, 3) components in order, without the one at index `largest` (N,)."""
    rest = np.sqrt(np.maximum(0, 1 - (others**2).sum(1)))
    quats = np.empty((len(others), 4), np.float32)
    for k in range(4):
        rows = largest == k
        quats[rows] = np.insert(others[rows], k, rest[rows], axis=1)
    return quats
