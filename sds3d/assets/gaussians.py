"""Gaussians as 3DGS files store them, and what turning and scaling the world does to them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sds3d.assets.placement import Matrix

Floats = NDArray[np.float32]
SH0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt pi)
DEGREES = {1: 0, 4: 1, 9: 2, 16: 3}  # number of coefficients: degree


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians before any activation, float32. Colour in direction d is 0.5 + sum_k sh[:, k] Y_k(d)."""

    means: Floats  # (N, 3)
    scales: Floats  # (N, 3) logarithms of standard deviations
    quats: Floats  # (N, 4) w x y z, of any length
    opacities: Floats  # (N,) logits
    sh: Floats  # (N, K, 3), K = (degree + 1)^2, in the order and signs of Kerbl et al. 2023

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: Any) -> Gaussians:
        return Gaussians(*(getattr(self, part.name)[index] for part in fields(self)))

    @property
    def degree(self) -> int:
        return DEGREES[self.sh.shape[1]]

    def turned(self, axes: Matrix) -> Gaussians:
        """The same Gaussians in coordinates R x, R a (3, 3) rotation. Where R only changes signs, so does this, and
        turning back gives the same bits, but for the sign of the quaternions, which means nothing."""
        if np.array_equal(axes, np.eye(3)):
            return self
        x, y, z, w = Rotation.from_matrix(axes).as_quat()
        quat = _snapped(np.array([w, x, y, z]))
        sh = np.empty_like(self.sh)
        for degree in range(self.degree + 1):
            band = slice(degree**2, (degree + 1) ** 2)
            moved = _apply(_band(degree, axes.tobytes()), self.sh[:, band].transpose(0, 2, 1))
            sh[:, band] = moved.transpose(0, 2, 1)
        return replace(self, means=_apply(_snapped(axes), self.means), quats=_apply(_product(quat), self.quats), sh=sh)

    def placed(self, radius: float, centre: Matrix) -> Gaussians:
        """The same Gaussians in coordinates radius * x + centre."""
        if radius == 1 and not centre.any():
            return self
        means = (self.means.astype(np.float64) * radius + centre).astype(np.float32)
        return replace(self, means=means, scales=(self.scales + np.log(radius)).astype(np.float32))


def _apply(matrix: Matrix, rows: Floats) -> Floats:
    """matrix (n, n) on the last axis of rows (..., n). A signed permutation moves the bits and adds nothing."""
    if ((matrix != 0).sum(1) == 1).all() and (np.abs(matrix).max(1) == 1).all():
        source = np.abs(matrix).argmax(1)
        signs = matrix[np.arange(len(matrix)), source].astype(np.float32)
        return rows[..., source] * signs
    return (rows.astype(np.float64) @ matrix.T).astype(np.float32)


def _product(quat: Matrix) -> Matrix:
    """(4, 4) that multiplies a w x y z quaternion by `quat` from the left."""
    w, x, y, z = quat
    return np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])


def _snapped(values: NDArray[Any]) -> Matrix:
    """Rounding errors of whole numbers removed."""
    whole = np.round(values)
    return np.where(np.abs(values - whole) < 1e-12, whole, values)


@lru_cache(maxsize=32)
def _band(degree: int, axes: bytes) -> Matrix:
    """(2d + 1, 2d + 1): coefficients of one degree, turned by the rotation R in `axes`. Found from the identity
    Y(d) c = Y(R d) c' at more directions than there are coefficients."""
    rotation = np.frombuffer(axes).reshape(3, 3)
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    band = slice(degree**2, (degree + 1) ** 2)
    before, after = (harmonics(d, degree)[:, band] for d in (directions, directions @ rotation.T))
    return _snapped(np.linalg.lstsq(after, before, rcond=None)[0])


def harmonics(directions: Matrix, degree: int) -> Matrix:
    """(P, (degree + 1)^2) real spherical harmonics of (P, 3) unit vectors, as Kerbl et al. 2023 order and sign them."""
    x, y, z = directions.T
    xx, yy, zz = x * x, y * y, z * z
    rows = [np.full_like(x, SH0)]
    if degree > 0:
        c = np.sqrt(3 / (4 * np.pi))
        rows += [-c * y, c * z, -c * x]
    if degree > 1:
        c = np.sqrt(15 / (4 * np.pi))
        rows += [c * x * y, -c * y * z, c / np.sqrt(12) * (2 * zz - xx - yy), -c * x * z, c / 2 * (xx - yy)]
    if degree > 2:
        a, b, c = np.sqrt(35 / (32 * np.pi)), np.sqrt(105 / (4 * np.pi)), np.sqrt(21 / (32 * np.pi))
        rows += [-a * y * (3 * xx - yy), b * x * y * z, -c * y * (4 * zz - xx - yy)]
        rows += [np.sqrt(7 / (16 * np.pi)) * z * (2 * zz - 3 * xx - 3 * yy), -c * x * (4 * zz - xx - yy)]
        rows += [b / 2 * z * (xx - yy), -a * x * (xx - 3 * yy)]
    return np.stack(rows, -1)
