"""0 A.D.'s PMD meshes (little endian): vertices with skinning, faces, bones and named attachment points."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sds3d.render.mesh import Array


@dataclass
class Pmd:
    """Geometry in the bind pose; transforms are (4, 4) in the space they hang in."""

    positions: Array  # (V, 3)
    normals: Array  # (V, 3)
    uv: Array  # (V, 2)
    faces: NDArray[np.int64]  # (F, 3)
    points: dict[str, NDArray[np.float64]]  # attachment point -> mesh space


def rigid(translation: tuple[float, ...], quaternion: tuple[float, ...]) -> NDArray[np.float64]:
    """(4, 4) of a translation and an (x, y, z, w) quaternion."""
    x, y, z, w = quaternion
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix


def load_pmd(data: bytes) -> Pmd:
    """Versions 1 to 4. ValueError if the magic is wrong."""
    if data[:4] != b"PSMD":
        raise ValueError("not a PMD file")
    version, _size, count = struct.unpack_from("<III", data, 4)
    offset, layers = 16, 1
    if version >= 4:
        (layers,) = struct.unpack_from("<I", data, offset)
        offset += 4
    vertex = np.dtype(
        [("p", "<f4", 3), ("n", "<f4", 3), ("uv", "<f4", (layers, 2)), ("bone", "u1", 4), ("weight", "<f4", 4)]
    )
    vertices = np.frombuffer(data, vertex, count, offset)
    offset += vertex.itemsize * count
    (faces,) = struct.unpack_from("<I", data, offset)
    triangles = np.frombuffer(data, "<u2", faces * 3, offset + 4).reshape(-1, 3).astype(np.int64)
    offset += 4 + faces * 6
    (bones,) = struct.unpack_from("<I", data, offset)
    poses = [_pose(data, offset + 4 + 28 * i) for i in range(bones)]
    offset += 4 + 28 * bones
    points = _points(data, offset, poses) if version >= 2 and offset + 4 <= len(data) else {}
    return Pmd(vertices["p"].copy(), vertices["n"].copy(), vertices["uv"][:, 0].copy(), triangles, points)


def _pose(data: bytes, offset: int) -> NDArray[np.float64]:
    numbers = struct.unpack_from("<7f", data, offset)
    return rigid(numbers[:3], numbers[3:])


def _points(data: bytes, offset: int, poses: list[NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Attachment points: name, pose and the bone they hang on (255: none)."""
    points = {}
    (count,) = struct.unpack_from("<I", data, offset)
    offset += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, offset)
        name = data[offset + 4 : offset + 4 + length].decode("latin1")
        offset += 4 + length
        bone = data[offset + 28]
        pose = _pose(data, offset)
        points[name] = poses[bone] @ pose if bone < len(poses) else pose
        offset += 29
    return points
