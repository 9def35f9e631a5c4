"""The parts of a file as one mesh.

What becomes of their colours: without any texture every vertex keeps its colour. Parts that share one texture and stay
inside it keep it as it is. Otherwise an atlas is made: every texture gets a rectangle, repeated as often as its part
repeats it (up to MAX_TILES; oftener, and the part takes the texture's colours at its vertices), every plain colour a
few texels, and every part with colours at its vertices two by two texels a face.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.atlas import Cell, pack
from sds3d.assets.limits import Broken, faces_within, vertices_within
from sds3d.assets.mesh import (
    Bytes,
    Doubles,
    Floats,
    LoadedMesh,
    Paint,
    Part,
    decoded,
    encoded,
    gouraud,
    sample,
    smooth_normals,
    tinted,
    unit,
)
from sds3d.assets.placement import Matrix, Placement, enclosing

MAX_TILES = 4  # repeats of a texture along each axis
FARTHEST = 1e5  # tiles from the first one
LEAST_AREA = 1e-9  # in the unit ball
SLACK = 1e-4  # of a tile, that rounding may leave outside


def assemble(parts: Sequence[Part], axes: Matrix, notes: Sequence[str] = (), own_axes: bool = True) -> LoadedMesh:
    """One mesh of the file's parts, in the unit ball, turned out of the file's `axes`. `own_axes`: the format leaves
    them to the file, so that exports in formats that do not are upright. Raises Broken if there is nothing to show,
    too much, or something that is not a number."""
    parts = [checked(part) for part in parts]
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise Broken("holds no triangles")
    faces_within(sum(len(part.faces) for part in parts))
    vertices_within(sum(len(part.vertices) for part in parts))
    parts, texture = paint(parts)
    upright = np.concatenate([part.vertices for part in parts]) @ axes
    centre, radius = enclosing(upright)
    if not sum(_area((part.vertices @ axes - centre) / radius, part.faces) for part in parts) > LEAST_AREA:
        raise Broken("has no surface: its faces are lines and points")
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, offsets, strict=False)])
    normals = np.concatenate([_normals(part) for part in parts]) @ axes
    return LoadedMesh(
        ((upright - centre) / radius).astype(np.float32),
        faces.astype(np.int32),
        normals.astype(np.float32),
        None if texture is None else np.concatenate([part.uv for part in parts]).astype(np.float32),  # type: ignore[misc]
        texture,
        _colors(parts) if texture is None else None,
        Placement(centre, radius, mesh_axes=axes, upright_axes=np.eye(3) if own_axes else axes),
        tuple(notes),
    )


def _area(vertices: Doubles, faces: NDArray[np.integer]) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def checked(part: Part) -> Part:
    """Only the vertices that faces use, and only faces of three different ones. Raises Broken for faces that name a
    vertex that is not there, and for coordinates that are not finite."""
    faces, count = np.asarray(part.faces).reshape(-1, 3), len(part.vertices)
    if len(faces) and not (faces.min() >= 0 and faces.max() < count):
        raise Broken(f"has a face with vertex {faces.max() if faces.max() >= count else faces.min()} of {count}")
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, inverse = np.unique(faces, return_inverse=True)
    take = {n: v[used] for n in ("normals", "uv", "colors") if (v := getattr(part, n)) is not None}
    vertices = part.vertices[used].astype(np.float64)
    if bad := int((~np.isfinite(vertices).all(1)).sum()):
        raise Broken(f"has {bad:,} vertices that are not numbers: mend it in a mesh editor")
    if "uv" in take:
        take["uv"] = np.nan_to_num(take["uv"].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(
            -FARTHEST, FARTHEST
        )
    if "colors" in take:
        take["colors"] = np.nan_to_num(take["colors"].astype(np.float64)).clip(0, 1)
    return replace(part, vertices=vertices, faces=inverse.reshape(-1, 3), **take)


def paint(parts: list[Part]) -> tuple[list[Part], Bytes | None]:
    """The parts with coordinates in one common texture, and that texture; None if there is none."""
    textured = [p for p in parts if p.paint.texture is not None and p.uv is not None]
    if not textured:
        return parts, None
    first = textured[0].paint
    shared = all(p.paint.texture is first.texture and p.paint.rgba == first.rgba for p in textured)
    if len(textured) == len(parts) and shared and all(_within(p.uv) for p in parts):
        texture = first.texture
        assert texture is not None
        return parts, tinted(texture, first.rgba)
    return _into_atlas(parts)


def _within(uv: Doubles | None) -> bool:
    return uv is not None and bool(uv.min() >= -SLACK and uv.max() <= 1 + SLACK)


def _normals(part: Part) -> Doubles:
    smooth = smooth_normals(part.vertices, part.faces)
    return smooth if part.normals is None else unit(part.normals, smooth)


def _colors(parts: list[Part]) -> Floats:
    """(V, 4) sRGB: the vertices' own colours times their part's, in linear light."""
    return np.concatenate([_vertex_colors(part) for part in parts])


def _vertex_colors(part: Part) -> Floats:
    base = np.array(part.paint.rgba, np.float64)
    if part.colors is None:
        return np.tile(base, (len(part.vertices), 1)).astype(np.float32)
    rgb = encoded(decoded(part.colors[:, :3]) * decoded(base[:3]))
    return np.concatenate([rgb, part.colors[:, 3:] * base[3]], 1).astype(np.float32)


def _into_atlas(parts: list[Part]) -> tuple[list[Part], Bytes]:
    cells: dict[Hashable, Cell] = {}
    placed: list[tuple[Part, Hashable]] = []
    for number, part in enumerate(parts):
        moved, cell, key = _cell(part, number)
        cells.setdefault(key, cell)
        placed.append((moved, key))
    atlas = pack(list(cells.values()))
    index = {key: i for i, key in enumerate(cells)}
    done = []
    for part, key in placed:
        assert part.uv is not None
        done.append(replace(part, uv=atlas.uv(index[key], part.uv, cells[key].tiles).astype(np.float64)))
    return done, atlas.texture


def _cell(part: Part, number: int) -> tuple[Part, Cell, Hashable]:
    """The part with uv over its own cell, the cell, and a key that parts with the same cell share."""
    texture, rgba = part.paint.texture, part.paint.rgba
    if texture is not None and part.uv is not None:
        part, tiles = folded(part)
        if max(tiles) <= MAX_TILES:
            return part, Cell(texture, tiles, rgba), (id(texture), rgba, tiles)
        assert part.uv is not None
        seen = sample(texture, (part.uv % 1).astype(np.float32)).astype(np.float64)
        part = replace(part, colors=seen, uv=None, paint=Paint(rgba))
    colors = _vertex_colors(part)
    if np.ptp(colors, axis=0).max() == 0:
        plain = (colors[0].clip(0, 1) * 255).round().astype(np.uint8)
        image = np.tile(plain, (2, 2, 1))
        return replace(part, uv=np.full((len(part.vertices), 2), 0.5)), Cell(image, fixed=True), (plain.tobytes(),)
    corners, image = gouraud(colors[part.faces])
    loose, normals = part.faces.ravel(), _normals(part)
    faces, uv = np.arange(len(loose)).reshape(-1, 3), corners.reshape(-1, 2).astype(np.float64)
    part = replace(part, vertices=part.vertices[loose], faces=faces, normals=normals[loose], uv=uv, colors=None)
    return part, Cell(image, fixed=True), number


def folded(part: Part) -> tuple[Part, tuple[int, int]]:
    """Every face moved by whole tiles so that it begins in the first one, its vertices doubled where their faces move
    differently; and the number of tiles across and up that are then needed."""
    assert part.uv is not None
    if _within(part.uv):
        return replace(part, uv=part.uv.clip(0, 1)), (1, 1)
    shift = np.floor(part.uv[part.faces].min(1) + SLACK)  # (F, 2)
    across, up = (shift - shift.min(0)).astype(np.int64).T
    move = across * (up.max() + 1) + up  # (F,) one number for every shift
    keys = part.faces.astype(np.int64) * (move.max() + 1) + move[:, None]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    old = part.faces.ravel()[first]
    uv = (part.uv[old] - shift[first // 3]).clip(0, None)
    take = {n: v[old] for n in ("normals", "colors") if (v := getattr(part, n)) is not None}
    faces = inverse.reshape(-1, 3)
    tiles = (max(1, int(np.ceil(uv[:, 0].max() - SLACK))), max(1, int(np.ceil(uv[:, 1].max() - SLACK))))
    return replace(part, vertices=part.vertices[old], faces=faces, uv=uv.clip(0, tiles), **take), tiles
