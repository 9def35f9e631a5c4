"""Wavefront OBJ and MTL: polygons, texture coordinates, normals, Kd, d and map_Kd."""

from __future__ import annotations

import posixpath

import numpy as np
from numpy.typing import NDArray

from sds3d.embedded.corpus.archive import Reader
from sds3d.embedded.corpus.textures import load_texture
from sds3d.render.mesh import Array, Material, Soup, face_normals

Corner = tuple[int, int, int]  # indices of position, texture coordinate, normal; -1 for none


def _corner(text: str, counts: tuple[int, int, int]) -> Corner:
    """One `v/vt/vn` group; OBJ counts from 1, and negative numbers count back from the end."""
    parts = (text.split("/") + ["", ""])[:3]
    indices = [int(p) if p else 0 for p in parts]
    v, t, n = (i - 1 if i > 0 else (size + i if i < 0 else -1) for i, size in zip(indices, counts, strict=True))
    return v, t, n


def _gather(values: list[tuple[float, ...]], index: NDArray[np.int64], fallback: Array) -> Array:
    """values[index] where index >= 0, `fallback` elsewhere."""
    if not values:
        return fallback
    table = np.array(values, np.float32)
    index = np.where(index < len(table), index, -1)
    return np.where((index >= 0)[..., None], table[np.maximum(index, 0)], fallback)


def load_mtl(read: Reader, path: str) -> dict[str, Material]:
    """Materials by name. Textures that cannot be read are left out; a black Kd under a texture is taken as white."""
    found: dict[str, Material] = {}
    name, kd, opacity, texture = "", (0.8, 0.8, 0.8), 1.0, None

    def keep() -> None:
        base = (1.0, 1.0, 1.0) if texture is not None and max(kd) < 0.35 else kd
        found[name] = Material((*base, opacity), texture)

    for line in read(path).decode("latin1").splitlines():
        key, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if key == "newmtl":
            keep()
            name, kd, opacity, texture = rest, (0.8, 0.8, 0.8), 1.0, None
        elif key == "Kd":
            r, g, b = (float(x) for x in rest.split()[:3])
            kd = (r, g, b)
        elif key == "d":
            opacity = float(rest.split()[-1])
        elif key == "map_Kd":
            try:
                texture = load_texture(read(posixpath.join(posixpath.dirname(path), rest.replace("\\", "/"))))
            except (KeyError, OSError):
                texture = None
    keep()
    return found


def load_obj(read: Reader, path: str, rotation: Array | None = None) -> Soup:
    """Triangulate the faces of an OBJ file (fans), optionally turned by a (3, 3) matrix."""
    vectors: dict[str, list[tuple[float, ...]]] = {"v": [], "vt": [], "vn": []}
    triangles: list[tuple[Corner, Corner, Corner]] = []
    owner: list[int] = []
    library: dict[str, Material] = {}
    materials, slots, current = [Material()], {"": 0}, 0
    for line in read(path).decode("latin1").splitlines():
        words = line.split()
        if not words:
            continue
        key = words[0]
        if key in vectors:
            width = 2 if key == "vt" else 3
            vectors[key].append(tuple(float(x) for x in (words[1:] + ["0"])[:width]))
        elif key == "f":
            counts = (len(vectors["v"]), len(vectors["vt"]), len(vectors["vn"]))
            corners = [_corner(w, counts) for w in words[1:]]
            fan = [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
            triangles += fan
            owner += [current] * len(fan)
        elif key == "usemtl":
            name = line.strip()[6:].strip()
            if name not in slots:
                slots[name] = len(materials)
                materials.append(library.get(name, Material()))
            current = slots[name]
        elif key == "mtllib":
            target = posixpath.join(posixpath.dirname(path), line.strip()[6:].strip())
            try:
                library.update(load_mtl(read, target))
            except KeyError:
                continue
    index = np.array(triangles, np.int64).reshape(-1, 3, 3)  # (F, 3, 3): corner, then v / vt / vn
    positions = np.array(vectors["v"], np.float32).reshape(-1, 3)[index[..., 0]]
    uv = _gather(vectors["vt"], index[..., 1], np.zeros((len(index), 3, 2), np.float32))
    normals = _gather(vectors["vn"], index[..., 2], face_normals(positions))
    if rotation is not None:
        positions, normals = positions @ rotation.T, normals @ rotation.T
    return Soup(positions, normals, uv, np.array(owner, np.int32), materials)
