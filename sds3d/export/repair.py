"""What is wrong with a triangle mesh, mended: faces twice there, pinched edges and corners, holes, inside-out parts.

Cutting (Gueziec et al. 2001, "Cutting and stitching"): faces stay joined across an edge only in pairs, and a vertex is
one only for faces that are joined around it. What is made so is a 2-manifold by construction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sds3d.export.mesh import Floats, Ints, Mesh, areas, compact, directed_edges, edge_groups

ASKED = 100  # corners of a part, at most, that are asked whether they lie inside another
APART = 0.02  # how far the copies of a cut vertex move into their own faces, as a share of the way to the neighbours


def repaired(mesh: Mesh) -> Mesh:
    """The mesh as a 2-manifold without holes or repeated faces, every part's faces outwards. The shape stays: copies of
    cut vertices move by APART, holes are closed by a fan. Faces must agree on a direction where two meet."""
    mesh = compact(Mesh(mesh.vertices, unrepeated(mesh.faces)))
    mesh = cut(mesh)
    mesh = _without_double_edges(cut(Mesh(*_without_holes(mesh))))
    return outward(mesh)


def unrepeated(faces: Ints) -> Ints:
    """Without second copies of faces; two that cover each other face to back go both, since nothing lies between."""
    _, first, group = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_inverse=True)
    turns = _parity(faces)
    balance = np.bincount(group.ravel(), weights=turns)
    keep = first[balance != 0]  # unique()'s order
    wrong = turns[keep] != np.sign(balance[balance != 0])
    kept = faces[keep]
    kept[wrong] = kept[wrong][:, ::-1]
    return kept[np.argsort(keep, kind="stable")]


def _parity(faces: Ints) -> NDArray[np.float64]:
    """(F,) 1 where the corners are an even permutation of their sorted order, else -1."""
    a, b, c = faces.T
    return np.where((a < b).astype(int) + (b < c) + (c < a) == 2, 1.0, -1.0)


def mates(mesh: Mesh) -> Ints:
    """(3F,) for each directed edge (as in `directed_edges`) the one that runs back along it in the face it is joined
    to, or -1. Where more than two faces meet, neighbours around the edge with empty space between them are joined."""
    edges, group = directed_edges(mesh.faces), edge_groups(mesh.faces)
    uses = np.bincount(group)
    mate = np.full(len(edges), -1, np.int32)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(uses)[:-1]])
    pairs = order[starts[uses == 2][:, None] + np.arange(2)]
    pairs = pairs[edges[pairs[:, 0], 0] == edges[pairs[:, 1], 1]]
    mate[pairs], mate[pairs[:, ::-1]] = pairs[:, ::-1], pairs
    for start, count in zip(starts[uses > 2], uses[uses > 2], strict=True):
        for one, other in _around(mesh, edges, order[start : start + count]):
            mate[one], mate[other] = other, one
    return mate


def _around(mesh: Mesh, edges: Ints, members: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Pairs of the directed edges `members`, all of one edge. Going around it in the right-hand sense of its lower to
    its higher vertex, empty space lies after a face that runs along and before one that runs against it."""
    low, high = np.sort(edges[members[0]])
    axis = (mesh.vertices[high] - mesh.vertices[low]).astype(np.float64)
    axis /= max(np.linalg.norm(axis), 1e-30)
    wing = mesh.vertices[mesh.faces[members // 3, (members + 2) % 3]] - mesh.vertices[low]
    wing = wing - (wing @ axis)[:, None] * axis
    across = np.cross(axis, wing[0])
    across /= max(np.linalg.norm(across), 1e-30)
    angle = np.arctan2(wing @ across, wing @ (wing[0] / max(np.linalg.norm(wing[0]), 1e-30)))
    forward = edges[members, 0] == low
    return _brackets(members[np.lexsort((~forward, angle))].tolist(), set(members[forward].tolist()))


def _brackets(turn: list[int], openers: set[int]) -> list[tuple[int, int]]:
    """Members of a circle paired like brackets, as many as fit."""
    pairs: list[tuple[int, int]] = []
    waiting: list[int] = []
    done: set[int] = set()
    for member in turn * 2:
        if member in done or member in waiting:
            continue
        if member in openers:
            waiting.append(member)
        elif waiting:
            pairs.append((waiting.pop(), member))
            done.update(pairs[-1])
    return pairs


def cut(mesh: Mesh) -> Mesh:
    """With a vertex of its own for every fan of joined faces, which all stay where they are."""
    mate = mates(mesh)
    half = np.flatnonzero(mate >= 0)
    here = half // 3 * 3 + half % 3  # the corner that the directed edge starts from ...
    there = mate[half] // 3 * 3 + (mate[half] + 1) % 3  # ... and the one that its mate ends in
    count = mesh.faces.size
    joined = sparse.csr_matrix((np.ones(len(here), np.int8), (here, there)), (count, count))
    number, fan = sparse.csgraph.connected_components(joined, directed=False)
    if number == len(np.unique(mesh.faces)):
        return mesh
    source = np.empty(number, np.int32)
    source[fan] = mesh.faces.ravel()
    pieces = Mesh(mesh.vertices[source], fan.reshape(-1, 3).astype(np.int32))
    return Mesh(_apart(pieces, np.bincount(source, minlength=len(mesh.vertices))[source] > 1), pieces.faces)


def _without_double_edges(mesh: Mesh) -> Mesh:
    """Where two pairs of faces meet along edges between the same two vertices, all but one of these edges get a vertex
    in their middle."""
    edges, mate = directed_edges(mesh.faces), mates(mesh)
    first = np.flatnonzero(np.arange(len(mate)) < mate)
    _, kept = np.unique(np.sort(edges[first], axis=1), axis=0, return_index=True)
    faces, vertices = [mesh.faces.copy()], [mesh.vertices]
    for one in np.setdiff1d(first, first[kept]).tolist():
        middle = sum(len(v) for v in vertices)
        u, v = edges[one]
        wings = []
        for half in (one, int(mate[one])):
            face, corner = divmod(half, 3)
            wings.append(faces[0][face, (corner + 2) % 3])
            split = faces[0][face].copy()
            split[corner] = middle  # the new face keeps where the edge ends, the old one where it starts
            faces.append(split[None])
            faces[0][face, (corner + 1) % 3] = middle
        where = mesh.vertices[[u, v]].mean(0) * (1 - APART) + mesh.vertices[wings].mean(0) * APART
        vertices.append(where[None].astype(np.float32))
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def _apart(mesh: Mesh, chosen: NDArray[np.bool_]) -> Floats:
    """The vertices, those `chosen` moved a little towards the middle of their faces."""
    total, faces = np.zeros((len(mesh.vertices), 3)), np.zeros(len(mesh.vertices))
    np.add.at(total, mesh.faces.ravel(), np.repeat(mesh.corners.mean(1, dtype=np.float64), 3, axis=0))
    np.add.at(faces, mesh.faces.ravel(), 1.0)
    middle = total / np.maximum(faces, 1.0)[:, None]
    moved = mesh.vertices + APART * (middle - mesh.vertices)
    return np.where(chosen[:, None], moved, mesh.vertices).astype(np.float32)


def _without_holes(mesh: Mesh) -> tuple[Floats, Ints]:
    """Vertices and faces with every rim closed by a fan around its middle; a rim of three by one face."""
    edges, open_ = directed_edges(mesh.faces), mates(mesh) < 0
    after = {int(b): int(a) for a, b in edges[open_]}  # rims run against their faces
    vertices, faces = [mesh.vertices], [mesh.faces]
    count = len(mesh.vertices)
    while after:
        rim = [next(iter(after))]
        while (following := after.pop(rim[-1], None)) is not None and following != rim[0]:
            rim.append(following)
        if following is None or len(rim) < 3:
            continue
        if len(rim) == 3:
            faces.append(np.array([rim], np.int32))
            continue
        vertices.append(mesh.vertices[rim].mean(0, keepdims=True))
        faces.append(np.array([[a, b, count] for a, b in zip(rim, rim[1:] + rim[:1], strict=True)], np.int32))
        count += 1
    return np.concatenate(vertices), np.concatenate(faces)


def parts(mesh: Mesh) -> NDArray[np.int32]:
    """(F,) which connected part each face belongs to, counted from 0."""
    a, b = directed_edges(mesh.faces).T
    count = len(mesh.vertices)
    graph = sparse.csr_matrix((np.ones(len(a), np.int8), (a, b)), (count, count))
    label = sparse.csgraph.connected_components(graph, directed=False)[1][mesh.faces[:, 0]]
    return np.unique(label, return_inverse=True)[1].ravel().astype(np.int32)


def without_crumbs(mesh: Mesh, smallest: float = 0.01, shortest: float = 0.1) -> Mesh:
    """Without parts that have neither `smallest` of the largest part's area nor `shortest` of its diagonal, and without
    those that lie inside it."""
    part = parts(mesh)
    if part.max(initial=0) == 0:
        return mesh
    area = np.bincount(part, weights=areas(mesh))
    boxes = [mesh.corners[part == i].reshape(-1, 3) for i in range(len(area))]
    diagonal = np.array([np.linalg.norm(np.ptp(box, axis=0)) for box in boxes])
    largest = area.argmax()
    keep = (area >= smallest * area[largest]) | (diagonal >= shortest * diagonal[largest])
    around = mesh.corners[part == largest]
    for i in np.flatnonzero(keep):
        keep[i] = i == largest or any(winding(around, p) < 0.5 for p in boxes[i][:: 1 + len(boxes[i]) // ASKED])
    return compact(Mesh(mesh.vertices, mesh.faces[keep[part]]))


def winding(corners: Floats, point: Floats) -> float:
    """How often the closed surface of (F, 3, 3) corners goes around a point (3,): 1 inside, 0 outside; the sum of the
    faces' solid angles (van Oosterom & Strackee 1983, eq. 8)."""
    a, b, c = np.moveaxis(corners.astype(np.float64) - point, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    ab, bc, ca = ((u * v).sum(1) for u, v in ((a, b), (b, c), (c, a)))
    volume = (a * np.cross(b, c)).sum(1)
    return float(np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb).sum() / (2 * np.pi))


def outward(mesh: Mesh) -> Mesh:
    """With the faces of every part turned so that they look outwards."""
    part = parts(mesh)
    a, b, c = np.moveaxis(mesh.corners.astype(np.float64), 1, 0)
    volume = np.bincount(part, weights=np.einsum("ij,ij->i", a, np.cross(b, c)))
    inverted = (volume < 0)[part] if len(part) else np.zeros(0, bool)
    return Mesh(mesh.vertices, np.where(inverted[:, None], mesh.faces[:, ::-1], mesh.faces).astype(np.int32))
