"""Food that stands for itself: fruit, vegetables, bread and sweets."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.procedural_kit import (
    BARK,
    BLACK,
    BRIGHT,
    LEAF,
    Generator,
    Made,
    Mask,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    jitter,
    named,
    natural,
    paint,
    pick,
    shade,
)
from sds3d.embedded.corpus.shapes import Array, ball, join, lathe, move, prism, ring, sweep, turn

BREAD: Rgb = (0.86, 0.62, 0.32)
CREAM: Rgb = (0.97, 0.93, 0.84)
CHOCOLATE: Rgb = (0.36, 0.20, 0.11)


def _stem(y: float, lean: float = 0.08, r: float = 0.045) -> Part:
    return Part(sweep([(0, y - 0.15, 0), (0, y + 0.05, 0), (lean, y + 0.25, 0)], [r, r, 1.3 * r], 8), BARK)


def _leaf(y: float, rng: Rng) -> Part:
    blade = turn(ball((0.24, 0, 0), (0.27, 0.045, 0.12), (1.0, 1.0), n=14), "z", 25)
    return Part(turn(move(blade, (0.02, y, 0)), "y", between(rng, 0, 360)), jitter(rng, LEAF))


def _star(n: int, inner: float, outer: float) -> list[tuple[float, float]]:
    a = np.arange(2 * n) * np.pi / n
    r = np.where(np.arange(2 * n) % 2, inner, outer)
    return np.stack([r * np.sin(a), r * np.cos(a)], -1).tolist()


def apple(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("red", "red", "red", "green", "yellow"), 0.1)
    s = between(rng, 0.85, 1.05)
    rgb = (0.50, 0.72, 0.18) if word == "green" else rgb
    body = lathe(
        [
            (0, 0.5),
            (0.1, 0.58),
            (0.26, 0.72),
            (0.48, 0.78),
            (0.74, 0.66),
            (0.91, 0.32),
            (0.92, -0.05),
            (0.78, -0.45),
            (0.52, -0.74),
            (0.26, -0.8),
            (0, -0.68),
        ],
        30,
        True,
        lambda a, y: 1 - 0.05 * np.cos(5 * a) * np.clip(-y, 0, 1),
    )
    parts = [Part(body * [1, s, 1], jitter(rng, rgb)), _stem(0.72 * s)]
    leafy = chance(rng, 0.7)
    if leafy:
        parts.append(_leaf(0.8 * s, rng))
    return named("apple", word, "with a leaf" if leafy else "", (), plain), assemble(parts)


def pear(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "yellow"))
    rgb = jitter(rng, (0.66, 0.76, 0.22) if word == "green" else (0.90, 0.80, 0.25))
    h = between(rng, 0.85, 1.05)
    body = lathe(
        [(0, -0.85), (0.3, -0.85), (0.66, -0.5), (0.66, -0.15), (0.4, 0.35), (0.28, 0.65), (0.15, 0.82), (0, 0.85)],
        28,
        True,
    ) * [1, h, 1]
    return named("pear", word), assemble(
        [Part(body, rgb), _stem(0.92 * h), *([_leaf(0.95 * h, rng)] if chance(rng, 0.6) else [])]
    )


def orange(rng: Rng) -> Made:
    body = ball((0, 0, 0), (0.85, 0.82, 0.85), n=30)
    parts = [Part(body, jitter(rng, (0.95, 0.53, 0.08))), Part(ball((0, 0.81, 0), (0.1, 0.05, 0.1), n=10), LEAF)]
    return ["orange fruit", "ripe orange", "orange"], assemble(
        [*parts, *([_leaf(0.84, rng)] if chance(rng, 0.7) else [])]
    )


def lemon(rng: Rng) -> Made:
    body = lathe(
        [(0, -1.0), (0.1, -0.95), (0.22, -0.8), (0.6, -0.4), (0.68, 0), (0.6, 0.4), (0.22, 0.8), (0.1, 0.95), (0, 1.0)],
        28,
        True,
    )
    fat = between(rng, 0.9, 1.15)
    parts = [Part(turn(body * [fat, 1, fat], "z", between(rng, 60, 85)), jitter(rng, (0.97, 0.86, 0.18)))]
    leafy = chance(rng, 0.5)
    if leafy:
        parts.append(Part(move(_leaf(0, rng).shape, (-0.8, 0.35, 0)), LEAF))
    return named("lemon", "yellow", "with a leaf" if leafy else "", ("lemon fruit",)), assemble(parts)


def banana(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow",) * 6 + ("green",))
    rgb = (0.95, 0.82, 0.20) if word == "yellow" else (0.62, 0.76, 0.22)
    a = np.deg2rad(np.linspace(-62, 62, 7))
    arc = np.stack([1.15 * np.sin(a), -1.15 * np.cos(a) + 0.85, 0 * a], -1)
    one = sweep(arc, [0.10, 0.19, 0.23, 0.24, 0.23, 0.18, 0.07], 10, 5)
    tips = join(sweep([arc[-1], arc[-1] + [0.11, 0.17, 0]], 0.065, 8), ball(arc[0] + [-0.05, 0.06, 0], 0.085, n=8))
    n = int(rng.integers(1, 4))
    bunch = [(0,), (-16, 16), (-26, 0, 26)][n - 1]
    stalk = arc[-1] + [0.1, 0.15, 0]
    parts = [
        Part(join(*(turn(s, "x", t, stalk) for t in bunch)), c)
        for s, c in ((one, jitter(rng, rgb)), (tips, shade(BARK, 0.1)))
    ]
    return named("banana", word, "", ("bunch of bananas",) if n > 1 else ()), assemble(parts)


def pineapple(rng: Rng) -> Made:
    h = between(rng, 0.9, 1.1)
    body = lathe([(0, -0.95), (0.4, -0.92), (0.64, -0.5), (0.68, 0.0), (0.58, 0.5), (0.3, 0.8), (0, 0.85)], 48, True)
    a, y = np.arctan2(body[..., 0], body[..., 2]), body[..., 1]
    bump = 1 + 0.07 * np.cos(4 * a + 9 * y) * np.cos(4 * a - 9 * y) * (np.abs(y) < 0.85)
    body = body * bump[..., None]
    groove = (
        lambda x, y, z: np.cos(4 * np.arctan2(x, z) + 9 * y) * np.cos(4 * np.arctan2(x, z) - 9 * y) < -0.35,
        (0.62, 0.40, 0.10),
    )
    parts = paint(body * [1, h, 1], jitter(rng, (0.90, 0.65, 0.16)), groove)
    leaves = []
    for tier, (tilt, tall, n) in enumerate(((58, 0.5, 9), (36, 0.75, 8), (14, 0.95, 5))):
        blade = sweep(
            [(0, 0, 0.08), (0, 0.5 * tall, 0.1), (0, tall, 0.24)], [(0.12, 0.04), (0.1, 0.03), (0.005, 0.005)], 8
        )
        leaves.append(ring(turn(blade, "x", tilt * 0.6), n, 20 * tier))
    parts.append(Part(move(join(*leaves), (0, 0.74 * h, 0)), jitter(rng, LEAF)))
    return named("pineapple", "yellow", "with green leaves"), assemble(parts)


def strawberry(rng: Rng) -> Made:
    profile = [(0, -1), (0.22, -0.88), (0.5, -0.4), (0.7, 0.1), (0.7, 0.4), (0.48, 0.62), (0, 0.64)]
    body = lathe(profile, 28, True)
    seeds = []
    for k, y in enumerate((0.42, 0.15, -0.12, -0.4, -0.65)):
        r = float(np.interp(-y, [-p[1] for p in profile[::-1]], [p[0] for p in profile[::-1]]))
        seeds.append(ring(ball((0, y, r * 1.01), (0.035, 0.055, 0.03), n=8), max(5, int(14 * r)), 20 * k))
    leaves = ring(turn(ball((0, 0.06, 0.36), (0.16, 0.04, 0.4), n=12), "x", 30), 6)
    parts = [
        Part(body, jitter(rng, (0.85, 0.09, 0.12))),
        Part(join(*seeds), (0.98, 0.85, 0.45)),
        Part(move(leaves, (0, 0.66, 0)), jitter(rng, LEAF)),
    ]
    parts.append(Part(sweep([(0, 0.6, 0), (0.04, 0.9, 0)], 0.05, 8), LEAF))
    h = between(rng, 0.85, 1.1)
    return named("strawberry", "red"), assemble([Part(p.shape * [1, h, 1], p.rgb) for p in parts])


def watermelon(rng: Rng) -> Made:
    def stripe(x: Array, y: Array, z: Array) -> Mask:
        return np.cos(9 * np.arctan2(y, z) + 1.0 * np.sin(9 * x)) > 0.25

    light, dark = jitter(rng, (0.52, 0.75, 0.30)), (0.10, 0.36, 0.13)
    if chance(rng, 0.5):
        body = turn(
            lathe([(0, -1.0), (0.4, -0.85), (0.68, -0.4), (0.72, 0), (0.68, 0.4), (0.4, 0.85), (0, 1.0)], 72, True),
            "z",
            90,
        )
        return named("watermelon", "green", "", ("striped watermelon",)), assemble(paint(body, light, (stripe, dark)))
    a = np.linspace(0, np.pi, 25)

    def half_disc(r: float) -> list[tuple[float, float]]:
        return np.stack([r * np.cos(a), -r * np.sin(a)], -1).tolist()

    rind, pale, flesh = prism(half_disc(1.0), 0.24), prism(half_disc(0.92), 0.25), prism(half_disc(0.85), 0.26)
    seeds = [
        ball((0.58 * np.cos(t), -0.55 * np.sin(t), s * 0.26), (0.05, 0.08, 0.02), n=8)
        for t in np.linspace(0.4, 2.75, 6)
        for s in (-1, 1)
    ]
    parts = [
        Part(rind, (0.14, 0.45, 0.16)),
        Part(pale, (0.82, 0.92, 0.68)),
        Part(flesh, (0.90, 0.18, 0.22)),
        Part(join(*seeds), BLACK),
    ]
    return named("slice of watermelon", "", "", ("watermelon slice", "red watermelon", "watermelon")), assemble(parts)


def pumpkin(rng: Rng) -> Made:
    s = between(rng, 0.7, 0.95)
    body = ball((0, 0, 0), (0.9, 0.72, 0.9), n=56)
    a = np.arctan2(body[..., 0], body[..., 2])
    body = body * (1 - 0.12 * np.abs(np.sin(4 * a)) ** 4)[..., None] * [1, s / 0.75, 1]
    stalk = [
        Part(sweep([(0, 0.55 * s, 0), (0, 1.0 * s, 0), (0.14, 1.3 * s, 0)], [0.15, 0.1, 0.11], 10), (0.35, 0.42, 0.16))
    ]
    skin = jitter(rng, (0.93, 0.47, 0.08))
    lit = chance(rng, 0.4)
    if lit:

        def face(x: Array, y: Array, z: Array) -> Mask:
            side, up = np.abs(x), y / s
            eye = (up > 0.12) & (up < 0.5 - 1.6 * np.abs(side - 0.32))
            grin = 0.55 * x * x - 0.32
            tooth = (np.abs(side - 0.17) < 0.07) & (up > grin + 0.02)
            return (z > 0) & (eye | ((side < 0.55) & (np.abs(up - grin) < 0.14 - 0.16 * side) & ~tooth))

        glow = (0.15, 0.08, 0.03) if chance(rng, 0.5) else (1.0, 0.9, 0.35)
        parts = paint(body, skin, (face, glow)) + stalk
    else:
        parts = [Part(body, skin), *stalk]
    return named(
        "pumpkin", "orange", "with a carved face" if lit else "", ("jack o lantern",) if lit else ()
    ), assemble(parts)


def carrot(rng: Rng) -> Made:
    h, r = between(rng, 0.95, 1.2), between(rng, 0.26, 0.36)
    body = lathe(
        [(0, -h), (0.05, -h), (0.55 * r, -0.2), (0.95 * r, 0.5), (0.8 * r, 0.62), (0, 0.6)],
        20,
        True,
        lambda a, y: 1 + 0.03 * np.sin(25 * y),
    )
    tops = ring(turn(ball((0, 0.3, 0), (0.08, 0.36, 0.05), n=12), "x", 22), 5)
    parts = [
        Part(body, jitter(rng, (0.95, 0.50, 0.10))),
        Part(move(join(tops, ball((0, 0.35, 0), (0.09, 0.4, 0.09), n=12)), (0, 0.56, 0)), jitter(rng, LEAF)),
    ]
    return named("carrot", "orange", "with green leaves"), assemble(
        [Part(turn(p.shape, "z", 12), p.rgb) for p in parts]
    )


def egg(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("white", "white", "brown"), 0.45)
    rgb = (0.84, 0.64, 0.46) if word == "brown" else rgb
    body = lathe([(0, -0.8), (0.4, -0.68), (0.66, -0.2), (0.6, 0.3), (0.36, 0.75), (0.14, 0.94), (0, 0.96)], 36, True)
    rules, extra = [], ""
    if not plain:
        other, c = pick(rng, (*BRIGHT, "white"), but=(word,))
        kind = str(rng.choice(["stripes", "dots", "zigzags"]))
        if kind == "dots":
            seeds = rng.normal(size=(26, 3))
            seeds /= np.linalg.norm(seeds, axis=1, keepdims=True)
            rules = [
                (
                    lambda x, y, z: (
                        (np.stack([x, y, z], -1) / np.linalg.norm(np.stack([x, y, z], -1), axis=-1, keepdims=True))
                        @ seeds.T
                        > 0.968
                    ).any(1),
                    c,
                )
            ]
        else:
            wave = 0.1 if kind == "zigzags" else 0.0
            rules = [
                (lambda x, y, z: np.sin(9 * (y + wave * np.abs(np.mod(np.arctan2(x, z) * 8 / np.pi, 2) - 1))) > 0.3, c)
            ]
        extra = f"with {other} {kind}"
    return named("egg", word, extra, ("easter egg",) if not plain else (), plain), assemble(paint(body, rgb, *rules))


GENERATORS: dict[str, Generator] = {
    "apple": apple,
    "pear": pear,
    "orange": orange,
    "lemon": lemon,
    "banana": banana,
    "pineapple": pineapple,
    "strawberry": strawberry,
    "watermelon": watermelon,
    "pumpkin": pumpkin,
    "carrot": carrot,
    "egg": egg,
}
FRONTED: frozenset[str] = frozenset()
