"""SuperTuxKart's SPM meshes: sections of mesh buffers with half-float texture coordinates and vertex colours."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sds3d.render.mesh import Array

SKINNED = 1  # mesh type of animated meshes


@dataclass
class Buffer:
    """One mesh buffer; `texture` is a file name, "" for none."""

    positions: Array  # (V, 3)
    uv: Array  # (V, 2)
    colour: Array  # (3,) mean vertex colour
    faces: NDArray[np.int64]  # (F, 3)
    texture: str


@dataclass(frozen=True)
class _Layout:
    """What a vertex consists of."""

    normals: bool
    colours: bool
    tangents: bool
    skinned: bool

    def dtype(self, first: bool, second: bool) -> np.dtype:
        """Fixed part of a vertex, without the colour, which has a variable length."""
        fields: list[tuple] = [("position", "<f4", 3)]
        fields += [("normal", "<u4")] * self.normals
        tail: list[tuple] = []
        tail += [("uv", "<f2", 2)] * first + [("uv2", "<f2", 2)] * second
        tail += [("tangent", "<u4")] * (self.tangents and first)
        tail += [("joint", "<i2", 4), ("weight", "<f2", 4)] * self.skinned
        return np.dtype(fields + tail)


def load_spm(data: bytes) -> list[Buffer]:
    """The mesh buffers in the bind pose. ValueError if the magic is wrong."""
    if data[:2] != b"SP":
        raise ValueError("not an SPM file")
    kind, flags = data[2] & 7, data[3]
    layout = _Layout(bool(flags & 1), bool(flags >> 1 & 1), bool(flags >> 2 & 1), kind == SKINNED)
    offset = 4 + 24  # the header and the bounding box
    (count,) = struct.unpack_from("<H", data, offset)
    offset += 2
    textures = []
    for _ in range(count):
        pair = []
        for _ in range(2):
            length = data[offset]
            pair.append(data[offset + 1 : offset + 1 + length].decode("latin1"))
            offset += 1 + length
        textures.append(pair)
    (sections,) = struct.unpack_from("<H", data, offset)
    offset += 2
    buffers = []
    for _ in range(sections):
        (size,) = struct.unpack_from("<H", data, offset)
        offset += 2
        for _ in range(size):
            buffer, offset = _buffer(data, offset, layout, textures)
            buffers.append(buffer)
    return buffers


def _buffer(data: bytes, offset: int, layout: _Layout, textures: list[list[str]]) -> tuple[Buffer, int]:
    vertices, indices, material = struct.unpack_from("<IIH", data, offset)
    offset += 10
    first, second = textures[material]
    dtype = layout.dtype(bool(first), bool(second))
    colour = np.ones(3, np.float32)
    if layout.colours:
        table, colours, offset = _coloured(data, offset, vertices, dtype, 12 + 4 * layout.normals)
        colour = colours.mean(0).astype(np.float32)
    else:
        table = np.frombuffer(data, dtype, vertices, offset)
        offset += dtype.itemsize * vertices
    wide = vertices > 255
    faces = np.frombuffer(data, "<u2" if wide else "u1", indices, offset).astype(np.int64).reshape(-1, 3)
    offset += indices * (2 if wide else 1)
    uv = table["uv"].astype(np.float32) if first else np.zeros((vertices, 2), np.float32)
    return Buffer(table["position"].copy(), uv, colour, faces, first), offset


def _coloured(
    data: bytes, offset: int, vertices: int, dtype: np.dtype, head: int
) -> tuple[NDArray, NDArray[np.float64], int]:
    """Vertices with a colour after `head` bytes: one byte 128 for white, else one byte and three of colour."""
    colours = np.ones((vertices, 3))
    rows = bytearray()
    for i in range(vertices):
        rows += data[offset : offset + head]
        offset += head
        plain = data[offset] == 128
        if not plain:
            colours[i] = np.frombuffer(data, "u1", 3, offset + 1) / 255
        offset += 1 if plain else 4
        rows += data[offset : offset + dtype.itemsize - head]
        offset += dtype.itemsize - head
    return np.frombuffer(bytes(rows), dtype, vertices), colours, offset
