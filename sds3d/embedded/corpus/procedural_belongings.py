"""Instruments, clothes, books: guitar, violin, drum, hat, shoe, bell, book."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    BROWN,
    DARK,
    GOLD,
    GRAY,
    METAL,
    WHITE,
    WOOD,
    Generator,
    Made,
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
from sds3d.embedded.corpus.procedural_things import SILVER
from sds3d.embedded.corpus.shapes import (
    ball,
    box,
    cylinder,
    join,
    lathe,
    pair,
    prism,
    sweep,
    torus,
    turn,
)


def _guitar_body(s: float) -> list[tuple[float, float]]:
    half = [
        (0.0, -1.0),
        (0.3, -0.97),
        (0.52, -0.8),
        (0.55, -0.55),
        (0.4, -0.25),
        (0.36, -0.1),
        (0.44, 0.12),
        (0.36, 0.32),
        (0.15, 0.4),
        (0.0, 0.4),
    ]
    return [(x * s, y) for x, y in half] + [(-x * s, y) for x, y in half[-2:0:-1]]


def guitar(rng: Rng) -> Made:
    electric = chance(rng, 0.35)
    word, rgb = pick(rng, ("brown", "orange", "red", "blue", "black", "yellow", "white", "green"))
    rgb = jitter(rng, (0.72, 0.45, 0.20)) if word in ("brown", "orange") else rgb
    word = "brown" if word == "orange" else word
    if electric:
        half = [
            (0.0, -1.0),
            (0.4, -0.98),
            (0.56, -0.72),
            (0.42, -0.4),
            (0.5, -0.1),
            (0.6, 0.25),
            (0.42, 0.2),
            (0.16, -0.05),
        ]
        outline = half + [(-x * 0.95, y * 0.98) for x, y in half[-2:0:-1]]
        parts = [
            Part(prism(outline, 0.085, 0.05), rgb),
            Part(
                join(box((0, -0.35, 0.09), (0.2, 0.04, 0.02), 0.01), box((0, -0.55, 0.09), (0.2, 0.04, 0.02), 0.01)),
                METAL,
            ),
        ]
        parts += [
            Part(
                prism([(0.1, -0.2), (0.34, -0.3), (0.3, -0.75), (0.08, -0.62)], 0.095),
                WHITE if word != "white" else BLACK,
            )
        ]
    else:
        body = _guitar_body(between(rng, 0.95, 1.1))
        parts = [
            Part(prism(body, 0.16, 0.05), shade(rgb, -0.3)),
            Part(prism([(x * 0.94, y * 0.95 - 0.01) for x, y in body], 0.165), rgb),
        ]
        parts += [
            Part(
                join(cylinder((0, -0.12, 0.165), 0.17, 0.015, "z"), box((0, -0.62, 0.17), (0.2, 0.035, 0.03), 0.01)),
                (0.14, 0.09, 0.06),
            )
        ]
        parts.append(Part(torus((0, -0.12, 0.175), 0.18, 0.02, "z"), WHITE))
    z = 0.1 if electric else 0.16
    parts += [
        Part(box((0, 0.75, z), (0.085, 0.72, 0.05), 0.02), (0.30, 0.18, 0.10)),
        Part(box((0, 1.6, z - 0.02), (0.14, 0.17, 0.04), 0.02, 1.2), rgb if electric else (0.30, 0.18, 0.10)),
    ]
    parts += [
        Part(pair(join(*(cylinder((0.18, 1.5 + 0.11 * k, z), 0.04, 0.05, "x", 8) for k in range(3)))), METAL),
        Part(box((0, 0.42, z + 0.055), (0.05, 1.0, 0.008), 0.004), SILVER),
    ]
    return named("guitar", word, "", ("electric guitar",) if electric else ("acoustic guitar",)), assemble(parts)


def violin(rng: Rng) -> Made:
    rgb = jitter(rng, (0.62, 0.28, 0.10), 0.04)
    body = prism(_guitar_body(0.98), 0.12, 0.06)
    holes = pair(sweep([(0.2, -0.2, 0.13), (0.26, -0.38, 0.13), (0.22, -0.55, 0.13)], 0.022, 8))
    neck = box((0, 0.72, 0.14), (0.065, 0.5, 0.05), 0.02)
    scroll = torus((0, 1.3, 0.06), 0.09, 0.06, "x")
    fingerboard = join(
        box((0, 0.42, 0.19), (0.07, 0.62, 0.02), 0.01, 0.8),
        prism([(-0.06, -0.85), (0.06, -0.85), (0.11, -0.52), (-0.11, -0.52)], 0.03) + np.array([0, 0, 0.16]),
        ball((-0.25, -0.85, 0.13), (0.13, 0.1, 0.06), n=12),
    )
    bow = join(
        sweep([(0.78, -0.95, 0.1), (0.78, 1.1, 0.1)], 0.028, 8), box((0.74, -0.8, 0.1), (0.05, 0.08, 0.03), 0.01)
    )
    parts = [
        Part(join(body, neck, scroll), rgb),
        Part(join(fingerboard, holes, pair(cylinder((0.12, 1.12, 0.12), 0.03, 0.06, "x", 8))), (0.10, 0.07, 0.06)),
        Part(box((0, -0.38, 0.17), (0.13, 0.02, 0.05), 0.01), WOOD),
    ]
    if chance(rng, 0.6):
        parts += [Part(bow, (0.3, 0.15, 0.08)), Part(box((0.7, 0.12, 0.1), (0.012, 0.95, 0.015), 0.005), WHITE)]
        return named("violin", "brown", "with a bow", ("fiddle",)), assemble(parts)
    return named("violin", "brown", "", ("wooden violin",)), assemble(parts)


def drum(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    h, n = between(rng, 0.4, 0.6), int(rng.integers(6, 9))
    rope = [
        (0.79 * np.sin(np.pi * k / n), h * 0.85 * (-1) ** k, 0.79 * np.cos(np.pi * k / n)) for k in range(2 * n + 1)
    ]
    ropes = join(*(sweep([p, q], 0.028, 6) for p, q in zip(rope, rope[1:], strict=False)))
    parts = [
        Part(cylinder((0, 0, 0), 0.77, h, sides=32), rgb),
        Part(join(cylinder((0, h, 0), 0.73, 0.04, sides=32), ropes), (0.96, 0.93, 0.84)),
    ]
    parts.append(Part(join(*(torus((0, s * h, 0), 0.78, (0.055, 0.09)) for s in (-1, 1))), GOLD))
    extra = ""
    if chance(rng, 0.5):
        stick = join(
            sweep([(-0.5, h + 0.13, 0.3), (0.6, h + 0.16, -0.15)], 0.04, 8), ball((0.62, h + 0.16, -0.16), 0.075, n=10)
        )
        parts.append(Part(join(stick, stick * [1, 1, -1]), WOOD))
        extra = "with drumsticks"
    return named("drum", word, extra, ("toy drum",)), assemble(parts)


def hat(rng: Rng) -> Made:
    word, rgb = pick(rng)
    band, c = pick(rng, but=(word,))
    kind = int(rng.integers(4))
    if kind == 0:
        shape = lathe([(0.85, -0.4), (0.87, -0.36), (0.5, -0.34), (0.52, 0.6), (0, 0.62)], 32)
        strip = lathe([(0.505, -0.33), (0.525, -0.31), (0.527, -0.08), (0.51, -0.06)], 32)
        parts, name = [Part(shape, rgb), Part(strip, c)], "top hat"
    elif kind == 1:
        brim = lathe([(0, -0.3), (0.95, -0.3), (0.98, -0.26), (0.5, -0.26)], 40)
        brim[..., 1] += 0.28 * np.clip(np.abs(brim[..., 0]) - 0.4, 0, 1)
        dome = lathe([(0.5, -0.28), (0.47, 0.2), (0.4, 0.36), (0.15, 0.3), (0, 0.26)], 32, True) * [0.92, 1, 1.1]
        strip = lathe([(0.505, -0.26), (0.51, -0.12), (0.49, -0.1)], 32) * [0.95, 1, 1.12]
        parts, name = [Part(join(brim, dome), rgb), Part(strip, c)], "cowboy hat"
    elif kind == 2:
        crown = paint(
            ball((0, 0, 0), (0.6, 0.55, 0.64), n=24, low=0),
            rgb,
            (lambda x, y, z: np.floor(np.arctan2(x, z) * 3 / np.pi) % 2 == 0, c if chance(rng, 0.4) else rgb),
        )
        peak = ball((0, -0.03, 0.66), (0.5, 0.045, 0.42), (0.8, 0.8), n=20)
        parts, name = [*crown, Part(peak, c), Part(ball((0, 0.55, 0), 0.07, n=10), c)], "baseball cap"
    else:
        cone = lathe([(0.95, -0.55), (0.97, -0.5), (0.5, -0.46), (0.4, 0.0), (0.2, 0.6), (0, 1.1)], 32)
        strip = lathe([(0.51, -0.45), (0.5, -0.28), (0.46, -0.27)], 32)
        parts, name = (
            [Part(cone, rgb), Part(strip, c), Part(box((0, -0.36, 0.5), (0.1, 0.09, 0.03), 0.01), GOLD)],
            "witch hat",
        )
    return named("hat", word, f"with {with_article(band)} {'peak' if kind == 2 else 'band'}", (name,)), assemble(parts)


def shoe(rng: Rng) -> Made:
    word, rgb = pick(rng)
    sole_word, sole = pick(rng, ("white", "black", "brown"), but=(word,))
    tall = between(rng, 0.35, 0.8)
    foot = sweep(
        [(0, 0.0, -0.62), (0, 0.02, -0.2), (0, -0.02, 0.35), (0, -0.1, 0.75)],
        [(0.25, 0.28), (0.27, 0.3), (0.31, 0.24), (0.28, 0.17)],
        22,
        7,
    )
    ankle = lathe([(0.29, -0.1), (0.27, tall), (0.22, tall), (0.2, 0.1), (0, 0.1)], 24) * [0.95, 1, 1.25] + np.array(
        [0, 0.05, -0.42]
    )
    base = sweep(
        [(0, -0.27, -0.72), (0, -0.27, 0.1), (0, -0.27, 0.85)],
        [(0.27, 0.09), (0.3, 0.09), (0.33, 0.09)],
        16,
        caps="round",
    )
    laces = join(
        *(sweep([(-0.16, y, z), (0.16, y, z)], 0.035, 8) for y, z in ((0.31, -0.06), (0.27, 0.12), (0.22, 0.3)))
    )
    opening = ball((0, tall + 0.03, -0.42), (0.21, 0.03, 0.28), n=14)
    parts = [
        Part(join(foot, ankle), rgb),
        Part(base, sole),
        Part(laces, WHITE if word != "white" else GRAY),
        Part(opening, DARK),
        Part(ball((0, -0.12, 0.82), (0.27, 0.14, 0.2)), sole if chance(rng, 0.4) else rgb),
    ]
    boot = tall > 0.62
    return named("shoe", word, f"with {with_article(sole_word)} sole", ("boot",) if boot else ("sneaker",)), assemble(
        parts
    )


def bell(rng: Rng) -> Made:
    word, rgb = ("golden", GOLD) if chance(rng, 0.75) else ("silver", SILVER)
    body = lathe([(0.75, -0.65), (0.72, -0.58), (0.52, -0.3), (0.42, 0.2), (0.3, 0.48), (0, 0.55)], 32, True)
    parts = [
        Part(join(body, torus((0, -0.6, 0), 0.72, 0.06), torus((0, 0.72, 0), 0.14, 0.05, "z")), jitter(rng, rgb)),
        Part(join(ball((0, -0.72, 0), 0.17), cylinder((0, -0.3, 0), 0.04, 0.35)), shade(GOLD, -0.45)),
    ]
    if chance(rng, 0.5):
        ribbon, c = pick(rng, ("red", "green", "blue"))
        loops = pair(turn(ball((0.28, 0.66, 0.1), (0.26, 0.16, 0.07), (1, 1.4), n=16), "z", 14, (0, 0.66, 0)))
        parts.append(
            Part(
                join(
                    loops,
                    ball((0, 0.66, 0.14), 0.1, n=12),
                    pair(turn(box((0.14, 0.42, 0.3), (0.07, 0.2, 0.02), 0.01), "z", 22, (0, 0.6, 0))),
                ),
                c,
            )
        )
        return named("bell", word, f"with {with_article(ribbon)} ribbon", ("christmas bell",)), assemble(parts)
    return named("bell", word, "", ("church bell",)), assemble(parts)


def book(rng: Rng) -> Made:
    word, rgb = pick(rng)
    h, w, t = between(rng, 0.75, 0.95), between(rng, 0.55, 0.68), between(rng, 0.1, 0.22)
    if chance(rng, 0.3):
        leaf = turn(box((0.5, 0, 0), (0.5, 0.05, 0.65), 0.02), "z", 14)
        cover = turn(box((0.52, -0.07, 0), (0.54, 0.02, 0.7), 0.01), "z", 14)
        lines = turn(
            join(*(box((0.5, 0.055, z), (0.38, 0.006, 0.025), 0.003) for z in np.linspace(-0.45, 0.45, 6))), "z", 14
        )
        parts = [Part(pair(leaf), (0.97, 0.95, 0.88)), Part(pair(cover), rgb), Part(pair(lines), GRAY)]
        return named("open book", word, "", ("book with white pages", "book")), assemble(
            [Part(turn(p.shape, "x", 35), p.rgb) for p in parts]
        )
    covers = join(
        *(box((0, 0, s * (t + 0.02)), (w, h, 0.03), 0.015) for s in (-1, 1)),
        sweep([(-w, -h, 0), (-w, h, 0)], [(0.05, t + 0.04), (0.05, t + 0.04)], 16, caps="flat"),
    )
    title = join(
        box((0.03, 0.4 * h, t + 0.05), (0.6 * w, 0.06, 0.012), 0.005),
        box((0.03, 0.2 * h, t + 0.05), (0.4 * w, 0.04, 0.012), 0.005),
        torus((0.03, -0.3 * h, t + 0.05), 0.16, 0.04, "z"),
    )
    parts = [
        Part(covers, rgb),
        Part(box((0.0, 0, 0), (w - 0.03, h - 0.05, t), 0.01), (0.96, 0.93, 0.85)),
        Part(title, GOLD if word != "yellow" else BROWN),
    ]
    return named("book", word, "with a golden title" if word != "yellow" else "", ("closed book",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "guitar": guitar,
    "violin": violin,
    "drum": drum,
    "hat": hat,
    "shoe": shoe,
    "bell": bell,
    "book": book,
}
FRONTED = frozenset(GENERATORS) - {"drum", "hat", "bell"}
