"""Normal maps: what the decimated surface has lost, in the tangent space that glTF viewers use."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch.nn import functional as F

from sds3d.export.mesh import Floats, Ints, Mesh, TexturedMesh, face_normals, vertex_normals
from sds3d.export.texture import Texels, spread

NEAREST = 6  # faces of the fine surface, by their middles, among which a point's own is looked for
CHUNK = 1 << 16  # points at a time
FLAT = np.array([0.0, 0.0, 1.0])
STEEPEST = 0.2  # least z of a mapped normal


def tangents(vertices: Floats, faces: Ints, normals: Floats, uv: Floats) -> Floats:
    """(V, 4) as MikkTSpace has them (Mikkelsen 2008): the direction of growing u in each face, laid into the vertex's
    plane and weighed by the angle there; then 1, or -1 where the texture is mirrored. uv grow upwards in the image."""
    corners, coords = vertices[faces].astype(np.float64), uv[faces].astype(np.float64)
    edges, steps = corners[:, 1:] - corners[:, :1], coords[:, 1:] - coords[:, :1]
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]  # twice, signed, in the texture
    along = (edges[:, 0] * steps[:, 1, 1:] - edges[:, 1] * steps[:, 0, 1:]) * np.sign(area)[:, None]
    total, sign = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    for k in range(3):
        vertex = faces[:, k]
        to, back = (_flattened(corners[:, (k + i) % 3] - corners[:, k], normals[vertex]) for i in (1, 2))
        angle = np.arccos(np.clip((to * back).sum(1), -1, 1))
        np.add.at(total, vertex, _flattened(along, normals[vertex]) * angle[:, None])
        np.add.at(sign, vertex, np.sign(area) * angle)
    lost = np.linalg.norm(total, axis=1) < 1e-9
    total[lost] = np.cross(normals[lost], np.roll(normals[lost], 1, axis=1))  # any direction will do
    unit = _flattened(total, normals)
    return np.concatenate([unit, np.where(sign < 0, -1.0, 1.0)[:, None]], 1).astype(np.float32)


def _flattened(vectors: NDArray[np.float64], normals: Floats) -> NDArray[np.float64]:
    """Unit vectors along the parts of `vectors` that are orthogonal to the unit `normals`; 0 where there is none."""
    flat = vectors - (vectors * normals).sum(1, keepdims=True) * normals
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-20)


def normals_of(fine: Mesh, points: Floats, facing: Floats) -> Floats:
    """(P, 3) unit normals of `fine` where it is nearest to the points, on the side that `facing` (P, 3) looks to."""
    sides = face_normals(fine.corners)
    tree, smooth = cKDTree(fine.corners.mean(1)), vertex_normals(fine)
    count = min(NEAREST, len(fine.faces))
    found = []
    for start in range(0, len(points), CHUNK):
        some, looks = points[start : start + CHUNK], facing[start : start + CHUNK]
        _, near = tree.query(some, count)
        near = near.reshape(len(some), count)
        shares = nearest_shares(fine.corners[near], some[:, None])  # (p, K, 3)
        gap = np.linalg.norm((shares[..., None] * fine.corners[near]).sum(2) - some[:, None], axis=2)
        gap[np.einsum("pkc,pc->pk", sides[near], looks) <= 0] += 1e6
        best = gap.argmin(1)
        rows = np.arange(len(some))
        normal = (smooth[fine.faces[near[rows, best]]] * shares[rows, best, :, None]).sum(1)
        found.append(np.where(gap[rows, best, None] < 1e5, normal, looks))
    return F.normalize(torch.from_numpy(np.concatenate(found).astype(np.float32)), dim=-1).numpy()


def nearest_shares(corners: Floats, points: Floats) -> Floats:
    """(..., 3) barycentric shares of the point of each triangle (..., 3, 3) that is nearest to (..., 3) points."""
    a, b, c = np.moveaxis(corners.astype(np.float64), -2, 0)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    scale = np.maximum(uu * vv - uv * uv, 1e-30)
    share_b, share_c = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    inside = (share_b >= 0) & (share_c >= 0) & (share_b + share_c <= 1)
    ab, ac = np.clip(wu / np.maximum(uu, 1e-30), 0, 1), np.clip(wv / np.maximum(vv, 1e-30), 0, 1)
    bc = np.clip(((w - u) * (v - u)).sum(-1) / np.maximum(((v - u) ** 2).sum(-1), 1e-30), 0, 1)
    zero = np.zeros_like(ab)
    choices = np.stack([[share_b, share_c], [ab, zero], [zero, ac], [1 - bc, bc]])  # (4, 2, ...)
    away = ((choices[:, 0, ..., None] * u + choices[:, 1, ..., None] * v - w) ** 2).sum(-1)
    away[0] = np.where(inside, -1.0, np.inf)
    best = np.take_along_axis(choices, away.argmin(0)[None, None], 0)[0]
    return np.stack([1 - best[0] - best[1], best[0], best[1]], -1)


def normal_map(mesh: TexturedMesh, texels: Texels, fine: Mesh) -> NDArray[np.uint8]:
    """(T, T, 3) the normals of `fine` in the tangent space of `mesh`, whose tangents are there; flat where `fine`
    turns away."""
    assert mesh.tangents is not None
    corners, shares = mesh.faces[texels.face.numpy()], texels.shares.numpy()[..., None]
    normal = F.normalize(torch.from_numpy((mesh.normals[corners] * shares).sum(1)), dim=-1).numpy()
    tangent = (mesh.tangents[corners] * shares).sum(1)
    across = np.cross(normal, tangent[:, :3]) * np.sign(tangent[:, 3:])
    wanted = normals_of(fine, texels.positions.numpy(), normal)
    frame = np.stack([tangent[:, :3], across, normal], -1).astype(np.float64)  # columns
    sound = np.abs(np.linalg.det(frame)) > 0.1
    frame[~sound] = np.eye(3)
    mapped = np.linalg.solve(frame, wanted[..., None].astype(np.float64))[..., 0]
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    mapped[~sound | (mapped[:, 2] < STEEPEST)] = FLAT
    return spread(texels, torch.from_numpy(mapped * 0.5 + 0.5))
