"""Normal maps: what the decimated surface has lost, in the tangent space that glTF viewers use."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch.nn import functional as F

from sds3d.export.mesh import Floats, Ints, Mesh, TexturedMesh, vertex_normals
from sds3d.export.texture import TOGETHER, Texels, spread
from sds3d.render.jit import kernel

NEAREST = 6  # faces of the fine surface, by their middles, among which a point's own is looked for
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
    tree = cKDTree(fine.corners.mean(1))
    near = tree.query(points, min(NEAREST, len(fine.faces)), workers=-1)[1].reshape(len(points), -1)
    face, shares = np.empty(len(points), np.int64), np.empty((len(points), 3))
    corners = fine.corners.astype(np.float64)
    _nearest(points.astype(np.float64), facing.astype(np.float64), corners, near, face, shares)
    normals = (vertex_normals(fine)[fine.faces[face]] * shares[..., None]).sum(1)
    normals = np.where(face[:, None] >= 0, normals, facing).astype(np.float32)
    return F.normalize(torch.from_numpy(normals), dim=-1).numpy()


@kernel
def _nearest(points, facing, corners, near, face, shares):  # type: ignore[no-untyped-def]
    """Among the triangles `near` (P, K) of `corners` (F, 3, 3) that look to the same side as `facing`, the one nearest
    to each of `points`, -1 for none, and the barycentric shares of the place on it. The place lies inside, or on the
    edge along which the point is nearest."""
    u, v, w, normal = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for p in range(points.shape[0]):
        least = np.inf
        face[p] = -1
        for k in range(near.shape[1]):
            t = near[p, k]
            uu = uv = vv = wu = wv = 0.0
            for i in range(3):
                u[i], v[i] = corners[t, 1, i] - corners[t, 0, i], corners[t, 2, i] - corners[t, 0, i]
                w[i] = points[p, i] - corners[t, 0, i]
                uu, uv, vv = uu + u[i] * u[i], uv + u[i] * v[i], vv + v[i] * v[i]
                wu, wv = wu + w[i] * u[i], wv + w[i] * v[i]
            along = 0.0
            for i in range(3):
                j, m = (i + 1) % 3, (i + 2) % 3
                normal[i] = u[j] * v[m] - u[m] * v[j]
                along += normal[i] * facing[p, i]
            scale = uu * vv - uv * uv
            if not (along > 0 and scale > 0):
                continue
            b, c = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
            for edge in range(3):
                inside = b >= 0 and c >= 0 and b + c <= 1
                if inside and edge:
                    break
                if inside:
                    tb, tc = b, c
                elif edge == 0:
                    tb, tc = min(1.0, max(0.0, wu / uu)), 0.0
                elif edge == 1:
                    tb, tc = 0.0, min(1.0, max(0.0, wv / vv))
                else:
                    tc = min(1.0, max(0.0, (wv - wu - uv + uu) / (uu - 2 * uv + vv)))
                    tb = 1 - tc
                away = 0.0
                for i in range(3):
                    away += (w[i] - tb * u[i] - tc * v[i]) ** 2
                if away < least:
                    least, face[p] = away, t
                    shares[p, 0], shares[p, 1], shares[p, 2] = 1 - tb - tc, tb, tc


def normal_map(mesh: TexturedMesh, texels: Texels, fine: Mesh) -> NDArray[np.uint8]:
    """(T, T, 3) the normals of `fine` in the tangent space of `mesh`, whose tangents are there; flat where `fine`
    turns away."""
    parts = zip(*(part.split(TOGETHER) for part in (texels.positions, texels.face, texels.shares)), strict=True)
    mapped = np.concatenate([_mapped(mesh, p.numpy(), face.numpy(), shares.numpy(), fine) for p, face, shares in parts])
    return spread(texels, torch.from_numpy(mapped * np.float32(0.5) + np.float32(0.5)))


def _mapped(mesh: TexturedMesh, positions: Floats, face: Ints, shares: Floats, fine: Mesh) -> Floats:
    """(P, 3) unit vectors of the map at points of the mesh."""
    assert mesh.tangents is not None
    corners, shares = mesh.faces[face], shares[..., None]
    normal = F.normalize(torch.from_numpy((mesh.normals[corners] * shares).sum(1)), dim=-1).numpy()
    tangent = (mesh.tangents[corners] * shares).sum(1)
    across = np.cross(normal, tangent[:, :3]) * np.sign(tangent[:, 3:])
    wanted = normals_of(fine, positions, normal)
    frame = np.stack([tangent[:, :3], across, normal], -1).astype(np.float64)  # columns
    sound = np.abs(np.linalg.det(frame)) > 0.1
    frame[~sound] = np.eye(3)
    mapped = np.linalg.solve(frame, wanted[..., None].astype(np.float64))[..., 0]
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    mapped[~sound | (mapped[:, 2] < STEEPEST)] = FLAT
    return mapped.astype(np.float32)
