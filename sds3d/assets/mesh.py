"""A mesh from elsewhere: in our world, with its colours, and the way back to its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.placement import Matrix, Placement
from sds3d.render.mesh import Material, Soup

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
GREY = (0.8, 0.8, 0.8, 1.0)  # what has no colour of its own


@dataclass(frozen=True)
class Paint:
    """A base colour (sRGB, straight alpha) that multiplies an optional (H, W, 4) sRGB texture, which repeats."""

    rgba: tuple[float, ...] = GREY
    texture: Bytes | None = None


WHITE = Paint((1.0, 1.0, 1.0, 1.0))
# What some files have and the loaded mesh, or what is made of it, has not; Source.note says so.
TRANSPARENCY, BOTH_SIDES, METAL = "transparency", "faces seen from both sides", "metal"
OTHER_MAPS = "textures other than the base colour"


@dataclass
class Part:
    """One primitive as a file has it: its own coordinates, one paint."""

    vertices: Doubles  # (V, 3)
    faces: NDArray[np.integer]  # (F, 3)
    normals: Doubles | None = None  # (V, 3)
    uv: Doubles | None = None  # (V, 2), v upwards
    colors: Doubles | None = None  # (V, 4) sRGB, times the paint's
    paint: Paint = Paint()


@dataclass(frozen=True)
class LoadedMesh:
    """A triangle mesh in the world: +Y up, front +Z, in the unit ball. It has either a texture or vertex colours."""

    vertices: Floats  # (V, 3)
    faces: Ints  # (F, 3) counter-clockwise seen from outside, as far as the file says
    normals: Floats  # (V, 3) unit
    uv: Floats | None  # (V, 2) in [0, 1], origin at the bottom left of the texture
    texture: Bytes | None  # (H, W, 4) sRGB and straight alpha, first row on top
    colors: Floats | None  # (V, 4) sRGB and straight alpha
    placement: Placement
    notes: tuple[str, ...] = ()  # what the file has and this has not, in words

    @property
    def transform(self) -> Matrix:
        """(4, 4) from the world to the file's own coordinates."""
        return self.placement.matrix(self.placement.mesh_axes)

    def colors_at(self, face: NDArray[np.integer], shares: Floats) -> Floats:
        """(P, 4) sRGB and alpha at points given by their face (P,) and its corners' shares (P, 3); bilinear."""
        corners = self.faces[face]
        if self.colors is not None:
            return np.einsum("pk,pkc->pc", shares, self.colors[corners]).astype(np.float32)
        assert self.uv is not None and self.texture is not None
        return sample(self.texture, np.einsum("pk,pkc->pc", shares, self.uv[corners]).astype(np.float32))

    @cached_property
    def soup(self) -> Soup:
        """The same as free triangles, to be drawn. Vertex colours become a texture that interpolates as they do."""
        if self.colors is not None:
            uv, texture = gouraud(self.colors[self.faces])
        else:
            assert self.uv is not None and self.texture is not None
            uv, texture = self.uv[self.faces], self.texture
        material = np.zeros(len(self.faces), np.int32)
        paint = [Material((1.0, 1.0, 1.0, 1.0), texture)]
        return Soup(self.vertices[self.faces], self.normals[self.faces], uv, material, paint)


def sample(texture: Bytes, uv: Floats) -> Floats:
    """(P, C) in [0, 1]: the (H, W, C) texture at (P, 2) in [0, 1], bilinear, not repeating, v upwards."""
    height, width = texture.shape[:2]
    x, y = (uv[:, 0] * width - 0.5).clip(0, width - 1), ((1 - uv[:, 1]) * height - 0.5).clip(0, height - 1)
    left, top = np.floor(x), np.floor(y)
    out = np.zeros((len(uv), texture.shape[2]), np.float32)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - i - (y - top)) * np.abs(1 - j - (x - left))
        rows, columns = (top + i).clip(0, height - 1), (left + j).clip(0, width - 1)
        texels = texture[rows.astype(np.int64), columns.astype(np.int64)]
        out += weight[:, None].astype(np.float32) * texels
    return (out / 255).astype(np.float32)


def gouraud(colors: Floats) -> tuple[Floats, Bytes]:
    """A texture whose bilinear interpolation is that of (F, 3, 4) corner colours, and its uv (F, 3, 2): two by two
    texels a face, three of them the corners, the fourth their continuation as far as colours go."""
    columns = int(np.ceil(np.sqrt(len(colors))))
    a, b, c = np.moveaxis(colors, 1, 0)
    blocks = np.zeros((columns * columns, 2, 2, 4), np.float32)
    blocks[: len(colors)] = np.stack([np.stack([a, b], 1), np.stack([c, b + c - a], 1)], 1)
    image = blocks.reshape(columns, columns, 2, 2, 4).transpose(0, 2, 1, 3, 4).reshape(2 * columns, 2 * columns, 4)
    row, column = np.divmod(np.arange(len(colors)), columns)
    corners = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]])  # texels from the block's top left
    texels = np.stack([column, row], -1)[:, None] * 2 + corners
    uv = texels / (2 * columns) * [1, -1] + [0, 1]
    return uv.astype(np.float32), (image.clip(0, 1) * 255).round().astype(np.uint8)


def tinted(texture: Bytes, rgba: Sequence[float]) -> Bytes:
    """The texture times an sRGB colour; the product is taken of linear light, as glTF asks."""
    if all(value == 1 for value in rgba):
        return texture
    ramp = np.arange(256) / 255
    table = [encoded(decoded(ramp) * decoded(np.array(c))) for c in rgba[:3]] + [ramp * rgba[3]]
    lut = (np.stack(table, -1).clip(0, 1) * 255).round().astype(np.uint8)
    return np.stack([lut[texture[..., i], i] for i in range(4)], -1)


def see_through(parts: Sequence[Part]) -> bool:
    """Whether any alpha of the parts' paints, textures or vertices is less than 1."""
    textures = {id(part.paint.texture): part.paint.texture for part in parts if part.paint.texture is not None}
    return (
        any(part.paint.rgba[3] < 1 for part in parts)
        or any(bool((texture[..., 3] < 255).any()) for texture in textures.values())
        or any(bool((part.colors[:, 3] < 1).any()) for part in parts if part.colors is not None)
    )


def decoded(srgb: Doubles) -> Doubles:
    """sRGB to linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def encoded(linear: Doubles) -> Doubles:
    """Linear light to sRGB."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def smooth_normals(vertices: Doubles, faces: NDArray[np.integer]) -> Doubles:
    """(V, 3) unit: the faces' normals around each vertex, weighted by area; +Y where there is no area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(flat[:, k], 3), len(vertices)) for k in range(3)], -1)
    return unit(total, np.array([0.0, 1.0, 0.0]))


def unit(vectors: NDArray[Any], otherwise: Doubles) -> Doubles:
    """`vectors` at length 1; `otherwise` (broadcast) where they have none or are not numbers."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = np.isfinite(length) & (length > 1e-30)
    return np.where(good, vectors / np.where(good, length, 1), otherwise)
