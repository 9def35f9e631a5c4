"""Parts of a surface that a lattice is too coarse for, made as wide as it can hold."""

from __future__ import annotations

import math

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
DEEP = 1.0  # cells below the surface: what is nowhere so deep, nor next to where it is, is thin
BESIDE = 1.9  # cells: what is just below the surface of something thick is nearer to its inside
AROUND = 2.01  # cells outside a thin part that belong to it
DENSE = 6  # points a side of a cell, so that the largest gap between random ones does not count
MOST = 400_000  # points


def with_thin_parts(distances: Tensor, lattice: Lattice, corners: NDArray[np.float32]) -> Tensor:
    """Signed `distances` (n_vertices,) to the surface of triangles `corners` (F, 3, 3), less where that has parts which
    the lattice does not show: sheets and rods thinner than a cell, with or without an inside."""
    wanted, _ = _points(torch.from_numpy(np.ascontiguousarray(corners)), lattice)
    cut = lattice.crossings(distances)
    lost = wanted
    if len(cut.faces):
        shown, gap = _points(place(lattice.points, distances, cut)[cut.faces].cpu(), lattice)
        away = cKDTree(shown).query(wanted, distance_upper_bound=4 * (lattice.spacing + gap))[0]
        lost = wanted[away > LOST * lattice.spacing + 3 * gap]
    if not len(lost):
        return distances
    points = lattice.points.cpu().numpy()
    near = cKDTree(lost).query(points, distance_upper_bound=2 * lattice.spacing)[0].astype(np.float32)
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


def _points(triangles: Tensor, lattice: Lattice) -> tuple[NDArray[np.float64], float]:
    """(P, 3) points of a surface, MOST at most, and how much farther apart they are than DENSE a cell."""
    triangles = triangles.double()
    area = float(areas(triangles).sum())
    step = lattice.spacing / DENSE
    n = min(MOST, max(1, math.ceil(area / step**2)))
    face, shares = scatter(triangles, n, stream(0, "thin parts"))
    at = torch.einsum("pk,pkc->pc", shares.double(), triangles[face]).numpy()
    return at, max(0.0, math.sqrt(area / n) - step)
