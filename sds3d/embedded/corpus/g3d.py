"""MegaGlest's G3D models, version 4: the first animation frame of every mesh."""

from __future__ import annotations

import posixpath
import struct

import numpy as np

from sds3d.embedded.corpus.archive import Reader
from sds3d.embedded.corpus.textures import load_texture
from sds3d.render.mesh import Material, Soup, concatenate

CUSTOM_COLOUR = 1  # property bit: texture alpha is the player's colour, not a cut-out
TEXTURES = 5  # texture slots; slot 0 is the diffuse one


def load_g3d(read: Reader, path: str, coloured: bool = True) -> Soup:
    """The model at rest. Scenery has no player's colour (`coloured` False): its texture alpha always cuts out.

    ValueError unless it is a version 4 file with at least one triangle.
    """
    data = read(path)
    if data[:3] != b"G3D" or data[3] != 4:
        raise ValueError("not a G3D version 4 file")
    (count,) = struct.unpack_from("<H", data, 4)
    offset, parts = 7, []
    for _ in range(count):
        part, offset = _mesh(data, offset, read, posixpath.dirname(path), coloured)
        if part is not None:
            parts.append(part)
    if not parts:
        raise ValueError("no mesh")
    return concatenate(parts)


def _mesh(data: bytes, offset: int, read: Reader, folder: str, coloured: bool) -> tuple[Soup | None, int]:
    frames, vertices, indices = struct.unpack_from("<3I", data, offset + 64)
    diffuse = struct.unpack_from("<3f", data, offset + 76)
    properties, slots = struct.unpack_from("<2I", data, offset + 108)
    offset += 116
    texture = None
    for slot in range(TEXTURES):
        if slots >> slot & 1:
            name = data[offset : offset + 64].split(b"\0")[0].decode("latin1")
            offset += 64
            if slot == 0:
                texture = _texture(read, posixpath.join(folder, name), coloured and bool(properties & CUSTOM_COLOUR))
    block = frames * vertices * 3
    positions = np.frombuffer(data, "<f4", block, offset).reshape(frames, vertices, 3)
    normals = np.frombuffer(data, "<f4", block, offset + 4 * block).reshape(frames, vertices, 3)
    offset += 8 * block
    uv = np.zeros((vertices, 2), np.float32)
    if slots:
        uv = np.frombuffer(data, "<f4", vertices * 2, offset).reshape(vertices, 2)
        offset += vertices * 8
    faces = np.frombuffer(data, "<u4", indices, offset).reshape(-1, 3).astype(np.int64)
    offset += indices * 4
    if not len(faces):
        return None, offset
    material = Material((*diffuse, 1.0)) if texture is None else Material((1.0, 1.0, 1.0, 1.0), texture)
    owner = np.zeros(len(faces), np.int32)
    return Soup(positions[0][faces], normals[0][faces], uv[faces], owner, [material]), offset


def _texture(read: Reader, path: str, opaque: bool) -> np.ndarray | None:
    try:
        texture = load_texture(read(path)).copy()
    except (KeyError, OSError):
        return None
    if opaque:
        texture[..., 3] = 255
    return texture
