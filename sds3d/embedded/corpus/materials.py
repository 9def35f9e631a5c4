"""Procedural surface textures for variants: wood, marble, brick, stone, gold, metal, stripes, checks and dots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sds3d.embedded.corpus.names import COLOURS

SIZE = 128
Rng = np.random.Generator
Pattern = Callable[[Rng], NDArray[np.float64]]


def fractal(rng: Rng, octaves: int = 4) -> NDArray[np.float64]:
    """(SIZE, SIZE) periodic value noise in [0, 1]."""
    total = np.zeros((SIZE, SIZE))
    for octave in range(octaves):
        cells = 4 << octave
        coarse = rng.random((cells, cells))
        at = np.arange(SIZE) * cells / SIZE
        low, fraction = at.astype(int), at % 1
        smooth = fraction * fraction * (3 - 2 * fraction)
        rows = coarse[low] * (1 - smooth)[:, None] + coarse[(low + 1) % cells] * smooth[:, None]
        total += (rows[:, low] * (1 - smooth) + rows[:, (low + 1) % cells] * smooth) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return x, y


def _blend(low: tuple[float, ...], high: tuple[float, ...], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(low) + (np.array(high) - np.array(low)) * amount[..., None]


def wood(rng: Rng) -> NDArray[np.float64]:
    x, _ = _grid()
    tone = rng.uniform(0.75, 1.15)
    rings = 0.5 + 0.5 * np.sin((x * 6 + fractal(rng, 3) * 1.2) * 2 * np.pi)
    grain = fractal(rng)[:, rng.permutation(SIZE)] * 0.3
    return _blend((0.36, 0.20, 0.08), (0.68, 0.45, 0.23), rings * 0.7 + grain) * tone


def marble(rng: Rng) -> NDArray[np.float64]:
    x, y = _grid()
    veins = np.abs(np.sin((x + y + fractal(rng) * 1.5) * 2 * np.pi)) ** 0.35
    return _blend((0.50, 0.50, 0.53), (0.95, 0.95, 0.94), veins)


def brick(rng: Rng) -> NDArray[np.float64]:
    x, y = _grid()
    row = (y * 8).astype(int)
    along, across = (x * 4 + row % 2 * 0.5) % 1, y * 8 % 1
    wall = _blend((0.55, 0.20, 0.14), (0.68, 0.30, 0.20), fractal(rng))
    wall[(along < 0.06) | (across < 0.12)] = (0.75, 0.72, 0.68)
    return wall


def stone(rng: Rng) -> NDArray[np.float64]:
    return _blend((0.38, 0.37, 0.35), (0.66, 0.65, 0.62), fractal(rng, 5))


def gold(rng: Rng) -> NDArray[np.float64]:
    return _blend((0.80, 0.58, 0.12), (1.0, 0.84, 0.35), fractal(rng, 3))


def metal(rng: Rng) -> NDArray[np.float64]:
    _, y = _grid()
    return _blend((0.50, 0.52, 0.55), (0.78, 0.80, 0.83), np.clip(np.sin(y * 80) * 0.15 + fractal(rng) * 0.85, 0, 1))


def _stripes(rng: Rng) -> NDArray[np.bool_]:
    return _grid()[0] * 6 % 1 < 0.5


def _checks(rng: Rng) -> NDArray[np.bool_]:
    x, y = _grid()
    return (x * 6 % 1 < 0.5) ^ (y * 6 % 1 < 0.5)


def _dots(rng: Rng) -> NDArray[np.bool_]:
    x, y = _grid()
    return (x * 5 % 1 - 0.5) ** 2 + (y * 5 % 1 - 0.5) ** 2 < 0.07


SURFACES: dict[str, Pattern] = {
    "wooden": wood,
    "marble": marble,
    "brick": brick,
    "stone": stone,
    "golden": gold,
    "metal": metal,
}
MOTIFS: dict[str, Callable[[Rng], NDArray[np.bool_]]] = {
    "striped": _stripes,
    "checkered": _checks,
    "polka dot": _dots,
}


def make(kind: str, rng: Rng) -> tuple[str, NDArray[np.uint8]]:
    """(phrase, texture (SIZE, SIZE, 4)) of a surface or a two-coloured motif: "wooden", "red and white striped"."""
    phrase = kind
    if kind in SURFACES:
        rgb = SURFACES[kind](rng)
    else:
        first, second = rng.choice(list(COLOURS), 2, replace=False)
        inside = MOTIFS[kind](rng)
        rgb = np.where(inside[..., None], np.array(COLOURS[str(first)]), np.array(COLOURS[str(second)]))
        phrase = f"{first} and {second} {kind}"
    texels = np.full((SIZE, SIZE, 4), 255, np.uint8)
    texels[..., :3] = (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return phrase, texels
