"""Parts of a surface that a lattice is too coarse for, made as wide as it can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from sds3d.scenes.scatter import areas, scatter
from sds3d.scenes.tetra import Lattice, place
from sds3d.streams import stream

LOST = 0.65  # of a cell: a part that is farther from the cut surface is not there (a cube's corner comes nearer)
HALF = 0.6  # of a cell: half the width that it gets, so that lattice vertices are inside without a gap
SHEET = 1.1  # cells: what is as thick as that shows without holes
OPPOSITE = -0.5  # cosine between the normals of its two sides, at most
DEEP = 1.0  # cells below the surface: what is nowhere so deep, nor next to where it is, is thin
BESIDE = 1.9  # cells: what is just below the surface of something thick is nearer to its inside
AROUND = 2.01  # cells outside a thin part that belong to it
DENSE = 6  # points a side of a cell, so that the largest gap between random ones does not count
MOST = 400_000  # points


@dataclass(frozen=True)
class _Points:
    """Random points of a surface, MOST at most."""

    at: NDArray[np.float64]  # (P, 3)
    normals: NDArray[np.float64]  # (P, 3), outwards if the surface is closed
    gap: float  # how much farther apart they are than DENSE a cell


def with_thin_parts(distances: Tensor, lattice: Lattice, corners: NDArray[np.float32]) -> Tensor:
    """Signed `distances` (n_vertices,) to the surface of triangles `corners` (F, 3, 3), less where that has parts which
    the lattice does not show whole: sheets and rods thinner than a cell, with or without an inside."""
    wanted = _points(torch.from_numpy(np.ascontiguousarray(corners)), lattice)
    widened = _grown(distances, lattice, _middles(wanted, SHEET * lattice.spacing))
    cut = lattice.crossings(widened)
    if not len(cut.faces):
        return _grown(widened, lattice, wanted.at)
    shown = _points(place(lattice.points, widened, cut)[cut.faces].cpu(), lattice)
    reach = 4 * (lattice.spacing + shown.gap)
    away = cKDTree(shown.at).query(wanted.at, distance_upper_bound=reach)[0]
    return _grown(widened, lattice, wanted.at[away > LOST * lattice.spacing + 3 * shown.gap])


def _middles(surface: _Points, width: float) -> NDArray[np.float64]:
    """(M, 3) points half way between two sides of a closed surface that are less than `width` apart: a ball of that
    width that touches one of them from the inside sticks out of the other."""
    centres = surface.at - surface.normals * (width / 2)
    tree = cKDTree(surface.at)
    away, other = tree.query(centres, distance_upper_bound=0.95 * width / 2 - surface.gap)
    near = np.isfinite(away)
    at, other = surface.at[near], other[near]
    sides = (surface.normals[near] * surface.normals[other]).sum(1) < OPPOSITE
    return (at[sides] + surface.at[other[sides]]) / 2


def _grown(distances: Tensor, lattice: Lattice, points: NDArray[np.float64]) -> Tensor:
    """`distances` with everything inside that is nearer than HALF a cell to one of `points` (P, 3)."""
    if not len(points):
        return distances
    reach = 2 * lattice.spacing
    near = cKDTree(points).query(lattice.points.cpu().numpy(), distance_upper_bound=reach)[0].astype(np.float32)
    return torch.minimum(distances, torch.from_numpy(near - HALF * np.float32(lattice.spacing)).to(distances))


def thin_inside(distances: Tensor, lattice: Lattice) -> Tensor:
    """(n_vertices,) bool: inside, where signed `distances` have it, and in a part thinner than about two cells."""
    inside, deep = distances < 0, distances < -DEEP * lattice.spacing
    thin = inside.clone()
    if deep.any() and inside.any():
        points = lattice.points.cpu().numpy()
        rows = inside.cpu().numpy()
        away = cKDTree(points[deep.cpu().numpy()]).query(points[rows], distance_upper_bound=BESIDE * lattice.spacing)[0]
        thin[inside] = torch.from_numpy(np.isinf(away)).to(thin.device)
    return thin


def held(distances: Tensor, lattice: Lattice, keep: float) -> tuple[Tensor, Tensor]:
    """(n_vertices,) twice: how small and how large signed `distances` may become, so that thin parts keep their width
    to within 1 - `keep` of it: in them and AROUND them by that share of what they are, elsewhere anything."""
    around = thin_inside(distances, lattice)
    if around.any():
        outside = distances >= 0
        points = lattice.points.cpu().numpy()
        near = cKDTree(points[around.cpu().numpy()]).query(
            points[outside.cpu().numpy()], distance_upper_bound=AROUND * lattice.spacing
        )[0]
        around[outside] = torch.from_numpy(np.isfinite(near)).to(around.device)
    give = torch.where(around, (1 - keep) * distances.abs(), torch.inf)
    return distances - give, distances + give


def within(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`values` clamped to [low, high]; unlike torch's, the gradient still pulls back what lies outside."""
    clamped = values + (values.clamp(low, high) - values).detach()
    if clamped.requires_grad:
        above, below = values.detach() > high, values.detach() < low
        clamped.register_hook(lambda g: g.masked_fill(above & (g < 0) | below & (g > 0), 0.0))
    return clamped


def _points(triangles: Tensor, lattice: Lattice) -> _Points:
    triangles = triangles.double()
    area = float(areas(triangles).sum())
    step = lattice.spacing / DENSE
    n = min(MOST, max(1, math.ceil(area / step**2)))
    face, shares = scatter(triangles, n, stream(0, "thin parts"))
    chosen = triangles[face]
    outwards = torch.linalg.det(triangles).sum().sign()  # of the volume
    normals = outwards * torch.linalg.cross(chosen[:, 1] - chosen[:, 0], chosen[:, 2] - chosen[:, 0])
    at = torch.einsum("pk,pkc->pc", shares.double(), chosen)
    unit = torch.nn.functional.normalize(normals, dim=-1, eps=1e-300)
    return _Points(at.numpy(), unit.numpy(), max(0.0, math.sqrt(area / n) - step))
