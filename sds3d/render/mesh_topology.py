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
    a, b = edges.ends.unbind(-1)
    total = torch.zeros_like(vertices).index_add(0, a, vertices.index_select(0, b))
    total = total.index_add(0, b, vertices.index_select(0, a))
    count = torch.zeros(len(vertices), device=vertices.device).index_add(
        0, edges.ends.flatten(), torch.ones(edges.ends.numel(), device=vertices.device)
    )
    used = count > 0
    return (total[used] / count[used, None] - vertices[used]).square().sum(-1).mean()
