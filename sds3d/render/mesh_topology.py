"""Which faces of a mesh meet, and what follows from it: silhouettes need opposite corners, smoothness needs pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HALVES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # start, end and opposite corner of a face's three edges


@dataclass(frozen=True)
class Edges:
    """Every edge of a mesh once. Where more than two faces meet, the first two count."""

    ends: Tensor  # (E, 2) vertices
    opposite: Tensor  # (E, 2) the third vertices of its faces; -1 where there is no second face
    faces: Tensor  # (E, 2); -1 likewise

    def to(self, device: torch.device) -> Edges:
        return Edges(self.ends.to(device), self.opposite.to(device), self.faces.to(device))


@torch.no_grad()
def edges_of(faces: Tensor) -> Edges:
    """The edges of `faces` (F, 3)."""
    start, end, opposite = (torch.cat([faces[:, h[i]] for h in HALVES]) for i in range(3))
    face = torch.arange(len(faces), device=faces.device).repeat(3)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    width = int(faces.max()) + 1 if len(faces) else 1
    key, order = (low * width + high).sort(stable=True)
    new = torch.ones_like(key, dtype=torch.bool)
    new[1:] = key[1:] != key[:-1]
    first = new.nonzero()[:, 0]
    after = (first + 1).clamp(max=max(len(key) - 1, 0))
    paired = (key[after] == key[first]) & (after != first)
    i, j = order[first], order[after]
    none = torch.full_like(i, -1)
    return Edges(
        torch.stack([low[i], high[i]], -1),
        torch.stack([opposite[i], torch.where(paired, opposite[j], none)], -1),
        torch.stack([face[i], torch.where(paired, face[j], none)], -1),
    )


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) normals, as long as twice the face's area."""
    a, b, c = (vertices.index_select(0, faces[:, i]) for i in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, the faces weighted by their areas; 0 where a vertex has no area around it."""
    normals = face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for i in range(3):
        total = total.index_add(0, faces[:, i], normals)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)


def bending(vertices: Tensor, faces: Tensor, edges: Edges) -> Tensor:
    """Mean over the edges of 1 - cosine between the two faces' normals: 0 for a plane."""
    unit = torch.nn.functional.normalize(face_normals(vertices, faces), dim=-1, eps=1e-12)
    pairs = edges.faces[edges.faces[:, 1] >= 0]
    if not len(pairs):
        return vertices.new_zeros(())
    return 1 - (unit.index_select(0, pairs[:, 0]) * unit.index_select(0, pairs[:, 1])).sum(-1).mean()


def laplacian(vertices: Tensor, edges: Edges) -> Tensor:
    """Mean squared distance of a vertex to the mean of its neighbours, uniform weights."""
    count = _degrees(edges, len(vertices))
    return _to_neighbours(vertices, edges, count)[count > 0].square().sum(-1).mean()


def taubin(vertices: Tensor, edges: Edges, rounds: int, shrink: float = 0.5, grow: float = -0.53) -> Tensor:
    """Vertices (V, 3) after `rounds` Laplacian steps inwards and as many outwards (Taubin 1995), differentiable: what
    changes from one vertex to the next goes, volume stays."""
    count = _degrees(edges, len(vertices))
    for step in (shrink, grow) * rounds:
        vertices = vertices + step * _to_neighbours(vertices, edges, count)
    return vertices


def _degrees(edges: Edges, n_vertices: int) -> Tensor:
    """(V,) how many edges a vertex has."""
    return torch.bincount(edges.ends.flatten(), minlength=n_vertices)


def _to_neighbours(vertices: Tensor, edges: Edges, count: Tensor) -> Tensor:
    """(V, 3) from each vertex, of `count` neighbours, to their mean; 0 where it has none."""
    a, b = edges.ends.unbind(-1)
    way = vertices.index_select(0, b) - vertices.index_select(0, a)
    total = torch.zeros_like(vertices).index_add(0, a, way).index_add(0, b, -way)
    return total / count.clamp_min(1)[:, None]
