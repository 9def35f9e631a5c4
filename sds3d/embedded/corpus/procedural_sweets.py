"""Sweet things: donut, ice cream, cake, cupcake, cookie, lollipop."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.procedural_food import BREAD, CHOCOLATE, CREAM
from sds3d.embedded.corpus.procedural_kit import (
    BRIGHT,
    COLOURS,
    LEAF,
    RED,
    WHITE,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    jitter,
    named,
    paint,
    pick,
    shade,
)
from sds3d.embedded.corpus.shapes import (
    Array,
    ball,
    cylinder,
    join,
    lathe,
    ring,
    sweep,
    torus,
    turn,
)

SCOOPS: dict[str, Rgb] = {
    "vanilla": CREAM,
    "chocolate": CHOCOLATE,
    "strawberry": (0.95, 0.60, 0.68),
    "mint": (0.62, 0.88, 0.70),
    "lemon": (0.97, 0.90, 0.45),
    "blueberry": (0.45, 0.45, 0.80),
}


ICINGS = {
    "pink": (0.95, 0.55, 0.70),
    "chocolate": CHOCOLATE,
    "white": WHITE,
    "blue": (0.35, 0.62, 0.92),
    "green": (0.55, 0.82, 0.45),
    "purple": (0.62, 0.40, 0.75),
    "yellow": (0.97, 0.85, 0.35),
    "red": (0.85, 0.15, 0.15),
    "orange": (0.95, 0.58, 0.18),
}


def _icing(rng: Rng) -> tuple[str, Rgb]:
    word = str(rng.choice(list(ICINGS)))
    return word, jitter(rng, ICINGS[word])


def _sprinkles(rng: Rng, points: Array, size: float = 0.055) -> list[Part]:
    """Little rods of many colours at the (n, 3) points, lying flat."""
    rods = [turn(ball((0, 0, 0), (size, 0.4 * size, 0.4 * size), n=8), "y", between(rng, 0, 180)) + p for p in points]
    groups = [rods[k::5] for k in range(5)]
    return [
        Part(join(*g), COLOURS[c])
        for g, c in zip(groups, ("red", "yellow", "blue", "green", "white"), strict=True)
        if g
    ]


def donut(rng: Rng) -> Made:
    word, rgb = _icing(rng)
    big, small = between(rng, 0.56, 0.64), between(rng, 0.29, 0.35)
    dough = torus((0, 0, 0), big, small)
    edge = torus((0, 0.03, 0), big, small * 1.06)
    a = np.arctan2(edge[..., 0], edge[..., 2]).mean(1)
    icing = edge[edge[..., 1].mean(1) > 0.03 + 0.07 * np.sin(7 * a) * small]
    parts = [Part(dough, jitter(rng, (0.84, 0.60, 0.32))), Part(icing, rgb)]
    extra, also = "", (f"{word} frosted donut", "doughnut")
    if chance(rng, 0.7):
        t, s = rng.uniform(0, 2 * np.pi, 46), rng.uniform(-1.0, 1.0, 46)
        r = big + small * np.sin(s)
        points = np.stack([r * np.sin(t), 0.03 + 1.06 * small * np.cos(s), r * np.cos(t)], -1)
        parts += _sprinkles(rng, points, 0.062)
        extra = "with sprinkles"
    tilt = 62  # shown leaning towards the viewer, so that the hole is seen
    return named("donut", word, extra, also), assemble([Part(turn(p.shape, "x", tilt), p.rgb) for p in parts])


def ice_cream(rng: Rng) -> Made:
    flavours = list(rng.choice(list(SCOOPS), int(rng.integers(1, 4)), replace=False))
    cone = lathe([(0, -1.35), (0.05, -1.33), (0.44, 0.0), (0.47, 0.08), (0.4, 0.08)], 40)
    grooves = (
        lambda x, y, z: (
            (np.mod(6 * np.arctan2(x, z) / np.pi + 5 * y, 1) < 0.2)
            | (np.mod(6 * np.arctan2(x, z) / np.pi - 5 * y, 1) < 0.2)
        ),
        (0.68, 0.44, 0.20),
    )
    fine = join(
        *(
            lathe(
                [
                    (0.05 + 0.39 * k / 24, -1.33 + 1.33 * k / 24),
                    (0.05 + 0.39 * (k + 1) / 24, -1.33 + 1.33 * (k + 1) / 24),
                ],
                60,
            )
            for k in range(24)
        )
    )
    parts = [Part(cone, (0.86, 0.62, 0.32)), *paint(fine * [1.005, 1, 1.005], (0.86, 0.62, 0.32), grooves)]
    y, r = 0.3, 0.48
    for f in flavours:
        skirt = ring(ball((0, y - 0.28 * r / 0.48, 0.85 * r), 0.3 * r, n=10), 9)
        parts.append(Part(join(ball((0, y, 0), r), skirt), jitter(rng, SCOOPS[str(f)])))
        y, r = y + 0.95 * r, 0.84 * r
    extra = ""
    if chance(rng, 0.4):
        parts += [
            Part(ball((0, y - 0.1, 0), 0.13, n=12), RED),
            Part(sweep([(0, y, 0), (0.06, y + 0.16, 0)], 0.02, 6), LEAF),
        ]
        extra = "with a cherry"
    elif chance(rng, 0.4):
        d = rng.normal(size=(22, 3))
        d = d / np.linalg.norm(d, axis=1, keepdims=True) * 0.49
        parts += _sprinkles(rng, d + [0, 0.3, 0])
        extra = "with sprinkles"
    flavour = str(flavours[0]) if len(flavours) == 1 else ("two scoop", "three scoop")[len(flavours) - 2]
    return named("ice cream", flavour, extra, ("ice cream cone",)), assemble(parts)


def cake(rng: Rng) -> Made:
    word, rgb = _icing(rng)
    trim_word, trim = _icing(rng)
    tiers = int(rng.integers(1, 4))
    parts, y, r = [], 0.0, 0.85 if tiers > 1 else 0.8
    for k in range(tiers):
        h = 0.5 if tiers == 1 else 0.42
        body = lathe([(0, y), (r, y), (r, y + h - 0.05), (r - 0.05, y + h), (0, y + h)], 32)
        drip = (lambda x, yy, z, y=y, h=h: yy > y + h * (0.62 + 0.16 * np.sin(9 * np.arctan2(x, z))), trim)
        wall = join(*(lathe([(r * 1.005, y + h * q / 12), (r * 1.005, y + h * (q + 1) / 12)], 64) for q in range(12)))
        parts += [Part(body, rgb), Part(ring(ball((0, y + 0.05, r), 0.085, n=10), int(16 * r)), trim)]
        parts += [p for p in paint(wall, rgb, drip) if p.rgb == trim] if k % 2 == 0 else []
        parts.append(Part(ring(ball((0, y + h + 0.01, r - 0.09), 0.075, n=10), int(14 * r)), trim))
        y, r = y + h, r * 0.7
    extra = f"with {trim_word} icing"
    if chance(rng, 0.6):
        n = int(rng.integers(3, 6)) if tiers < 3 else 1
        spots = (
            [(0.5 * r * np.sin(a), 0.5 * r * np.cos(a)) for a in np.arange(n) * 2 * np.pi / n]
            if n > 1
            else [(0.0, 0.0)]
        )
        for (x, z), c in zip(spots, ("blue", "red", "green", "yellow", "purple"), strict=False):
            parts += [
                Part(cylinder((x, y + 0.14, z), 0.05, 0.16), COLOURS[c]),
                Part(ball((x, y + 0.37, z), (0.05, 0.085, 0.05), n=10), (1.0, 0.7, 0.15)),
            ]
        extra = "with candles"
    else:
        parts += [Part(ring(ball((0, y + 0.09, 0.45 * r), 0.11, n=12), 5), RED)]
    parts.append(Part(lathe([(0, -0.06), (1.05, -0.03), (1.08, 0.02), (0, 0.0)], 32), (0.86, 0.87, 0.89)))
    return named("cake", word, extra, ("birthday cake",)), assemble(parts)


def cupcake(rng: Rng) -> Made:
    word, rgb = _icing(rng)
    wrap_word, wrap = pick(rng, BRIGHT, but=(word,))
    cup = lathe(
        [(0, -0.8), (0.46, -0.8), (0.64, -0.12), (0, -0.12)], 64, wobble=lambda a, y: 1 + 0.035 * np.cos(18 * a)
    )
    parts = paint(cup, wrap, (lambda x, y, z: np.mod(9 * np.arctan2(x, z) / np.pi, 1) < 0.25, shade(wrap, 0.35)))
    parts.append(Part(ball((0, -0.12, 0), (0.68, 0.16, 0.68)), CHOCOLATE if word != "chocolate" else BREAD))
    swirl = [
        (0.42 * (1 - t / 1.15) * np.sin(t * 20), 0.08 + 0.72 * t, 0.42 * (1 - t / 1.15) * np.cos(t * 20))
        for t in np.linspace(0, 1, 46)
    ]
    parts.append(
        Part(
            join(
                sweep(swirl, np.linspace(0.24, 0.1, 46), 10, 1), lathe([(0, -0.05), (0.6, 0.0), (0.35, 0.4), (0, 0.85)])
            ),
            rgb,
        )
    )
    if chance(rng, 0.6):
        parts += [
            Part(ball((0, 0.98, 0), 0.14, n=14), RED),
            Part(sweep([(0, 1.1, 0), (0.08, 1.28, 0)], 0.022, 6), LEAF),
        ]
        extra = "with a cherry"
    else:
        t, a = rng.uniform(0.05, 0.9, 26), rng.uniform(0, 6.28, 26)
        parts += _sprinkles(
            rng, np.stack([(0.66 - 0.54 * t) * np.sin(a), 0.12 + 0.74 * t, (0.66 - 0.54 * t) * np.cos(a)], -1)
        )
        extra = "with sprinkles"
    return named("cupcake", word, extra, ("muffin",)), assemble(parts)


def cookie(rng: Rng) -> Made:
    word, rgb = ("chocolate chip", (0.80, 0.57, 0.30)) if chance(rng, 0.7) else ("chocolate", (0.40, 0.23, 0.12))
    disc = turn(ball((0, 0, 0), (0.95, 0.17, 0.95), (1.0, 0.6), n=36), "x", 90)
    spots = [
        (q * np.sin(a), q * np.cos(a))
        for a, q in zip(
            np.arange(14) * 2.4 + between(rng, 0, 6), 0.78 * np.sqrt((np.arange(14) + 0.4) / 14), strict=True
        )
    ]
    chips = join(*(ball((x, y, s * (0.16 - 0.05 * (x * x + y * y))), 0.1, n=10) for x, y in spots for s in (-1, 1)))
    parts = [Part(disc, jitter(rng, rgb)), Part(chips, (0.25, 0.13, 0.07) if word != "chocolate" else CREAM)]
    if chance(rng, 0.3):
        parts = [
            Part(p.shape[np.hypot(p.shape[..., 0] - 0.75, p.shape[..., 1] - 0.7).mean(1) > 0.42], p.rgb) for p in parts
        ]
    return named("cookie", word, "", ("biscuit",)), assemble([Part(turn(p.shape, "x", -25), p.rgb) for p in parts])


def lollipop(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    other, c = pick(rng, (*BRIGHT, "white"), but=(word,))
    disc = turn(ball((0, 0, 0), (0.7, 0.16, 0.7), (1.0, 0.7), n=48), "x", 90)
    swirl = (lambda x, y, z: np.mod(np.arctan2(y, x) * 2 / np.pi + 2.4 * np.hypot(x, y), 1) < 0.5, c)
    parts = [Part(p.shape + np.array([0, 0.5, 0]), p.rgb) for p in paint(disc, rgb, swirl)]
    return named("lollipop", f"{word} and {other}", "", (f"{word} lollipop",)), assemble(
        [*parts, Part(sweep([(0, -0.1, 0), (0, -1.3, 0)], 0.055, 10), WHITE)]
    )


GENERATORS: dict[str, Generator] = {
    "donut": donut,
    "ice cream": ice_cream,
    "cake": cake,
    "cupcake": cupcake,
    "cookie": cookie,
    "lollipop": lollipop,
}
FRONTED = frozenset({"donut"})
