"""Balls and other toys: soccer ball, basketball, beach ball, ball, tennis ball, dice, balloon, heart, star."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    COLOURS,
    DARK,
    WHITE,
    Generator,
    Made,
    Mask,
    Part,
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
    box,
    grid,
    join,
    lathe,
    pair,
    sweep,
    turn,
)

_PHI = (1 + 5**0.5) / 2


_ICOSAHEDRON = np.array(
    [v for a in (-1, 1) for b in (-_PHI, _PHI) for v in ((0, a, b), (a, b, 0), (b, 0, a))]
) / np.sqrt(1 + _PHI**2)


def _globe(n: int = 40) -> Array:
    return ball((0, 0, 0), 1.0, n=n)


def soccer_ball(rng: Rng) -> Made:
    other, c = ("black", BLACK) if chance(rng, 0.7) else pick(rng, ("blue", "red", "green"))
    corners = turn(turn(_ICOSAHEDRON[:, None], "x", between(rng, 0, 70)), "y", between(rng, 0, 70))[:, 0]

    def patch(x: Array, y: Array, z: Array) -> Mask:
        near = np.sort(np.stack([x, y, z], -1) @ corners.T, axis=1)
        seam = (near[:, -1] - near[:, -2] < 0.028) & (near[:, -1] < 0.93)
        return (near[:, -1] > 0.925) | seam

    return named("soccer ball", f"white and {other}", "", ("football",)), assemble(
        paint(_globe(), WHITE, (patch, c), levels=2)
    )


def basketball(rng: Rng) -> Made:
    tilt = between(rng, 0, 60)

    def seam(x: Array, y: Array, z: Array) -> Mask:
        p = turn(turn(np.stack([x, y, z], -1)[:, None], "x", tilt), "y", 20)[:, 0]
        ring_ = np.hypot(np.abs(p[:, 0]) - 1.0, p[:, 1])
        return (np.abs(p[:, 0]) < 0.035) | (np.abs(p[:, 1]) < 0.035) | (np.abs(ring_ - 0.62) < 0.035)

    return named("basketball", "orange", "with black lines"), assemble(
        paint(_globe(), jitter(rng, (0.88, 0.42, 0.13)), (seam, BLACK), levels=2)
    )


def beach_ball(rng: Rng) -> Made:
    words = [str(w) for w in rng.choice(BRIGHT, 3, replace=False)]

    def slice_(k: int) -> tuple:
        return (lambda x, y, z: np.floor(np.mod(np.arctan2(x, z) * 3 / np.pi, 6)) == 2 * k, COLOURS[words[k]])

    parts = paint(_globe(48), WHITE, *(slice_(k) for k in range(3)))
    tilt = between(rng, 15, 45)
    return named("beach ball", f"{words[0]} and {words[1]}", "with white stripes", ("ball",)), assemble(
        [Part(turn(p.shape, "z", tilt), p.rgb) for p in parts]
    )


def ball_(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    kind = int(rng.integers(3))
    seeds = _ICOSAHEDRON
    rules = [
        (lambda x, y, z: np.abs(y) < 0.22, c),
        (lambda x, y, z: (np.stack([x, y, z], -1) @ seeds.T > 0.95).any(1), c),
    ]
    parts = paint(_globe(), rgb, *(() if kind == 2 else (rules[kind],)), levels=2)
    extra = ("with " + with_article(other) + " stripe", f"with {other} dots", "")[kind]
    return named("ball", word, extra, ("toy ball",)), assemble([Part(turn(p.shape, "z", 18), p.rgb) for p in parts])


def tennis_ball(rng: Rng) -> Made:
    def seam(x: Array, y: Array, z: Array) -> Mask:
        a = np.arctan2(z, x)
        return np.abs(y - 0.5 * np.sin(2 * a) * np.sqrt(np.maximum(1 - y * y, 0))) < 0.06

    parts = paint(_globe(), jitter(rng, (0.78, 0.90, 0.22)), (seam, WHITE), levels=2)
    tilt = between(rng, 0, 180)
    return named("tennis ball", "yellow", "with a white line"), assemble(
        [Part(turn(turn(p.shape, "x", 50), "y", tilt), p.rgb) for p in parts]
    )


def dice(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "white", "red", "blue", "black", "green", "yellow"))
    dot = BLACK if word in ("white", "yellow") else WHITE
    q = 0.36
    faces: list[list[tuple[float, float]]] = [[(0, 0)], [(-q, -q), (q, q)], [(-q, -q), (0, 0), (q, q)]]
    faces += [[(x, y) for x in (-q, q) for y in (-q, q)]]
    faces += [[*faces[3], (0, 0)], [(x, y) for x in (-q, q) for y in (-q, 0, q)]]
    spins: dict[int, tuple[str, float]] = {
        1: ("y", 0),
        6: ("y", 180),
        2: ("y", 90),
        5: ("y", -90),
        3: ("x", -90),
        4: ("x", 90),
    }
    pips = [
        turn(ball((x, y, 0.73), (0.14, 0.14, 0.04), n=12), *spins[k + 1])
        for k, face in enumerate(faces)
        for x, y in face
    ]
    tilt = between(rng, -20, 20)
    cube = box((0, 0, 0), 0.74, 0.16)
    return named("dice", word, f"with {'black' if dot == BLACK else 'white'} dots", ("cube dice",)), assemble(
        [Part(turn(cube, "y", tilt), rgb), Part(turn(join(*pips), "y", tilt), dot)]
    )


def balloon(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    skin = lathe([(0, -0.72), (0.06, -0.7), (0.35, -0.4), (0.62, 0.1), (0.6, 0.5), (0.35, 0.8), (0, 0.9)], 28, True)
    a = np.linspace(0, 1, 8)
    string = np.stack([0.07 * np.sin(5 * a), -0.75 - 0.85 * a, 0 * a], -1)
    parts = [
        Part(join(skin, lathe([(0.02, -0.7), (0.1, -0.82), (0, -0.8)], 12)), rgb),
        Part(sweep(string, 0.022, 6), DARK),
        Part(turn(ball((0.22, 0.5, 0.46), (0.1, 0.16, 0.05), n=12), "z", 25, (0.22, 0.5, 0)), shade(rgb, 0.6)),
    ]
    return named("balloon", word, "on a string", ("party balloon",)), assemble(parts)


def heart(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "pink", "purple", "blue", "yellow"))
    t = np.linspace(0, 2 * np.pi, 41)[:-1]
    outline = (
        np.stack([16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)], -1) / 17
    )
    layers = [(1.0, 0.0), (0.94, 0.16), (0.8, 0.26), (0.55, 0.33), (0.25, 0.37), (0.0, 0.38)]
    fat = between(rng, 0.8, 1.2)
    loop = np.concatenate([outline, outline[:1]])
    profile = [(k, -z) for k, z in layers[::-1]] + layers[1:]
    lattice = np.stack([np.column_stack([loop * k, np.full(41, z * fat)]) for k, z in profile])
    return named("heart", word, "", ("heart shape", "love heart")), assemble([Part(grid(lattice), rgb)])


def star(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow",) * 5 + tuple(BRIGHT))
    n = 5
    a = np.arange(2 * n + 1) * np.pi / n
    r = np.where(np.arange(2 * n + 1) % 2, between(rng, 0.42, 0.5), 1.0)
    rim = np.stack([r * np.sin(a), r * np.cos(a), 0 * a], -1)
    points = np.stack([rim * 0 + [0, 0, -0.32], rim, rim * 0 + [0, 0, 0.32]])
    parts = [Part(grid(points), rgb)]
    if chance(rng, 0.35):
        parts += [
            Part(pair(ball((0.14, 0.1, 0.27), (0.06, 0.1, 0.05), n=12)), BLACK),
            Part(sweep([(-0.14, -0.1, 0.27), (0, -0.17, 0.29), (0.14, -0.1, 0.27)], 0.03, 8), BLACK),
        ]
        return named("star", word, "with a smiling face", ("happy star",)), assemble(parts)
    return named("star", word, "", ("five pointed star",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "soccer ball": soccer_ball,
    "basketball": basketball,
    "beach ball": beach_ball,
    "ball": ball_,
    "tennis ball": tennis_ball,
    "dice": dice,
    "balloon": balloon,
    "heart": heart,
    "star": star,
}
FRONTED: frozenset[str] = frozenset()
