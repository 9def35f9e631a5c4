"""Coat patterns of four-legged animals: paint rules in world coordinates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sds3d.embedded.corpus.procedural_beast import Beast, Coat, joints
from sds3d.embedded.corpus.procedural_kit import Mask, Rng, Rule, between
from sds3d.embedded.corpus.shapes import Array


def _spots(b: Beast, coat: Coat, rng: Rng) -> list[Rule]:
    """A few large patches, as on a cow."""
    at = rng.uniform((-1, 0.3, -1), (1, 1, 1), (9, 3)) * (b.wide, 2 * b.leg + b.deep, b.length / 1.8)
    size = rng.uniform(0.14, 0.24, 9) * b.length / 1.2

    def inside(x: Array, y: Array, z: Array) -> Mask:
        p = np.stack([x, y, z], -1)[:, None]
        return (np.linalg.norm(p - at, axis=-1) < size).any(1) & (y > 0.7 * b.leg)

    return [(inside, coat.marking)]


def _stripes(b: Beast, coat: Coat, rng: Rng) -> list[Rule]:
    """Upright bands on the body, level ones on legs and neck."""
    n, neck = between(rng, 30, 36) / b.length, joints(b).withers[2] + 0.12

    def inside(x: Array, y: Array, z: Array) -> Mask:
        body = np.sin(n * (z + 0.25 * np.abs(x)) + 1.5 * np.sin(5 * y))
        return np.where((y < b.leg) | (z > neck), np.sin(1.1 * n * y), body) > 0.3

    return [(inside, coat.marking)]


def _rosettes(b: Beast, coat: Coat, rng: Rng) -> list[Rule]:
    """Cells of a Voronoi diagram with light borders, as on a giraffe."""
    head = joints(b).head
    seeds = rng.uniform((-1.2, 0, -1), (1.2, 1, 1), (180, 3)) * (b.wide, head[1] + 0.2, head[2] + 0.2)

    def inside(x: Array, y: Array, z: Array) -> Mask:
        p = np.stack([x, y, z], -1)
        square = (p * p).sum(1)[:, None] - 2 * p @ seeds.T + (seeds * seeds).sum(1)
        d = np.sqrt(np.maximum(np.partition(square, 1, axis=1)[:, :2], 0))
        return (d[:, 1] - d[:, 0] > 0.022) & (y > 0.5 * b.leg)

    return [(inside, coat.marking)]


def _panda(b: Beast, coat: Coat, rng: Rng) -> list[Rule]:
    """Dark shoulders and legs."""
    j = joints(b)
    return [
        (lambda x, y, z: (np.abs(z - j.withers[2] + 0.05) < 0.16) & (y < j.head[1]), coat.marking),
        (lambda x, y, z: y < b.leg, coat.marking),
    ]


MARKS: dict[str, Callable[[Beast, Coat, Rng], list[Rule]]] = {
    "none": lambda b, coat, rng: [],
    "spots": _spots,
    "stripes": _stripes,
    "rosettes": _rosettes,
    "panda": _panda,
}


def pattern(b: Beast, coat: Coat, rng: Rng) -> list[Rule]:
    """The light underside and chest, then the marks."""
    j = joints(b)
    low = j.body_y - 0.45 * b.deep
    rules: list[Rule] = []
    if b.lights == "belly":
        rules.append((lambda x, y, z: (y < low) & (z < j.withers[2] + 0.3), coat.light))
    if b.lights == "corgi":  # legs keep the coat's colour down to their socks, so that they part from bib and belly
        throat, chest = j.head[1] - 0.45 * b.head_h, j.withers[2] + 0.02
        rules.append((lambda x, y, z: ((z > chest) | (y < low)) & (y < throat) & _middle(b, x), coat.light))
        rules.append((lambda x, y, z: y < 0.5 * b.leg, coat.paw or coat.light))
    return rules + MARKS[b.mark](b, coat, rng)


def _middle(b: Beast, x: Array) -> Mask:
    """Between the legs."""
    return np.abs(x) < 0.45 * b.wide
