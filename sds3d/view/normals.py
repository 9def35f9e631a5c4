"""Which way a Gaussian faces: across the surface that it and its neighbours lie on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from sds3d.assets.gaussians import Gaussians

NEIGHBOURS = 16
FLAT = 0.5  # a Gaussian this much thinner one way than the others has a normal of its own
MANY = 300_000  # from here on asking the neighbours takes too long


def normals(splats: Gaussians) -> NDArray[np.float64]:
    """(N, 3) unit, of either sign: the thinnest axis of what is flat, else the direction in which the nearest
    Gaussians spread least (Hoppe et al. 1992)."""
    count = len(splats)
    if not count:
        return np.zeros((0, 3))
    axes = Rotation.from_quat(splats.quats[:, [1, 2, 3, 0]]).as_matrix()
    own = np.take_along_axis(axes, splats.scales.argmin(1)[:, None, None], 2)[..., 0]
    ordered = np.sort(splats.scales, 1)
    unsure = np.flatnonzero(ordered[:, 0] - ordered[:, 1] > np.log(FLAT))
    if count <= NEIGHBOURS or count > MANY or not len(unsure):
        return own
    _, near = cKDTree(splats.means).query(splats.means[unsure], NEIGHBOURS)
    around = splats.means[near] - splats.means[near].mean(1, keepdims=True)
    own[unsure] = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, 0]
    return own


def octahedral(unit: NDArray[np.float64]) -> NDArray[np.int8]:
    """(N, 2) bytes of (N, 3) unit vectors (Meyer et al. 2010)."""
    x, y, z = (unit / np.abs(unit).sum(1, keepdims=True).clip(1e-12)).T
    fold = z < 0
    u = np.where(fold, (1 - np.abs(y)) * np.where(x < 0, -1, 1), x)
    v = np.where(fold, (1 - np.abs(x)) * np.where(y < 0, -1, 1), y)
    return (np.stack([u, v], -1) * 127).round().astype(np.int8)
