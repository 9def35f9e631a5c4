"""Triangle meshes as plain arrays, and the few questions one asks them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """A welded surface: faces that meet share their vertices; seen from outside they run counter-clockwise."""

    vertices: Floats  # (V, 3)
    faces: Ints  # (F, 3)

    @property
    def corners(self) -> Floats:
        """(F, 3, 3) the three points of every face."""
        return self.vertices[self.faces]


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh cut open along its texture seams. Without a normal map there are no tangents."""

    vertices: Floats  # (V, 3)
    faces: Ints  # (F, 3)
    normals: Floats  # (V, 3) unit
    uv: Floats  # (V, 2) in [0, 1], origin at the bottom left of the image
    texture: NDArray[np.uint8]  # (T, T, 3) sRGB, first row on top
    roughness: float = 0.9
    metallic: float = 0.0
    normal_map: NDArray[np.uint8] | None = None  # (T, T, 3) tangent space, +X along u, +Y along v, first row on top
    tangents: Floats | None = None  # (V, 4) unit, and the sign of the bitangent: sign * cross(normal, tangent)


@dataclass(frozen=True)
class Topology:
    """How a mesh hangs together."""

    components: int
    watertight: bool  # every edge belongs to an even number of faces, in opposite directions
    manifold: bool  # every edge belongs to at most two faces, and the faces around a vertex are one fan


def face_normals(corners: Floats) -> Floats:
    """(F, 3) normals of (F, 3, 3) corners, as long as twice the face's area."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def areas(mesh: Mesh) -> Floats:
    """(F,) areas of the faces."""
    return np.linalg.norm(face_normals(mesh.corners), axis=1) / 2


def vertex_normals(mesh: Mesh) -> Floats:
    """(V, 3) unit normals, the faces weighted by their areas; +Y where a vertex has no area around it."""
    normals = np.zeros_like(mesh.vertices, dtype=np.float64)
    np.add.at(normals, mesh.faces.ravel(), np.repeat(face_normals(mesh.corners), 3, axis=0))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-12), up).astype(np.float32)


def signed_volume(mesh: Mesh) -> float:
    """Positive when the faces of a closed surface look outwards (divergence theorem)."""
    a, b, c = np.moveaxis(mesh.corners.astype(np.float64), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def adjacency(mesh: Mesh) -> sparse.csr_matrix:
    """(V, V) with a positive number wherever two vertices share an edge."""
    a, b = directed_edges(mesh.faces).T
    count = len(mesh.vertices)
    one_way = sparse.csr_matrix((np.ones(len(a), np.float32), (a, b)), (count, count))
    return one_way + one_way.T


def directed_edges(faces: Ints) -> Ints:
    """(3F, 2) the faces' edges in their own direction."""
    return faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)


def topology(mesh: Mesh) -> Topology:
    """Components, watertightness and manifoldness of a welded mesh."""
    uses = np.bincount(edge_groups(mesh.faces))
    labels = sparse.csgraph.connected_components(adjacency(mesh), directed=False)[1]
    return Topology(
        components=len(np.unique(labels[mesh.faces[:, 0]])),
        watertight=watertight(mesh.faces),
        manifold=bool((uses <= 2).all()) and not pinched(mesh.faces),
    )


def edge_groups(faces: Ints) -> NDArray[np.intp]:
    """(3F,) for each directed edge the number of the undirected edge that it runs along."""
    edges = np.sort(directed_edges(faces), axis=1).astype(np.int64)
    keys = edges[:, 0] * (int(faces.max(initial=0)) + 1) + edges[:, 1]  # numbers are sorted faster than pairs
    return np.unique(keys, return_inverse=True)[1].ravel()


def watertight(faces: Ints) -> bool:
    """Does every edge belong to an even number of faces, in opposite directions?"""
    edges, group = directed_edges(faces), edge_groups(faces)
    balance = np.bincount(group, weights=np.where(edges[:, 0] < edges[:, 1], 1.0, -1.0))
    return not balance.any()


def pinched(faces: Ints) -> bool:
    """Does a vertex join faces that no chain of shared edges around it connects? For edges with at most two faces."""
    group = edge_groups(faces)
    order = np.argsort(group, kind="stable")
    same = np.flatnonzero(np.diff(group[order]) == 0)
    one, other = order[same], order[same + 1]
    after = lambda edge: edge // 3 * 3 + (edge + 1) % 3  # noqa: E731
    straight = (faces.ravel()[one] == faces.ravel()[other]).astype(bool)
    here = np.concatenate([one, after(one)])
    there = np.concatenate([np.where(straight, other, after(other)), np.where(straight, after(other), other)])
    graph = sparse.csr_matrix((np.ones(len(here), np.int8), (here, there)), (faces.size, faces.size))
    fans = sparse.csgraph.connected_components(graph, directed=False)[0]
    return bool(fans > len(np.unique(faces)))


def compact(mesh: Mesh) -> Mesh:
    """Without faces that repeat a vertex, and without vertices no face uses."""
    a, b, c = mesh.faces.T
    faces = mesh.faces[(a != b) & (b != c) & (c != a)]
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], renumbered.reshape(-1, 3).astype(np.int32))


def taubin(mesh: Mesh, rounds: int, shrink: float = 0.5, grow: float = -0.53) -> Mesh:
    """Taubin 1995: a Laplacian step inwards, then one outwards, so that noise goes and volume stays."""
    matrix = adjacency(mesh)
    matrix.data[:] = 1.0
    matrix = sparse.diags(1.0 / np.maximum(matrix.sum(1).A1, 1.0)) @ matrix
    vertices = mesh.vertices.astype(np.float64)
    for _ in range(rounds):
        for step in (shrink, grow):
            vertices = vertices + step * (matrix @ vertices - vertices)
    return Mesh(vertices.astype(np.float32), mesh.faces)
