"""Tall stone: castle, tower, lighthouse, windmill."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_buildings import cone_roof, flag
from sds3d.embedded.corpus.procedural_kit import (
    BROWN,
    DARK,
    LAMP,
    STONE,
    WHITE,
    Generator,
    Made,
    Part,
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
    box,
    cylinder,
    join,
    lathe,
    move,
    prism,
    ring,
    sweep,
    torus,
    turn,
)


def battlement(r: float, y: float, n: int, size: float = 0.09) -> Array:
    """A round rim with merlons on top of a round tower."""
    rim = lathe([(r * 0.9, y - 0.08), (r * 1.12, y), (r * 1.12, y + 0.1), (0, y + 0.1)])
    return join(rim, ring(box((0, y + 0.17, r * 1.03), (size, 0.1, 0.05), 0.01), n))


def castle(rng: Rng) -> Made:
    word, rgb = pick(rng, ("gray",) * 4 + ("white", "brown", "pink", "yellow"))
    rgb = jitter(rng, STONE) if word == "gray" else rgb
    roof_word, roof_rgb = pick(rng, ("red", "blue", "purple", "green"), but=(word,))
    w, h = between(rng, 0.62, 0.75), between(rng, 0.5, 0.7)
    wall = join(
        box((0, h / 2, 0), (w, h / 2, w), 0.01),
        *(
            box((s * x, h + 0.07, z), (0.08, 0.09, 0.08), 0.01)
            for s in (-1, 1)
            for x, z in (
                (0.18, w - 0.07),
                (0.42, w - 0.07),
                (w - 0.07, 0.15),
                (w - 0.07, -0.15),
                (0.18, 0.07 - w),
                (0.42, 0.07 - w),
            )
        ),
    )
    r, tall = between(rng, 0.2, 0.26), h + between(rng, 0.35, 0.6)
    pointed = chance(rng, 0.7)
    one = cylinder((w, tall / 2, w), r, tall / 2)
    towers = join(*(turn(one, "y", 90 * k) for k in range(4)))
    keep_h = tall + between(rng, 0.2, 0.5)
    keep = cylinder((0, keep_h / 2, -0.15), 0.3, keep_h / 2)
    parts = [Part(join(wall, towers, keep), rgb)]
    if pointed:
        caps = join(ring(cone_roof((w, tall, w), r * 1.3, 0.5), 4), cone_roof((0, keep_h, -0.15), 0.4, 0.6))
        parts.append(Part(caps, roof_rgb))
        extra = f"with {roof_word} roofs"
    else:
        crowns = join(
            *(turn(move(battlement(r, tall, 6), (w, 0, w)), "y", 90 * k) for k in range(4)),
            move(battlement(0.3, keep_h, 8), (0, 0, -0.15)),
        )
        parts += [Part(crowns, shade(rgb, 0.1)), *flag((0, keep_h + 0.1, -0.15), roof_rgb, 0.3)]
        extra = f"with {with_article(roof_word)} flag"
    gate = prism(
        [
            (-0.2, 0),
            (0.2, 0),
            (0.2, 0.28),
            *[(0.2 * np.cos(t), 0.28 + 0.16 * np.sin(t)) for t in np.linspace(0.3, 2.84, 6)],
            (-0.2, 0.28),
        ],
        0.03,
    )
    slits = [box((s * w, 0.65 * tall, w + r), (0.035, 0.09, 0.02), 0.005) for s in (-1, 1)] + [
        box((0, keep_h - 0.2, 0.15), (0.05, 0.1, 0.02), 0.01)
    ]
    parts += [Part(move(gate, (0, 0, w)), BROWN), Part(join(*slits), DARK)]
    return named("castle", word, extra, ("stone castle",) if word == "gray" else ("fairytale castle",)), assemble(parts)


def tower(rng: Rng) -> Made:
    word, rgb = pick(rng, ("gray", "gray", "white", "brown"))
    rgb = jitter(rng, STONE) if word == "gray" else rgb
    roof_word, roof_rgb = pick(rng, ("red", "blue", "purple", "green", "orange"), but=(word,))
    h, r = between(rng, 1.4, 1.9), between(rng, 0.32, 0.42)
    body = lathe([(0, 0), (r * 1.15, 0), (r, 0.25), (0.92 * r, h), (0, h)])
    parts = [Part(body, rgb)]
    pointed = chance(rng, 0.6)
    if pointed:
        parts += [
            Part(lathe([(0.9 * r, h - 0.3), (1.25 * r, h - 0.15), (1.25 * r, h), (0, h)]), shade(rgb, -0.1)),
            Part(cone_roof((0, h, 0), 1.45 * r, 0.75), roof_rgb),
        ]
    else:
        parts += [Part(battlement(r, h, 8), shade(rgb, -0.12)), *flag((0, h + 0.1, 0), roof_rgb, 0.3)]
    for y in (0.45 * h, 0.72 * h):
        parts.append(
            Part(join(*(turn(box((0, y, 0.95 * r), (0.05, 0.1, 0.04), 0.01), "y", a) for a in (0, 120, 240))), DARK)
        )
    return named(
        "tower", word, f"with {with_article(roof_word)} {'roof' if pointed else 'flag'}", ("stone tower",)
    ), assemble(parts + door((0, 0, 1.08 * r), 0.22, 0.36))


def lighthouse(rng: Rng) -> Made:
    word, c = pick(rng, ("red", "red", "red", "blue", "black", "green"))
    n = int(rng.integers(3, 6))
    h = 1.7
    body = lathe([(0, 0), *[(0.42 - 0.16 * t, h * t) for t in np.linspace(0, 1, 41)], (0, h)], 28)
    parts = paint(body, WHITE, (lambda x, y, z: np.mod(y / h * n, 1.0) < 0.5, c))
    deck = lathe([(0.26, h - 0.1), (0.38, h), (0.38, h + 0.05), (0, h + 0.05)])
    parts += [
        Part(join(deck, torus((0, h + 0.16, 0), 0.36, 0.02)), DARK),
        Part(cylinder((0, h + 0.2, 0), 0.19, 0.17), LAMP),
        Part(lathe([(0, h + 0.36), (0.29, h + 0.36), (0.15, h + 0.54), (0, h + 0.66)]), c),
    ]
    parts += [
        Part(cylinder((0, 0.0, 0), 0.62, 0.08, top=0.8), STONE),
        Part(
            join(
                *(
                    sweep(
                        [(0.19 * np.sin(a), h, 0.19 * np.cos(a)), (0.19 * np.sin(a), h + 0.38, 0.19 * np.cos(a))],
                        0.02,
                        6,
                    )
                    for a in np.arange(6) * 1.05
                )
            ),
            DARK,
        ),
    ]
    parts += door((0, 0.06, 0.41), 0.2, 0.34) + window((0, 1.05, 0.33), 0.06, 0.08)
    return named("lighthouse", f"{word} and white", "with stripes", (f"{word} lighthouse",)), assemble(parts)


def windmill(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "brown", "yellow", "gray"))
    roof_word, roof_rgb = pick(rng, ("red", "brown", "blue", "green"), but=(word,))
    h = between(rng, 1.1, 1.4)
    body = lathe([(0, 0), (0.55, 0), (0.36, h), (0, h)], 8 if chance(rng, 0.4) else 24)
    cap = lathe([(0, h), (0.42, h), (0.34, h + 0.2), (0, h + 0.42)], 20)
    start, n = between(rng, 0, 90), 4
    hub = np.array([0, h + 0.1, 0.52])
    arm = join(
        box((0, 0.5, 0), (0.03, 0.5, 0.02), 0.005),
        *(box((0.1, y, 0), (0.13, 0.015, 0.015), 0.005) for y in np.linspace(0.22, 0.98, 5)),
    )
    cloth = box((0.12, 0.6, 0), (0.11, 0.38, 0.01), 0.005)
    parts = [Part(body, rgb), Part(cap, roof_rgb), Part(sweep([(0, hub[1], 0), hub + [0, 0, 0.06]], 0.06, 10), DARK)]
    parts.append(Part(move(join(*(turn(arm, "z", start + 90 * k) for k in range(n))), hub), BROWN))
    parts.append(Part(move(join(*(turn(cloth, "z", start + 90 * k) for k in range(n))), hub), (0.93, 0.88, 0.76)))
    parts += door((0, 0, 0.54), 0.24, 0.38) + window((0, 0.75 * h, 0.42), 0.07, 0.08)
    return named("windmill", word, f"with {with_article(roof_word)} roof", ("old windmill",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "castle": castle,
    "tower": tower,
    "lighthouse": lighthouse,
    "windmill": windmill,
}
FRONTED = frozenset(GENERATORS)
