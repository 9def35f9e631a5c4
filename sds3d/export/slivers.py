"""Thin triangles taken out of a closed mesh: a flat one's long side is turned, a sharp one's short side goes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sds3d.export.mesh import Floats, Ints, Mesh, compact, face_normals

THINNEST = 0.04  # height over longest side below which a triangle is a sliver
TURN = 0.5  # cosine: no face may turn farther than this
ROUNDS = 4


def slenderness(corners: Floats) -> Floats:
    """(F,) lowest height over longest side of (F, 3, 3): 0.87 for an equilateral triangle, 0 for a sliver."""
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    return (np.linalg.norm(face_normals(corners), axis=1) / np.maximum(sides**2, 1e-30)).astype(np.float32)


def without_slivers(mesh: Mesh, thinnest: float = THINNEST) -> Mesh:
    """The mesh with its slivers mended where that leaves a manifold, turns no face and makes nothing thinner."""
    for _ in range(ROUNDS):
        thin = np.flatnonzero(slenderness(mesh.corners) < thinnest)
        if not len(thin):
            break
        patch = _Patch(mesh)
        changed = [patch.turn(face) or patch.shrink(face) for face in thin.tolist()]
        mesh = compact(Mesh(patch.vertices, patch.faces))
        if not any(changed):
            break
    return mesh


class _Patch:
    """A mesh under local changes; faces around a change are left alone for the rest of the round."""

    def __init__(self, mesh: Mesh) -> None:
        self.vertices, self.faces = mesh.vertices.copy(), mesh.faces.copy()
        order = np.argsort(self.faces.ravel(), kind="stable")
        self.around = np.split(
            order // 3, np.cumsum(np.bincount(self.faces.ravel(), minlength=len(self.vertices)))[:-1]
        )
        self.touched = np.zeros(len(self.faces), bool)

    def turn(self, face: int) -> bool:
        """Exchange the face's longest side for the other diagonal of the two faces at it."""
        u, v, w = self._from(face, longest=True)
        both = np.intersect1d(self.around[u], self.around[v])
        if len(both) != 2 or self.touched[both].any():
            return False
        x = int(self.faces[both].sum() - self.faces[face].sum() - u - v)
        if len(np.intersect1d(self.around[w], self.around[x])):
            return False
        new = np.array([[w, u, x], [x, v, w]], np.int32)
        if not self._better(both, new):
            return False
        self.faces[[face, int(both.sum()) - face]] = new
        self._touch(u, v, w, x)
        return True

    def shrink(self, face: int) -> bool:
        """Put the ends of the face's shortest side together in its middle."""
        u, v, _ = self._from(face, longest=False)
        both = np.intersect1d(self.around[u], self.around[v])
        rest = np.setxor1d(self.around[u], self.around[v])
        common = np.intersect1d(self.faces[self.around[u]], self.faces[self.around[v]])
        if len(both) != 2 or len(common) != 4 or self.touched[rest].any() or self.touched[both].any():
            return False
        place = self.vertices[[u, v]].mean(0)
        old, self.vertices[[u, v]] = self.vertices[[u, v]].copy(), place
        corners, self.vertices[[u, v]] = self.vertices[self.faces[rest]].copy(), old
        before = self.vertices[self.faces[rest]]
        if not _no_worse(before, corners, float(slenderness(self.vertices[self.faces[[face]]])[0])):
            return False
        self.vertices[[u, v]] = place
        self._touch(u, v)
        self.faces[self.faces == v] = u
        return True

    def _from(self, face: int, longest: bool) -> tuple[int, int, int]:
        """The face's corners, in its own direction, from its longest or shortest side on."""
        corners = self.vertices[self.faces[face]]
        sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
        u, v, w = np.roll(self.faces[face], -int(sides.argmax() if longest else sides.argmin())).tolist()
        return u, v, w

    def _better(self, old: NDArray[np.integer], new: Ints) -> bool:
        before, after = self.vertices[self.faces[old]], self.vertices[new]
        normal = face_normals(before).sum(0)
        turned = face_normals(after) @ normal <= TURN * np.linalg.norm(face_normals(after), axis=1) * np.linalg.norm(
            normal
        )
        return bool(slenderness(after).min() > slenderness(before).min() and not turned.any())

    def _touch(self, *vertices: int) -> None:
        self.touched[np.concatenate([self.around[v] for v in vertices])] = True


def _no_worse(before: Floats, after: Floats, least: float) -> bool:
    """No triangle turns far, and none becomes thinner than `least` and than it was."""
    old, new = face_normals(before), face_normals(after)
    cosine = (old * new).sum(1) / np.maximum(np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1), 1e-30)
    thinner = (slenderness(after) < slenderness(before)) & (slenderness(after) <= least)
    return bool((cosine > TURN).all() and not thinner.any())
