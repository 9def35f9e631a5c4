"""Cutting long edges of any mesh in halves until none is longer than a limit: neighbours cut the same edges at the same
points, so no cracks open, whether or not their vertices are shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
GROWTH = 1.3  # of the limit, until the faces are few enough
ROUNDS = 12

# corners of the new faces by which of the edges 01, 12, 20 are cut: 3, 4, 5 are those edges' middles
PATTERNS: dict[tuple[bool, bool, bool], tuple[tuple[int, int, int], ...]] = {
    (False, False, False): ((0, 1, 2),),
    (True, False, False): ((0, 3, 2), (3, 1, 2)),
    (False, True, False): ((0, 1, 4), (0, 4, 2)),
    (False, False, True): ((0, 1, 5), (5, 1, 2)),
    (True, True, False): ((3, 1, 4), (0, 3, 4), (0, 4, 2)),
    (False, True, True): ((5, 4, 2), (0, 1, 4), (0, 4, 5)),
    (True, False, True): ((0, 3, 5), (3, 1, 2), (3, 2, 5)),
    (True, True, True): ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}


@dataclass(frozen=True)
class Pieces:
    """A subdivided mesh that knows where its faces come from."""

    vertices: Floats  # (V, 3)
    faces: Ints  # (F, 3)
    origin: Ints  # (F,) the face of the whole mesh that this is a piece of
    shares: Floats  # (F, 3, 3) of that face's corners, for each corner of the piece


def whole(vertices: Floats, faces: Ints) -> Pieces:
    """The mesh as pieces that are whole faces."""
    shares = np.broadcast_to(np.eye(3, dtype=np.float32), (len(faces), 3, 3)).copy()
    return Pieces(vertices, faces, np.arange(len(faces), dtype=np.int32), shares)


def subdivide(vertices: Floats, faces: Ints, longest: float, most: int) -> Pieces:
    """Pieces without edges longer than `longest`, or a larger limit that keeps the faces near `most`."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    while len(faces) + 2 * area / longest**2 > most and longest < 4:
        longest *= GROWTH
    mesh = whole(vertices, faces)
    for _ in range(ROUNDS):
        finer = _halve(mesh, longest)
        if len(finer.faces) == len(mesh.faces) or len(finer.faces) > 4 * most:
            break
        mesh = finer
    return mesh


def _halve(mesh: Pieces, longest: float) -> Pieces:
    starts, ends = mesh.faces, np.roll(mesh.faces, -1, axis=1)
    cut = np.linalg.norm(mesh.vertices[starts] - mesh.vertices[ends], axis=-1) > longest  # (F, 3)
    pairs = np.sort(np.stack([starts[cut], ends[cut]], -1), axis=1)
    unique, number = np.unique(pairs, axis=0, return_inverse=True)
    middles = (mesh.vertices[unique[:, 0]] + mesh.vertices[unique[:, 1]]) / 2
    index = np.full(mesh.faces.shape, -1, np.int32)
    index[cut] = number.ravel() + len(mesh.vertices)
    corners = np.concatenate([mesh.faces, index], 1)  # (F, 6)
    shares = np.concatenate([mesh.shares, (mesh.shares + np.roll(mesh.shares, -1, axis=1)) / 2], 1)  # (F, 6, 3)
    faces, origin, parts = [], [], []
    for flags, pattern in PATTERNS.items():
        rows = np.nonzero((cut == flags).all(1))[0]
        for triangle in pattern:
            faces.append(corners[rows][:, triangle])
            origin.append(mesh.origin[rows])
            parts.append(shares[rows][:, triangle])
    return Pieces(
        np.concatenate([mesh.vertices, middles.astype(np.float32)]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(origin),
        np.concatenate(parts).astype(np.float32),
    )
