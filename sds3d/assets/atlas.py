"""Several paints in one texture: every paint gets a rectangle of the atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import at_most
from sds3d.assets.mesh import Bytes, Doubles, Floats, tinted
from sds3d.picture import MAX_PIXELS

SIDE = 4096  # texels of the largest atlas; where the textures need more, they are made smaller
SMALLEST = 64
MAX_DRAWN = 8 * MAX_PIXELS
GUTTER = 2  # texels around every rectangle, so that neighbours do not bleed


@dataclass
class Cell:
    """An image that is to be repeated `tiles` (across, down) times; one of fixed size is never made smaller."""

    image: Bytes  # (h, w, 4)
    tiles: tuple[int, int] = (1, 1)
    tint: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # sRGB
    fixed: bool = False

    def size(self, scale: float) -> tuple[int, int]:
        """Width and height of one tile at this scale."""
        height, width = self.image.shape[:2]
        return (width, height) if self.fixed else (max(round(width * scale), 1), max(round(height * scale), 1))

    def drawn(self, scale: float) -> Bytes:
        """The tiles and their gutter."""
        from PIL import Image

        width, height = self.size(scale)
        image = self.image
        if (height, width) != image.shape[:2]:
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        image = np.tile(tinted(image, self.tint), (self.tiles[1], self.tiles[0], 1))
        return np.pad(image, ((GUTTER, GUTTER), (GUTTER, GUTTER), (0, 0)), mode="edge")


@dataclass(frozen=True)
class Packed:
    """The texture, and for every cell where it lies in it: x, y (of its top left), width, height in texels."""

    texture: Bytes
    places: NDArray[np.int64]  # (C, 4)

    def uv(self, cell: int, uv: Doubles, tiles: tuple[int, int]) -> Floats:
        """(P, 2) coordinates over a cell, in tiles and v upwards, to those of the atlas."""
        x, y, width, height = self.places[cell]
        side = len(self.texture)
        u = (x + uv[:, 0] / tiles[0] * width) / side
        v = 1 - (y + (1 - uv[:, 1] / tiles[1]) * height) / side
        return np.stack([u, v], -1).astype(np.float32)


def pack(cells: list[Cell]) -> Packed:
    """The smallest square of a power of two that holds all cells; beyond SIDE they shrink until they fit."""
    texels = sum(cell.image.shape[0] * cell.image.shape[1] for cell in cells)
    at_most(texels, MAX_DRAWN, "pixels in its materials together", "join the materials or make the textures smaller")
    scale, side = 1.0, SMALLEST
    while (places := _shelves(cells, scale, side)) is None:
        if side < SIDE:
            side *= 2
        elif scale > 1e-4:
            scale *= 0.8
        else:
            side *= 2  # of fixed cells alone; their number is bounded by that of the faces
    texture = np.zeros((side, side, 4), np.uint8)
    for cell, (x, y, width, height) in zip(cells, places, strict=True):
        texture[y - GUTTER : y + height + GUTTER, x - GUTTER : x + width + GUTTER] = cell.drawn(scale)
    return Packed(texture, places)


def _shelves(cells: list[Cell], scale: float, side: int) -> NDArray[np.int64] | None:
    """Rows of rectangles, the tallest first; None if they do not fit."""
    sizes = [(w * c.tiles[0], h * c.tiles[1]) for c in cells for w, h in [c.size(scale)]]
    places = np.zeros((len(cells), 4), np.int64)
    x = y = row = 0
    for i in sorted(range(len(cells)), key=lambda i: -sizes[i][1]):
        width, height = sizes[i][0] + 2 * GUTTER, sizes[i][1] + 2 * GUTTER
        if x + width > side:
            x, y, row = 0, y + row, 0
        if x + width > side or y + height > side:
            return None
        places[i] = x + GUTTER, y + GUTTER, *sizes[i]
        x, row = x + width, max(row, height)
    return places
