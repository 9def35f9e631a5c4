"""Two objects together: one on another, or side by side; captions say which is which and their colours."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural import GENERATORS
from sds3d.embedded.corpus.procedural_kit import Generator, Made, Rng, between
from sds3d.render.mesh import Soup, concatenate

COMPOSITION = "composition"  # noun and category of all of them
SITTERS = ("cat", "corgi", "owl", "teddy bear", "frog", "penguin", "rabbit", "robot")
SEATS = ("chair", "stool", "sofa", "chest", "table")
MEALS = ("apple", "banana", "mug", "teapot", "cake", "cupcake", "pumpkin", "hamburger", "pineapple", "vase", "lamp")
TABLES = ("table", "stool")
CARGO = (
    ("duck", "chest"), ("skull", "book"), ("candle", "cake"), ("crown", "chest"), ("snowman", "gift box"),
    ("parrot", "barrel"), ("hat", "chair"), ("book", "table"), ("gift box", "table"), ("cactus", "table"),
    ("flower", "table"), ("dinosaur", "gift box"), ("robot", "gift box"), ("chicken", "barrel"),
)  # fmt: skip
BESIDE = (
    ("mug", "teapot"), ("cat", "dog"), ("corgi", "ball"), ("car", "house"), ("house", "tree"), ("horse", "barn"),
    ("apple", "banana"), ("robot", "dinosaur"), ("knight", "dragon"), ("chair", "table"), ("lamp", "sofa"),
    ("hamburger", "french fries"), ("snowman", "christmas tree"), ("penguin", "igloo"), ("owl", "book"),
    ("frog", "mushroom"), ("duck", "boat"), ("rocket", "astronaut"), ("ufo", "alien"), ("cactus", "camel"),
    ("princess", "castle"), ("wizard", "tower"), ("cow", "barn"), ("rabbit", "carrot"), ("bear", "pine tree"),
    ("bus", "car"), ("sheep", "dog"), ("pirate", "chest"), ("cake", "gift box"), ("bottle", "mug"),
    ("lemon", "orange"), ("truck", "tree"), ("unicorn", "castle"), ("turtle", "crab"), ("pig", "barrel"),
    ("guitar", "drum"), ("sword", "shield"), ("pumpkin", "ghost"), ("flower", "mushroom"), ("teddy bear", "ball"),
)  # fmt: skip
SIZES = {  # of the longest side, where it is not middling (1)
    "house": 1.5, "barn": 1.5, "castle": 1.6, "tower": 1.6, "tree": 1.4, "pine tree": 1.4, "igloo": 1.3, "dragon": 1.4,
    "rocket": 1.4, "christmas tree": 1.3, "sofa": 1.3, "bus": 1.3, "truck": 1.2, "horse": 1.2, "camel": 1.2,
    "ball": 0.6, "book": 0.7, "carrot": 0.7, "crab": 0.7, "duck": 0.7, "frog": 0.7, "boat": 1.2, "chest": 0.9,
    "bottle": 1.1,
}  # fmt: skip


def _scaled(soup: Soup, size: float) -> Soup:
    """Longest side `size`, standing on y = 0 over the origin."""
    points = soup.corners.reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    middle = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return replace(soup, corners=((soup.corners - middle) * (size / (high - low).max())).astype(np.float32))


def _moved(soup: Soup, by: tuple[float, float, float]) -> Soup:
    return replace(soup, corners=soup.corners + np.array(by, np.float32))


def surface(soup: Soup, x: float, z: float) -> float:
    """Height of the highest surface over the point (x, z) of the ground; ValueError where there is none."""
    a, b, c = (soup.corners[:, i].astype(np.float64) for i in range(3))
    p = np.array([x, z])

    def side(s: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        return (t[:, 0] - s[:, 0]) * (p[1] - s[:, 2]) - (t[:, 2] - s[:, 2]) * (p[0] - s[:, 0])

    weights = np.stack([side(b, c), side(c, a), side(a, b)], 1)
    total = weights.sum(1)
    share = weights / np.where(np.abs(total) > 1e-9, total, np.nan)[:, None]
    hit = (share >= -1e-6).all(1)
    if not hit.any():
        raise ValueError("nothing to stand on")
    return float((share * np.stack([a[:, 1], b[:, 1], c[:, 1]], 1)).sum(1)[hit].max())


def _phrases(first: list[str], link: str, second: list[str]) -> list[str]:
    """Both in full, then each in full with the other plain, then both plain."""

    def said(a: str, b: str) -> str:
        return f"{a} {link} {with_article(b)}"

    pairs = [(first[0], second[0]), (first[0], second[-1]), (first[-1], second[0]), (first[-1], second[-1])]
    return list(dict.fromkeys(said(a, b) for a, b in pairs))


def _short(phrases: list[str], noun: str) -> list[str]:
    """A phrase that names colour or material but no parts, and the plain noun: two things are enough to say."""
    plain = [p for p in phrases if " with " not in p and " wearing " not in p and " full " not in p and " in " not in p]
    named = [p for p in plain if p.endswith(noun)] or plain
    return [named[0] if named else phrases[0], named[-1] if named else phrases[-1]]


def _on(top: str, under: str, rng: Rng) -> Made:
    first, small = GENERATORS[top](rng)
    second, large = GENERATORS[under](rng)
    large = _scaled(large, 1.6)
    width = np.ptp(large.corners.reshape(-1, 3), axis=0)
    small = _scaled(small, min(1.15, 0.95 * float(max(width[0], width[2]))))
    foot = np.ptp(small.corners.reshape(-1, 3), axis=0)
    fit = min(1.0, 1.15 * float(min(width[0] / foot[0], width[2] / foot[2])))
    small = _scaled(small, fit * float(foot.max()))
    forward = 0.08 * float(width[2]) if under in ("chair", "sofa") else 0.0
    y = surface(large, 0.01, forward + 0.01)
    soup = concatenate([large, _moved(small, (0.0, y, forward))])
    return _phrases(_short(first, top), "on", _short(second, under)), soup


def _beside(left: str, right: str, rng: Rng) -> Made:
    made = [GENERATORS[noun](rng) for noun in (left, right)]
    soups = [
        _scaled(soup, SIZES.get(noun, 1.0) * between(rng, 0.9, 1.1))
        for (_, soup), noun in zip(made, (left, right), strict=True)
    ]
    halves = [float(np.ptp(s.corners[..., 0])) / 2 for s in soups]
    gap = between(rng, 0.08, 0.2)
    side = 1.0 if rng.random() < 0.5 else -1.0
    placed = [_moved(s, (k * side * (h + gap / 2), 0.0, 0.0)) for s, h, k in zip(soups, halves, (-1, 1), strict=True)]
    link = str(rng.choice(["next to", "beside", "and"]))
    first, second = (_short(phrases, noun) for (phrases, _), noun in zip(made, (left, right), strict=True))
    return _phrases(first, link, second), concatenate(placed)


_ON = (
    *((a, b) for a in SITTERS for b in SEATS),
    *((a, b) for a in MEALS for b in TABLES),
    *CARGO,
)
COMPOSITIONS: dict[str, Generator] = {
    **{f"{a} on {b}": partial(_on, a, b) for a, b in _ON},
    **{f"{a} beside {b}": partial(_beside, a, b) for a, b in BESIDE},
}
