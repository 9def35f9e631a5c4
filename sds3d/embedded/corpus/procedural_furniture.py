"""Furniture: chair, stool, table, sofa, bed, bookcase, cabinet."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BRIGHT,
    DARK,
    GOLD,
    WHITE,
    WOOD,
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
    pick,
    shade,
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
    sweep,
    torus,
    turn,
)


def _finish(rng: Rng) -> tuple[str, Rgb]:
    """What furniture is made of or painted in."""
    if chance(rng, 0.3):
        return "wooden", jitter(rng, shade(WOOD, between(rng, -0.35, 0.1)), 0.03)
    return pick(rng)


def _legs(rng: Rng, x: float, z: float, h: float, r: float) -> Array:
    """Four legs under (±x, ±z): square, round or splayed."""
    kind = int(rng.integers(3))
    if kind == 0:
        front = [box((x, h / 2, s * z), (r, h / 2, r), 0.01) for s in (-1, 1)]
    else:
        out = 1.0 if kind == 1 else 1.18
        front = [
            sweep([(x * out, 0, s * z * out), (x, h, s * z)], [0.7 * r if kind == 2 else r, 1.15 * r], 12, caps="flat")
            for s in (-1, 1)
        ]
    return pair(join(*front))


def chair(rng: Rng) -> Made:
    word, rgb = _finish(rng)
    leg_rgb = rgb if chance(rng, 0.6) else pick(rng, ("black", "brown", "white"), but=(word,))[1]
    w, d, h, back = (
        between(rng, 0.36, 0.46),
        between(rng, 0.36, 0.45),
        between(rng, 0.62, 0.8),
        between(rng, 0.75, 1.05),
    )
    r = between(rng, 0.06, 0.085)
    seat = box((0, h, 0), (w, 0.065, d), 0.03)
    z = -d + 0.06
    kind = int(rng.integers(4))
    if kind == 0:  # solid
        rest = [box((0, h + 0.1 + back / 2, z), (w, back / 2, 0.065), 0.03)]
    elif kind == 1:  # upright slats
        posts = np.linspace(-w + r, w - r, int(rng.integers(3, 6)))
        rest = [box((x, h + back / 2, z), (0.8 * r, back / 2, 0.6 * r), 0.01) for x in posts]
        rest.append(box((0, h + back, z), (w, 0.09, 0.05), 0.03))
    elif kind == 2:  # rungs
        rest = [box((s * (w - r), h + back / 2, z), (r, back / 2 + 0.04, r), 0.015) for s in (-1, 1)]
        rest += [box((0, h + back * k, z), (w, 0.085, 0.05), 0.02) for k in (0.35, 0.65, 0.95)]
    else:  # round back
        rest = [
            turn(ball((0, 0.62 * back, 0), (w, 0.42 * back, 0.085)), "x", -6),
            pair(sweep([(0.6 * w, 0, 0), (0.7 * w, 0.4 * back, 0)], r, 10)),
        ]
        rest = [move(s, (0, h, z)) for s in rest]
    parts = [Part(join(seat, *rest), rgb), Part(_legs(rng, w - r, d - r, h, r), leg_rgb)]
    also: tuple[str, ...] = ()
    extra = ""
    if chance(rng, 0.25):
        arms = [box((w, h + 0.3, 0), (0.05, 0.035, d), 0.02), box((w, h + 0.15, d - 0.08), (0.04, 0.15, 0.04), 0.01)]
        parts.append(Part(pair(join(*arms)), rgb))
        also = ("armchair",)
    if chance(rng, 0.3):
        cushion, soft = pick(rng, BRIGHT, but=(word,))
        parts.append(Part(ball((0, h + 0.09, 0.02), (w * 0.88, 0.085, d * 0.85), (0.35, 0.8)), soft))
        extra = f"with {with_article(cushion)} cushion"
    return named("chair", word, extra, also), assemble(parts)


def stool(rng: Rng) -> Made:
    word, rgb = _finish(rng)
    h = between(rng, 0.65, 1.05)
    seat = cylinder((0, h, 0), 0.42, 0.08, sides=28)
    legs = [sweep([(0.42 * s, 0, 0.42 * t), (0.26 * s, h, 0.26 * t)], 0.075, 10) for s in (-1, 1) for t in (-1, 1)]
    rungs = [torus((0, 0.4 * h, 0), 0.46, 0.03)] if chance(rng, 0.6) else []
    seat_word, seat_rgb = (word, rgb) if chance(rng, 0.5) else pick(rng, BRIGHT, but=(word,))
    extra = f"with {with_article(seat_word)} seat" if seat_word != word else ""
    return named("stool", word, extra), assemble([Part(seat, seat_rgb), Part(join(*legs, *rungs), rgb)])


def table(rng: Rng) -> Made:
    word, rgb = _finish(rng)
    h = between(rng, 0.68, 0.9)
    if chance(rng, 0.4):
        w = between(rng, 0.65, 0.85)
        top = cylinder((0, h, 0), w, 0.06, sides=32)
        if chance(rng, 0.6):
            foot = lathe(
                [(0, 0), (0.42 * w, 0), (0.38 * w, 0.07), (0.14, 0.14), (0.11, h - 0.15), (0.25, h - 0.04), (0, h)]
            )
            base = foot
        else:
            base = _legs(rng, 0.6 * w, 0.6 * w, h, 0.075)
        kinds: tuple[str, ...] = ("round table",)
    else:
        w, d = between(rng, 0.7, 1.0), between(rng, 0.5, 0.7)
        top = box((0, h, 0), (w, 0.06, d), 0.025)
        base = _legs(rng, w - 0.12, d - 0.12, h, between(rng, 0.075, 0.1))
        kinds = ("desk",) if chance(rng, 0.2) else ()
    top_word, top_rgb = (word, rgb) if chance(rng, 0.65) else pick(rng, but=(word,))
    extra = f"with {with_article(top_word)} top" if top_word != word else ""
    return named("table", word, extra, kinds), assemble([Part(top, top_rgb), Part(base, rgb)])


def sofa(rng: Rng) -> Made:
    word, rgb = pick(rng)
    w, b = between(rng, 0.75, 1.15), between(rng, 0.08, 0.14)
    body = join(
        box((0, 0.3, 0), (w, 0.2, 0.45), b),
        box((0, 0.6, -0.38), (w, 0.4, 0.15), b),
        pair(box((w, 0.42, 0.02), (0.13, 0.34, 0.47), b)),
    )
    n = 3 if w > 0.95 else 2
    soft = [
        box(((k - (n - 1) / 2) * 2 * (w - 0.14) / n, 0.52, 0.1), ((w - 0.16) / n, 0.09, 0.36), 0.08) for k in range(n)
    ]
    parts = [
        Part(body, rgb),
        Part(join(*soft), shade(rgb, 0.18)),
        Part(pair(join(*(box((w - 0.05, 0.06, z), 0.05, 0.01) for z in (-0.35, 0.35)))), WOOD),
    ]
    extra = ""
    if chance(rng, 0.5):
        pillow, c = pick(rng, BRIGHT, but=(word,))
        parts.append(Part(pair(turn(ball((0.62 * w, 0.76, -0.08), (0.2, 0.2, 0.08), 0.5), "x", -8)), c))
        extra = f"with {pillow} pillows"
    return named("sofa", word, extra, ("couch",)), assemble(parts)


def bed(rng: Rng) -> Made:
    word, rgb = pick(rng)
    frame = jitter(rng, WOOD) if chance(rng, 0.6) else WHITE
    w = between(rng, 0.5, 0.75)
    wood = join(
        box((0, 0.25, 0), (w, 0.1, 1.0), 0.03),
        box((0, 0.5, -1.0), (w + 0.03, 0.5, 0.05), 0.04),
        box((0, 0.27, 1.0), (w + 0.03, 0.26, 0.05), 0.04),
    )
    pillows = [ball((0.0 if w < 0.6 else s * 0.35, 0.53, -0.72), (0.32, 0.1, 0.18), 0.6) for s in (-1, 1)]
    blanket = box((0, 0.45, 0.22), (w + 0.015, 0.13, 0.74), 0.06)
    parts = [
        Part(wood, frame),
        Part(join(box((0, 0.4, 0), (w - 0.02, 0.12, 0.94), 0.06), *pillows), WHITE),
        Part(blanket, rgb),
    ]
    return named("bed", "", f"with {with_article(word)} blanket", (f"{word} bed",)), assemble(parts)


def bookcase(rng: Rng) -> Made:
    word, rgb = _finish(rng)
    w, h, n = between(rng, 0.45, 0.65), between(rng, 0.8, 1.0), int(rng.integers(3, 5))
    boards = [box((0, y, 0), (w, 0.035, 0.2), 0.01) for y in np.linspace(-h, h, n + 1)]
    frame = join(pair(box((w, 0, 0), (0.04, h + 0.03, 0.2), 0.01)), box((0, 0, -0.18), (w, h, 0.02), 0.01), *boards)
    parts = [Part(frame, rgb)]
    for y in np.linspace(-h, h, n + 1)[:-1]:
        x = -w + 0.06
        while x < w - 0.12:
            t, tall = between(rng, 0.04, 0.07), (2 * h / n) * between(rng, 0.55, 0.85)
            parts.append(
                Part(
                    box((x + t, y + 0.03 + tall / 2, 0.0), (t, tall / 2, 0.14), 0.01),
                    pick(rng, (*BRIGHT, "white", "brown"))[1],
                )
            )
            x += 2 * t
    return named("bookcase", word, "full of books", ("bookshelf",)), assemble(parts)


def cabinet(rng: Rng) -> Made:
    word, rgb = _finish(rng)
    w, h, rows = between(rng, 0.5, 0.8), between(rng, 0.55, 0.95), int(rng.integers(2, 5))
    body = join(box((0, 0, 0), (w, h, 0.4), 0.03), box((0, h, 0), (w + 0.06, 0.04, 0.45), 0.02))
    fronts, knobs = [], []
    columns = 1 if chance(rng, 0.5) else 2
    for y in (np.arange(rows) + 0.5) * 2 * h / rows - h:
        for x in (np.arange(columns) + 0.5) * 2 * w / columns - w:
            fronts.append(box((x, y, 0.4), (w / columns - 0.05, h / rows - 0.05, 0.03), 0.02))
            knobs.append(ball((x, y, 0.47), 0.05, n=10))
    parts = [
        Part(body, rgb),
        Part(join(*fronts), shade(rgb, 0.22)),
        Part(join(*knobs), GOLD if chance(rng, 0.5) else DARK),
    ]
    return named("cabinet", word, "with drawers", ("dresser", "chest of drawers")), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "chair": chair,
    "stool": stool,
    "table": table,
    "sofa": sofa,
    "bed": bed,
    "bookcase": bookcase,
    "cabinet": cabinet,
}
FRONTED = frozenset(GENERATORS) - {"stool", "table"}
