"""Meshes in .ply: positions, normals, a colour per vertex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import Broken, faces_within, vertices_within
from sds3d.assets.mesh import WHITE, Doubles, Part
from sds3d.assets.ply_document import Header, read_header, read_tables
from sds3d.assets.source import Source

LISTS = ("vertex_indices", "vertex_index")
GAUSSIANS = ("opacity", "scale_0", "rot_0")


def is_splats(header: Header) -> bool:
    """Whether a .ply holds Gaussians, as 3DGS or as SuperSplat's compressed files have them."""
    return header.has("vertex", "f_dc_0", *GAUSSIANS) or header.has("vertex", "packed_position", "packed_rotation")


def read_ply(source: Source) -> list[Part]:
    """One part; polygons become fans."""
    header = read_header(source.data)
    vertices_within(header["vertex"].count)
    if not any(element.name == "face" for element in header.elements):
        raise Broken("holds points without faces")
    faces_within(header["face"].count)
    tables = read_tables(source.data, header, ("vertex", "face"))
    vertex, polygons = tables["vertex"], tables["face"]
    column = next((name for name in LISTS if name in (polygons.dtype.names or ())), None)
    if column is None:
        raise Broken("has faces without vertex_indices")
    if "texcoord" in header["face"].columns or vertex.dtype.names and {"s", "t"} <= set(vertex.dtype.names):
        source.note("a texture")  # .ply has no agreed way to name its picture
    part = Part(vertex_columns(vertex, "x", "y", "z"), fans(polygons[column]))
    if header.has("vertex", "nx", "ny", "nz"):
        part.normals = vertex_columns(vertex, "nx", "ny", "nz")
    part.colors = vertex_colors(vertex)
    if part.colors is not None:
        part.paint = WHITE
    return [part]


def vertex_columns(table: NDArray[Any], *names: str) -> Doubles:
    """(V, len(names)) of these columns of a table."""
    return np.stack([table[name].astype(np.float64) for name in names], -1)


def vertex_colors(vertex: NDArray[Any]) -> Doubles | None:
    """(V, 4) sRGB; None if the file has no colours. Whole numbers run to their kind's largest."""
    names = [name for name in ("red", "green", "blue", "alpha") if name in (vertex.dtype.names or ())]
    if names[:3] != ["red", "green", "blue"]:
        return None
    kinds = [vertex.dtype[name] for name in names]
    tops = [np.iinfo(kind).max if kind.kind in "iu" else 1.0 for kind in kinds]
    colors = vertex_columns(vertex, *names) / np.array(tops)
    return colors if len(names) == 4 else np.concatenate([colors, np.ones((len(colors), 1))], 1)


def fans(polygons: NDArray[Any]) -> NDArray[np.int64]:
    """(F, 3) triangles of (P, longest) polygons, -1 where a polygon has ended."""
    polygons = np.atleast_2d(polygons)
    triangles = []
    for k in range(1, polygons.shape[1] - 1):
        there = polygons[:, k + 1] >= 0
        triangles.append(polygons[there][:, [0, k, k + 1]].astype(np.int64))
        if not there.any():
            break
    faces = np.concatenate(triangles) if triangles else np.zeros((0, 3), np.int64)
    faces_within(len(faces))
    return faces
