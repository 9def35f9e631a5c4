"""Marching tetrahedra on a body-centred cubic lattice: every cell by formula, at any resolution, without a table.

n cells a side over [-bound, bound]^3. Vertices are the (n+1)^3 corners of the cells and then their n^3 centres, both in
[z, y, x] order. Two neighbouring centres and one edge of the face between them make a tetrahedron: all have the same
shape, a nearly regular one, so that the surface has no favourite directions (Labelle & Shewchuk 2007, sec. 3).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

SIDES = ((0, 0), (0, 1), (1, 1), (1, 0))  # corners of a face in order, as steps along its two axes
EDGES = tuple(itertools.combinations(range(4), 2))  # of a tetrahedron: 01 02 03 12 13 23
MARGIN = 0.01
STRIDES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # axes (normal, first, second) of the faces: right-handed; 0 is x


@dataclass(frozen=True)
class Crossings:
    """The surface's topology: vertex i lies on the lattice edge `ends`[i], and `faces` look outwards."""

    ends: Tensor  # (V, 2) lattice vertices: the first one inside
    faces: Tensor  # (F, 3)


@dataclass(frozen=True)
class Lattice:
    """Corners, edges and tetrahedra that fill the cube [-bound, bound]^3 with so many cells a side."""

    cells: int
    bound: float
    device: torch.device

    @cached_property
    def points(self) -> Tensor:
        """(n_vertices, 3) positions."""
        corner = torch.linspace(-self.bound, self.bound, self.cells + 1, device=self.device)
        centre = (corner[1:] + corner[:-1]) / 2
        return torch.cat([_mesh(corner), _mesh(centre)])

    @property
    def spacing(self) -> float:
        """Width of a cell; the tetrahedra's edges are 1 and sqrt(3)/2 of it."""
        return 2 * self.bound / self.cells

    def spread(self, table: Tensor) -> Tensor:
        """(n_vertices, C) values of a grid (n+1, n+1, n+1, C) of the corners, trilinear in the centres."""
        centre = table
        for axis in range(3):
            n = self.cells
            centre = centre.narrow(axis, 0, n) + centre.narrow(axis, 1, n)
        return torch.cat([table.flatten(0, 2), centre.flatten(0, 2) / 8])

    @torch.no_grad()
    def crossings(self, sdf: Tensor) -> Crossings:
        """Where the surface between `sdf` (n_vertices,) < 0, inside, and >= 0 cuts the lattice, in a fixed order."""
        inside = sdf < 0
        tets, edges = self._active(inside)
        table, counts = _cases(self.device)
        code = (inside[tets] * torch.tensor([1, 2, 4, 8], device=self.device)).sum(-1)
        used = torch.zeros(self._edge_count, dtype=torch.bool, device=self.device)
        cut = inside[tets][:, _first(self.device)] != inside[tets][:, _second(self.device)]  # (T, 6)
        used[edges[cut]] = True
        kept = used.nonzero()[:, 0]
        number = torch.zeros(self._edge_count, dtype=torch.int32, device=self.device)
        number[kept] = torch.arange(len(kept), dtype=torch.int32, device=self.device)
        ends = torch.empty(len(kept), 2, dtype=torch.int64, device=self.device)
        pairs = torch.stack([tets[:, _first(self.device)], tets[:, _second(self.device)]], -1)[cut]
        ends[number[edges[cut]].long()] = torch.where(inside[pairs[:, :1]], pairs, pairs.flip(-1))
        faces = []
        for k in range(2):  # a tetrahedron gives one triangle or two
            chosen = counts[code] > k
            faces.append(edges[chosen].gather(1, table[code[chosen], k]))
        return Crossings(ends, number[torch.cat(faces)].long())

    @property
    def _edge_count(self) -> int:
        return 3 * (self.cells + 1) ** 3 + 11 * self.cells**3

    def _active(self, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Tetrahedra (T, 4) that the surface may cut, and the numbers of their edges (T, 6) in the order of EDGES."""
        n, m = self.cells, self.cells + 1
        corners, centres = inside[: m**3].view(m, m, m).byte(), inside[m**3 :].view(n, n, n).byte()
        strides, inner = (1, m, m * m), (1, n, n * n)  # of x, y, z among corners and centres
        tets, edges = [], []
        for k, u, v in STRIDES:
            face = _face_cells(corners, centres, k)  # (F, 3) cells [x, y, z] whose face towards +k is cut
            low = (face * torch.tensor(inner, device=self.device)).sum(-1)
            base = (face * torch.tensor(strides, device=self.device)).sum(-1) + strides[k]
            for i, j in zip(range(4), (1, 2, 3, 0), strict=True):
                (iu, iv), (ju, jv) = SIDES[i], SIDES[j]
                first, second = base + iu * strides[u] + iv * strides[v], base + ju * strides[u] + jv * strides[v]
                along = u if iu != ju else v
                shift = [torch.minimum(first, second) + along * m**3, low + 3 * m**3 + k * n**3]
                spokes = [
                    low + step * inner[k] + 3 * m**3 + (3 + _corner(k, u, v, 1 - step, *SIDES[c])) * n**3
                    for step in (0, 1)
                    for c in (i, j)
                ]
                tets.append(torch.stack([low + m**3, low + inner[k] + m**3, first, second], -1))
                edges.append(torch.stack([shift[1], *spokes, shift[0]], -1))
        return torch.cat(tets), torch.cat(edges)


def _mesh(line: Tensor) -> Tensor:
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([x, y, z], -1).view(-1, 3)


def _corner(k: int, u: int, v: int, at_k: int, at_u: int, at_v: int) -> int:
    """Which of a cell's eight corners lies at these steps along the axes k, u, v."""
    return at_k << k | at_u << u | at_v << v


def _face_cells(corners: Tensor, centres: Tensor, k: int) -> Tensor:
    """(F, 3) x, y, z of the cells whose face towards +k has the surface among its 4 corners and 2 centres."""
    n = len(centres)
    axis = 2 - k  # arrays are [z, y, x]
    others = [a for a in range(3) if a != axis]
    face = corners.narrow(axis, 1, n - 1)
    for a in others:
        face = face.narrow(a, 0, n) + face.narrow(a, 1, n)
    total = face + centres.narrow(axis, 0, n - 1) + centres.narrow(axis, 1, n - 1)
    return ((total > 0) & (total < 6)).nonzero().flip(-1)


@cache
def _first(device: torch.device) -> Tensor:
    return torch.tensor([a for a, _ in EDGES], device=device)


@cache
def _second(device: torch.device) -> Tensor:
    return torch.tensor([b for _, b in EDGES], device=device)


@cache
def _cases(device: torch.device) -> tuple[Tensor, Tensor]:
    """Triangles (16, 2, 3) as numbers of EDGES, for every set of inside vertices, and how many there are (16,)."""
    table, counts = torch.zeros(16, 2, 3, dtype=torch.int64), torch.zeros(16, dtype=torch.int64)
    for code in range(16):
        triangles = _triangles([i for i in range(4) if code >> i & 1])
        counts[code] = len(triangles)
        for k, triangle in enumerate(triangles):
            table[code, k] = torch.tensor([EDGES.index((min(e), max(e))) for e in triangle])
    return table.to(device), counts.to(device)


def _triangles(inside: list[int]) -> list[list[tuple[int, int]]]:
    """The triangles between `inside` and the other corners of a tetrahedron of this module's handedness."""
    outside = [i for i in range(4) if i not in inside]
    if len(inside) in (1, 3):
        ring = [(i, o) for i in inside for o in outside]
    elif len(inside) == 2:
        (a, b), (c, d) = inside, outside
        ring = [(a, c), (a, d), (b, d), (b, c)]  # around the quad: neighbours share a face
    else:
        return []
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]])  # as (low, low + k, first, second)
    middle = torch.stack([(corners[a] + corners[b]) / 2 for a, b in ring])
    normal = torch.linalg.cross(middle[1] - middle[0], middle[2] - middle[0])
    outwards = corners[outside].mean(0) - corners[inside].mean(0)
    ring = ring if float(normal @ outwards) > 0 else ring[::-1]
    return [ring[:3]] if len(ring) == 3 else [ring[:3], [ring[0], ring[2], ring[3]]]


def place(points: Tensor, sdf: Tensor, crossings: Crossings) -> Tensor:
    """(V, 3) where the linear `sdf` is 0 along each cut edge (Shen et al. 2021, eq. 3); differentiable in both.

    No nearer to an end than MARGIN of the edge: where the surface runs through lattice vertices, triangles must not
    shrink to points.
    """
    inner, outer = crossings.ends.unbind(-1)
    a, b = sdf.index_select(0, inner), sdf.index_select(0, outer)
    share = (a / (a - b)).clamp(MARGIN, 1 - MARGIN)[:, None]
    return torch.lerp(points.index_select(0, inner), points.index_select(0, outer), share)
