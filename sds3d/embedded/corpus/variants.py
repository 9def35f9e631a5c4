"""The same shape in another colour or of another material."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sds3d.render.mesh import Material, Soup

TILE = 0.9  # texture repeats per unit length of a mapped surface


def normalise(soup: Soup) -> Soup:
    """Into the unit ball: bounding-box centre to the origin, farthest vertex to radius 1. Drops non-finite faces.

    ValueError if nothing is left.
    """
    finite = np.isfinite(soup.corners).all((1, 2)) & np.isfinite(soup.uv).all((1, 2))
    if not finite.any():
        raise ValueError("no faces")
    corners = soup.corners[finite]
    points = corners.reshape(-1, 3)
    centre = (points.min(0) + points.max(0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    if radius <= 0:
        raise ValueError("no extent")
    normals = np.nan_to_num(soup.normals[finite])
    return Soup((corners - centre) / radius, normals, soup.uv[finite], soup.material[finite], soup.materials)


def main_materials(soup: Soup, share: float) -> list[int]:
    """The materials with the largest areas that together cover `share` of the opaque surface."""
    area = np.bincount(soup.material, soup.areas(), len(soup.materials))
    area = area * np.array([m.rgba[3] > 0.5 for m in soup.materials])
    order = np.argsort(-area, kind="stable")
    reached = np.cumsum(area[order]) / max(area.sum(), 1e-12)
    return [int(i) for i in order[: 1 + int(np.searchsorted(reached, share))]]


def recolour(soup: Soup, rgb: NDArray[np.float64]) -> Soup:
    """The main materials in sRGB colour `rgb`; textures keep their pattern as luminance around 1."""
    materials = list(soup.materials)
    light = float(np.mean(rgb))
    for i in main_materials(soup, 0.6):
        old = materials[i]
        texture = None if old.texture is None else _luminance(old.texture, 0.35 if light > 0.8 else 0.7)
        materials[i] = Material((float(rgb[0]), float(rgb[1]), float(rgb[2]), old.rgba[3]), texture)
    return replace(soup, materials=materials)


def _luminance(texture: NDArray[np.uint8], contrast: float) -> NDArray[np.uint8]:
    """Grey texture of the same pattern, mean about 0.9."""
    grey = texture[..., :3].astype(np.float32).mean(-1)
    seen = texture[..., 3] > 128
    mean = max(float(grey[seen].mean()) if seen.any() else float(grey.mean()), 1.0)
    level = np.clip(0.92 * (1 + contrast * (grey / mean - 1)), 0.2, 1.0)
    out = texture.copy()
    out[..., :3] = (level * 255).astype(np.uint8)[..., None]
    return out


def rematerial(soup: Soup, texture: NDArray[np.uint8]) -> Soup:
    """The main materials become `texture`, projected along the axis each triangle faces most."""
    chosen = main_materials(soup, 0.85)
    mapped = np.isin(soup.material, chosen)
    corners = soup.corners[mapped]
    axis = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])).argmax(1)
    planes = np.array([[2, 1], [0, 2], [0, 1]])[axis]  # the two coordinates that span the face
    uv = soup.uv.copy()
    uv[mapped] = np.take_along_axis(corners, planes[:, None, :].repeat(3, 1), 2) * TILE
    materials = list(soup.materials)
    for i in chosen:
        materials[i] = Material((1.0, 1.0, 1.0, 1.0), texture)
    return replace(soup, uv=uv, materials=materials)
