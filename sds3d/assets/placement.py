"""Where an asset lies in its own file, and how it comes to lie in the unit ball."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import MAX_EXTENT, Broken
from sds3d.errors import UserError, unknown

Matrix = NDArray[np.float64]
HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # of a 3DGS .ply: +Y is down, as COLMAP has it
AXES = {f"{sign}{name}": s * np.eye(3)[i] for sign, s in (("+", 1.0), ("-", -1.0)) for i, name in enumerate("xyz")}
FRONTS = {"+y": "+z", "-y": "+z", "+z": "-y"}  # the usual front of files with this axis upwards
FITS = (0.5, 1.05)  # what is centred and reaches this far lies in the unit ball already and is not moved


@dataclass(frozen=True)
class Placement:
    """Similarity between the world and a file: file = axes @ (radius * world + centre).

    `axes` differs between sorts of files: glTF, USD and SPZ say themselves what is up, though not what is in front
    (`upright_axes`); obj, ply and stl do not (`mesh_axes`), nor do Gaussians in .ply and .splat (`splat_axes`).
    """

    centre: Matrix = field(default_factory=lambda: np.zeros(3))
    radius: float = 1.0
    mesh_axes: Matrix = field(default_factory=lambda: np.eye(3))
    splat_axes: Matrix = field(default_factory=lambda: HALF_TURN)
    upright_axes: Matrix = field(default_factory=lambda: np.eye(3))

    def axes(self, kind: str) -> Matrix:
        """(3, 3) of one kind of files: "upright", "splat" or "mesh"."""
        return {"upright": self.upright_axes, "splat": self.splat_axes, "mesh": self.mesh_axes}[kind]

    def matrix(self, axes: Matrix | None = None) -> Matrix:
        """(4, 4) from the world to a file with these axes; None: +Y up, front +Z."""
        axes = np.eye(3) if axes is None else axes
        whole = np.eye(4)
        whole[:3, :3] = axes * self.radius
        whole[:3, 3] = axes @ self.centre
        return whole


def orientation(up: str, front: str | None) -> Matrix:
    """(3, 3) from the world's axes to those of a file with `up` upwards and `front` towards the viewer. Both are a sign
    and a letter; `up` may leave the + out. Without `front` it is the usual one. UserError if they make no pair."""
    up = up if up[:1] in "+-" else f"+{up}"
    if up not in AXES:
        raise unknown("up axis", up, AXES)
    front = FRONTS.get(up, "+y") if front is None else front if front[:1] in "+-" else f"+{front}"
    if front not in AXES:
        raise unknown("front axis", front, AXES)
    if up[1] == front[1]:
        raise UserError(f"up {up} and front {front} are the same axis: choose two")
    return np.stack([np.cross(AXES[up], AXES[front]), AXES[up], AXES[front]], 1)


def words_of(axes: Matrix) -> tuple[str, str]:
    """`up` and `front` in words, of which `orientation` makes `axes`."""
    up, front = (next(name for name, axis in AXES.items() if np.array_equal(axis, axes[:, i])) for i in (1, 2))
    return up, front


def enclosing(points: Matrix) -> tuple[Matrix, float]:
    """Centre and radius of the ball that (P, 3) upright points are put into; the identity where they fit already."""
    extent = np.abs(points).max()
    if not extent < MAX_EXTENT:
        raise Broken(f"has coordinates as large as {extent:.3g}")
    if FITS[0] <= np.linalg.norm(points, axis=1).max() <= FITS[1]:
        return np.zeros(3), 1.0
    centre = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    if not radius > max(1e-12 * extent, 1e-30):
        raise Broken("is a single point")
    return centre, radius
