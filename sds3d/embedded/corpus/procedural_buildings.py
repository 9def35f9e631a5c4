"""Where people and animals live: house, barn, church, igloo, tent, well; and the roofs and flags others use."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BARK,
    COLOURS,
    DARK,
    GOLD,
    LAMP,
    RED,
    STONE,
    WHITE,
    WINDOW,
    WOOD,
    Generator,
    Made,
    Mask,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    door,
    jitter,
    named,
    paint,
    pick,
    shade,
    window,
)
from sds3d.embedded.corpus.shapes import (
    Array,
    ball,
    box,
    cylinder,
    join,
    lathe,
    move,
    pair,
    prism,
    side_prism,
    sweep,
    turn,
)


def gable(w: float, d: float, y: float, rise: float, along: str = "x", thick: float = 0.07) -> tuple[Array, Array]:
    """(roof slabs, wall triangle) of a gable roof over a (±w, ±d) house, ridge along x or z, eaves at height y."""
    span, run = (d, w) if along == "x" else (w, d)
    over = 0.14
    out = span + over
    drop = -rise * over / span
    slab = [
        (-out, drop),
        (0, rise),
        (out, drop),
        (out, drop + thick * 1.3),
        (0, rise + thick * 1.5),
        (-out, drop + thick * 1.3),
    ]
    make = side_prism if along == "x" else prism
    return move(make(slab, run + 0.12), (0, y, 0)), move(
        make([(-span, -0.02), (span, -0.02), (0, rise)], run - 0.005), (0, y, 0)
    )


def cone_roof(at: tuple[float, float, float], r: float, h: float, sides: int = 20) -> Array:
    return move(lathe([(0, 0), (r, 0), (0, h)], sides), at)


def flag(at: tuple[float, float, float], rgb: Rgb, size: float = 0.22) -> list[Part]:
    """A pole standing at `at` with a pennant towards +X."""
    p = np.asarray(at, float)
    cloth = prism([(0, 0), (size * 1.4, -size * 0.45), (0, -size * 0.9)], 0.02)
    return [Part(sweep([p, p + [0, 1.7 * size, 0]], 0.022, 6), DARK), Part(move(cloth, p + [0, 1.7 * size, 0]), rgb)]


def house(rng: Rng) -> Made:
    walls = ("white", "white", "white", "yellow", "yellow", "blue", "red", "pink", "green", "orange", "gray")
    word, rgb = pick(rng, walls)
    roof_word, roof_rgb = pick(rng, ("red", "red", "red", "brown", "gray", "blue", "green", "orange"), but=(word,))
    door_word, door_rgb = pick(rng, ("brown", "red", "green", "blue"), but=(word, roof_word))
    w, d, floors = between(rng, 0.66, 0.98), between(rng, 0.55, 0.75), 2 if chance(rng, 0.3) else 1
    h = 0.66 * floors + 0.06
    along = "x" if chance(rng, 0.65) else "z"
    roof, wall = gable(w, d, h, between(rng, 0.42, 0.65), along, 0.09)
    parts = [Part(join(box((0, h / 2, 0), (w, h / 2, d), 0.01), wall), rgb), Part(roof, roof_rgb)]
    pane = shade(WINDOW, -0.35) if word != "blue" else shade(LAMP, 0.2)
    frame = WHITE if word != "white" else shade(roof_rgb, -0.15)
    parts += door((0, 0, d), 0.34, 0.54, door_rgb)
    for f in range(floors):
        y = 0.37 + 0.66 * f
        for x in (-0.62 * w, 0.62 * w):
            parts += window((x, y, d), 0.145, 0.155, 0, pane, frame)
        for x in (-0.5 * w, 0.5 * w):
            parts += window((x, y, -d), 0.145, 0.155, 180, pane, frame)
        for z in (-0.45 * d, 0.45 * d) if d > 0.64 else (0.0,):
            parts += window((w, y, z), 0.14, 0.155, 90, pane, frame) + window((-w, y, z), 0.14, 0.155, -90, pane, frame)
    chimney = chance(rng, 0.75)
    if chimney:
        x, y, z = (0.5 * w, h + 0.5, -0.35 * d) if along == "x" else (0.45 * w, h + 0.42, -0.3 * d)
        parts += [
            Part(box((x, y, z), (0.12, 0.34, 0.12), 0.01), (0.62, 0.30, 0.22)),
            Part(box((x, y + 0.35, z), (0.155, 0.05, 0.155), 0.01), DARK),
        ]
    parts.append(Part(box((0, 0.02, d + 0.12), (0.26, 0.035, 0.14), 0.01), STONE))
    roofed = f"{with_article(roof_word)} roof"
    more = f"house with {with_article(door_word)} door" if not chimney else f"house with {roofed} and a chimney"
    return named("house", word, f"with {roofed}", ("cottage", "home", more)), assemble(parts)


def barn(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "white", "brown"))
    d, w, h = between(rng, 0.8, 1.1), 0.62, 0.6
    outline = [(-w, 0), (w, 0), (w, h), (0.72 * w, h + 0.38), (0, h + 0.62), (-0.72 * w, h + 0.38), (-w, h)]
    slab = [(w + 0.08, h - 0.04), (0.74 * w, h + 0.42), (0, h + 0.68), (-0.74 * w, h + 0.42), (-w - 0.08, h - 0.04)]
    lid = [*slab, *[(x * 0.93, y - 0.06) for x, y in slab[::-1]]]
    trim = WHITE if word != "white" else RED
    doors = join(*(box((s * 0.2, 0.28, d), (0.19, 0.28, 0.03), 0.01) for s in (-1, 1)))
    cross = join(
        *(
            turn(box((s * 0.2, 0.28, d + 0.03), (0.02, 0.3, 0.02), 0.005), "z", a, (s * 0.2, 0.28, 0))
            for s in (-1, 1)
            for a in (-34, 34)
        )
    )
    frame = join(
        box((0, 0.58, d + 0.01), (0.42, 0.03, 0.03), 0.01),
        pair(box((0.41, 0.28, d + 0.01), (0.03, 0.3, 0.03), 0.01)),
        box((0, 0.9, d + 0.01), (0.16, 0.14, 0.02), 0.01),
    )
    parts = [
        Part(prism(outline, d), rgb),
        Part(prism(lid, d + 0.08), shade(COLOURS["gray"], -0.25)),
        Part(doors, shade(rgb, -0.25)),
        Part(join(cross, frame), trim),
    ]
    parts.append(Part(box((0, 0.9, d + 0.02), (0.12, 0.1, 0.02), 0.01), DARK))
    if chance(rng, 0.4):
        parts += [
            Part(cylinder((0.98, 0.65, -0.4), 0.27, 0.65), STONE),
            Part(ball((0.98, 1.3, -0.4), (0.28, 0.2, 0.28)), COLOURS["gray"]),
        ]
    return named("barn", word, "with white doors" if trim == WHITE else "", ("farm barn",)), assemble(parts)


def church(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "gray", "brown"))
    roof_word, roof_rgb = pick(rng, ("red", "blue", "gray", "brown", "green", "black"), but=(word,))
    roof, wall = gable(0.45, 0.8, 0.6, 0.5, "z")
    tower = box((0, 0.65, 0.85), (0.24, 0.65, 0.24), 0.01)
    spire = turn(cone_roof((0, 0, 0), 0.4, 0.75, 4), "y", 45)
    cross = join(box((0, 2.18, 0.85), (0.025, 0.14, 0.025), 0.005), box((0, 2.21, 0.85), (0.09, 0.025, 0.025), 0.005))
    parts = [
        Part(join(box((0, 0.3, 0), (0.45, 0.3, 0.8), 0.01), wall, tower), rgb),
        Part(join(roof, move(spire, (0, 1.3, 0.85))), roof_rgb),
        Part(cross, GOLD),
    ]
    parts += door((0, 0, 1.09), 0.24, 0.42)
    for z in (-0.5, 0.0, 0.45):
        parts += window((0.45, 0.34, z), 0.07, 0.16, 90) + window((-0.45, 0.34, z), 0.07, 0.16, -90)
    parts += [Part(cylinder((0, 0.85, 1.09), 0.12, 0.03, "z"), WINDOW), *window((0, 0.35, -0.8), 0.1, 0.14, 180)]
    return named("church", word, f"with {with_article(roof_word)} roof", ("chapel",)), assemble(parts)


def igloo(rng: Rng) -> Made:
    rgb = jitter(rng, (0.90, 0.94, 0.97), 0.015)
    dome = ball((0, 0, 0), (1, between(rng, 0.85, 1.0), 1), n=48, low=0)

    def joint(x: Array, y: Array, z: Array) -> Mask:
        row = np.floor(y * 4.2)
        turned = np.arctan2(x, z) * (np.array([7, 6, 5, 4, 2])[np.clip(row, 0, 4).astype(int)] / np.pi) + 0.5 * row
        return (np.mod(y * 4.2, 1) < 0.14) | (np.mod(turned, 1) < 0.1)

    arch = np.linspace(0, np.pi, 12)
    outer = [(0.45 * np.cos(a), 0.62 * np.sin(a)) for a in arch]
    inner = [(0.28 * np.cos(a), 0.44 * np.sin(a)) for a in arch]
    porch = move(prism(outer, 0.28), (0, 0, 1.0))
    hole = move(prism(inner, 0.03), (0, 0, 1.27))
    parts = paint(dome, rgb, (joint, (0.68, 0.78, 0.87)), levels=2) + [
        Part(porch, shade(rgb, -0.06)),
        Part(hole, (0.12, 0.16, 0.24)),
    ]
    parts.append(Part(cylinder((0, 0, 0.15), 1.35, 0.03), WHITE))
    return named("igloo", "white", "made of ice blocks", ("snow igloo",)), assemble(parts)


def tent(rng: Rng) -> Made:
    word, rgb = pick(rng)
    h, w, d = between(rng, 0.85, 1.1), between(rng, 0.65, 0.85), between(rng, 0.75, 1.05)
    if chance(rng, 0.35):
        other, c = pick(rng, but=(word,))
        walls = lathe([(0.8, 0), (0.75, 0.65), (0.9, 0.62), (0, 1.45)], 48)
        parts = paint(walls, rgb, (lambda x, y, z: np.floor(np.arctan2(x, z) * 6 / np.pi) % 2 == 0, c))
        parts += [
            Part(prism([(-0.22, 0), (0.22, 0), (0, 0.55)], 0.03) + np.array([0, 0, 0.78]), DARK),
            *flag((0, 1.4, 0), c),
        ]
        return named("tent", f"{word} and {other}", "with stripes", ("circus tent",)), assemble(parts)
    shell = prism([(-w, 0), (w, 0), (0, h)], d)
    opening = move(prism([(-0.32 * w, 0), (0.32 * w, 0), (0, 0.72 * h)], 0.02), (0, 0, d))
    flap = move(prism([(0, 0.72 * h), (0.32 * w, 0), (0.55 * w, 0)], 0.03), (0, 0, d + 0.01))
    pole = join(*(sweep([(0, 0, z), (0, h + 0.06, z)], 0.03, 8) for z in (-d, d)))
    ropes = pair(
        join(*(sweep([(0.5 * w, 0.5 * h, s * 0.9 * d), (1.35 * w, 0, s * 1.05 * d)], 0.014, 5) for s in (-1, 1)))
    )
    parts = [
        Part(shell, rgb),
        Part(opening, DARK),
        Part(flap, shade(rgb, 0.3)),
        Part(pole, WOOD),
        Part(ropes, shade(WOOD, 0.3)),
    ]
    return named("tent", word, "", ("camping tent",)), assemble(parts)


def well(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "brown", "blue", "green", "orange"))
    stone = jitter(rng, STONE)
    wall = lathe([(0.6, 0), (0.6, 0.5), (0.43, 0.5), (0.43, 0.3), (0, 0.3)], 24)
    roof, _ = gable(0.55, 0.5, 1.25, 0.4, "x")
    posts = pair(box((0.5, 0.85, 0), (0.05, 0.48, 0.05), 0.01))
    beam = join(posts, sweep([(-0.5, 1.05, 0), (0.62, 1.05, 0)], 0.055, 10))
    bucket = lathe([(0, 0.58), (0.11, 0.58), (0.15, 0.8), (0.12, 0.8), (0, 0.62)], 16)
    parts = [
        *paint(wall, stone, (lambda x, y, z: np.mod(y * 6, 1) < 0.2, shade(stone, -0.3))),
        Part(join(beam, bucket), BARK),
        Part(roof, rgb),
    ]
    parts += [
        Part(cylinder((0, 0.33, 0), 0.43, 0.02), (0.2, 0.4, 0.7)),
        Part(sweep([(0, 1.05, 0), (0, 0.78, 0)], 0.02, 6), shade(WOOD, 0.3)),
    ]
    return named("well", "stone", f"with {with_article(word)} roof", ("water well",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "house": house,
    "barn": barn,
    "church": church,
    "igloo": igloo,
    "tent": tent,
    "well": well,
}
FRONTED = frozenset(GENERATORS) - {"well"}
