"""Niantic's .spz, versions 2 to 4 (github.com/nianticlabs/spz), and antimatter15's .splat."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gaussians import SH0, Floats, Gaussians
from sds3d.assets.limits import Broken, splats_within
from sds3d.assets.source import Data, Source
from sds3d.assets.splat_ply import EDGE, with_largest

MAGIC, HEADER = b"NGSP", struct.Struct("<4sIIBBBB")  # magic, version, count, degree, fraction bits, flags, reserved
EXTENDED = 2  # flag: records of other makers follow the header
LARGEST_WINDOW = 1 << 27  # bytes that a zstd stream may look back
COLUMNS = ("positions", "opacities", "colours", "scales", "rotations", "harmonics")
COLOR = 0.15  # what a harmonic is multiplied with, so that colours beyond [0, 1] fit
SCALE_STEP, SCALE_LOW = 1 / 16, -10.0
RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])  # of a .splat


def read_spz(source: Source) -> Gaussians:
    """Gaussians with +Y up and +Z towards the viewer, as the format says. Never more is unpacked than the header's
    count needs."""
    layout, columns = _zstd_columns(source.data) if source.data[:4] == MAGIC else _gzip_columns(source.data)
    means, alphas, colors, scales, quats, rest = columns
    alpha = (alphas[:, 0] / 255.0).clip(EDGE, 1 - EDGE)
    constant = (colors / 255.0 - 0.5) / COLOR
    higher = ((rest.astype(np.float64) - 128) / 128).reshape(layout.number, rest.shape[1] // 3, 3)
    return Gaussians(
        means=(fixed_point(means) / 2.0**layout.fraction).astype(np.float32),
        scales=(scales * SCALE_STEP + SCALE_LOW).astype(np.float32),
        quats=_first_three(quats) if layout.version == 2 else _smallest_three(quats),
        opacities=np.log(alpha / (1 - alpha)).astype(np.float32),
        sh=np.concatenate([constant[:, None], higher.reshape(layout.number, rest.shape[1] // 3, 3)], 1).astype(
            np.float32
        ),
    )


class Layout(NamedTuple):
    """What the header of an .spz says."""

    version: int
    number: int  # of Gaussians
    degree: int
    fraction: int  # bits after the point of a coordinate
    flags: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes a Gaussian: position, opacity, colour, scale, rotation, higher harmonics."""
        return 9, 1, 3, 3, 3 if self.version == 2 else 4, 3 * ((self.degree + 1) ** 2 - 1)


def _layout(head: Data, versions: tuple[int, ...]) -> Layout:
    if len(head) < HEADER.size or head[:4] != MAGIC:
        raise Broken("is compressed, but no .spz")
    layout = Layout(*HEADER.unpack_from(head)[1:6])
    if layout.version not in versions or layout.degree > 3 or layout.flags & EXTENDED or layout.fraction > 24:
        raise Broken(f"is an .spz that is not read here: {layout}; save it as version 3 without extensions")
    splats_within(layout.number)
    return layout


def _gzip_columns(data: Data) -> tuple[Layout, list[NDArray[np.uint8]]]:
    """Versions 2 and 3: all in one gzip stream."""
    unpacker = zlib.decompressobj(31)
    layout = _layout(unpacker.decompress(data, HEADER.size), (2, 3))
    wanted = layout.number * sum(layout.widths)
    body = unpacker.decompress(unpacker.unconsumed_tail, wanted) if wanted else b""
    if unpacker.decompress(unpacker.unconsumed_tail, 1):
        raise Broken(f"has more in it than the {layout.number:,} Gaussians of its header")
    starts = np.cumsum([0, *layout.widths]) * layout.number
    return layout, [_column(layout, k, body[starts[k] : starts[k + 1]]) for k in range(len(layout.widths))]


def _zstd_columns(data: Data) -> tuple[Layout, list[NDArray[np.uint8]]]:
    """Version 4: a table of sizes, then a zstd stream for every column that is not empty."""
    import zstandard

    layout = _layout(data, (4,))
    streams, table = struct.unpack_from("<BI", data, HEADER.size - 1)
    at = table + 16 * streams
    columns = []
    for k, width in enumerate(layout.widths):
        body = b""
        if width and layout.number:
            if not streams or table + 16 > len(data):
                raise Broken("ends early: its table of contents is cut off")
            size, _ = struct.unpack_from("<QQ", data, table)
            reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).stream_reader(data[at : at + size])
            try:
                body = reader.read(width * layout.number)
            except zstandard.ZstdError as error:
                raise Broken(f"has {COLUMNS[k]} that cannot be unpacked ({error})") from None
            table, streams, at = table + 16, streams - 1, at + size
        columns.append(_column(layout, k, body))
    return layout, columns


def _column(layout: Layout, k: int, body: bytes) -> NDArray[np.uint8]:
    width = layout.widths[k]
    if len(body) != width * layout.number:
        raise Broken(f"ends early: {len(body):,} of {width * layout.number:,} bytes of its {COLUMNS[k]} are there")
    return np.frombuffer(body, np.uint8).reshape(layout.number, width)


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
        quats=((rows["quat"].astype(np.float32) - 128) / 128).astype(np.float32),
        opacities=np.log(alpha / (1 - alpha)).astype(np.float32),
        sh=((rgba[:, None, :3] - 0.5) / SH0).astype(np.float32),
    )
