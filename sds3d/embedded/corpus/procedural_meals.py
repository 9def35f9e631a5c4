"""Baked, fried and savoury food: hamburger, hot dog, pizza, cheese, bread, sushi, french fries."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_food import CREAM
from sds3d.embedded.corpus.procedural_kit import (
    COLOURS,
    LEAF,
    RED,
    WHITE,
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
from sds3d.embedded.corpus.shapes import (
    ball,
    box,
    cylinder,
    join,
    lathe,
    prism,
    sweep,
    torus,
    turn,
)


def hamburger(rng: Rng) -> Made:
    bun = jitter(rng, (0.85, 0.56, 0.24))
    w = between(rng, 0.85, 0.98)
    double = chance(rng, 0.35)
    top = 0.32 if double else 0.1
    lower = lathe([(0, -0.55), (0.75, -0.55), (0.88, -0.42), (0.85, -0.3), (0, -0.3)], 28)
    a = np.linspace(0, np.pi / 2, 8)
    upper = lathe([(0, top), (0.88, top), *[(0.9 * np.cos(t), top + 0.05 + 0.48 * np.sin(t)) for t in a]], 28)
    patties = [
        lathe([(0, y), (0.85, y), (0.92, y + 0.08), (0.85, y + 0.17), (0, y + 0.17)], 24)
        for y in ((-0.28, 0.05) if double else (-0.28,))
    ]
    lettuce = lathe(
        [(0, top - 0.1), (1.0, top - 0.14), (0.95, top - 0.04), (0, top - 0.02)],
        60,
        wobble=lambda t, y: 1 + 0.05 * np.sin(13 * t),
    )
    slabs = [turn(box((0, y, 0), (0.72, 0.025, 0.72), 0.01), "y", 20) for y in ((-0.09, 0.23) if double else (-0.09,))]
    tomato = cylinder((0, top - 0.11 if not double else -0.03, 0), 0.82, 0.04, sides=24)
    golden = np.arange(26) * 2.39996
    r = 0.72 * np.sqrt((np.arange(26) + 0.5) / 26)
    seeds = join(
        *(
            ball(
                (q * np.sin(t), top + 0.06 + 0.48 * np.sqrt(max(1 - (q / 0.9) ** 2, 0)), q * np.cos(t)),
                (0.045, 0.03, 0.045),
                n=8,
            )
            for q, t in zip(r, golden, strict=True)
        )
    )
    parts = [
        Part(join(lower, upper), bun),
        Part(join(*patties), (0.36, 0.19, 0.10)),
        Part(lettuce, (0.42, 0.72, 0.22)),
        Part(join(*slabs), (0.98, 0.78, 0.15)),
        Part(tomato, (0.85, 0.18, 0.12)),
        Part(seeds, CREAM),
    ]
    return named(
        "hamburger", "", "with two patties" if double else "with lettuce and cheese", ("cheeseburger", "burger")
    ), assemble([Part(p.shape * [w, 1, w], p.rgb) for p in parts])


def hot_dog(rng: Rng) -> Made:
    bun = jitter(rng, (0.88, 0.64, 0.32))
    halves = join(*(sweep([(-0.85, 0, s * 0.2), (0.85, 0, s * 0.2)], [(0.2, 0.25), (0.2, 0.25)], 16) for s in (-1, 1)))
    sausage = sweep([(-1.02, 0.16, 0), (0, 0.2, 0), (1.02, 0.16, 0)], 0.19, 16)
    x = np.linspace(-0.9, 0.9, 30)
    word, sauce = ("mustard", (0.97, 0.80, 0.12)) if chance(rng, 0.7) else ("ketchup", RED)
    line = sweep(np.stack([x, 0.41 - 0.04 * (x**2), 0.1 * np.sin(12 * x)], -1), 0.045, 8, 2)
    parts = [Part(halves, bun), Part(sausage, jitter(rng, (0.72, 0.25, 0.14))), Part(line, sauce)]
    if chance(rng, 0.4):
        parts.append(
            Part(
                join(
                    *(
                        ball((q, 0.14, s * 0.22), (0.12, 0.14, 0.09), n=10)
                        for q in np.linspace(-0.8, 0.8, 9)
                        for s in (-1, 1)
                    )
                ),
                (0.45, 0.74, 0.25),
            )
        )
    return named("hot dog", "", f"with {word}", ("sausage in a bun",)), assemble(
        [Part(turn(p.shape, "x", 25), p.rgb) for p in parts]
    )


def pizza(rng: Rng) -> Made:
    slice_only = chance(rng, 0.4)
    n = 30
    toppings = str(rng.choice(["pepperoni", "mushrooms", "olives"]))
    t, r = rng.uniform(0, 2 * np.pi, n), 0.76 * np.sqrt(rng.uniform(0.02, 1, n))
    if slice_only:
        outline = [(0, -0.95), *[(1.3 * np.sin(q), -0.95 + 1.6 * np.cos(q)) for q in np.linspace(0.4, -0.4, 9)]]
        base = turn(prism(outline, 0.05, 0.02), "x", -90)
        cheese = turn(prism([(x * 0.94, -0.92 + (y + 0.95) * 0.93) for x, y in outline], 0.05), "x", -90) + [
            0,
            0.035,
            0,
        ]
        rim = sweep([(1.3 * np.sin(q), 0.03, 0.95 - 1.6 * np.cos(q)) for q in np.linspace(0.42, -0.42, 7)], 0.12, 12)
        spots = [(-0.28, -0.25), (0.25, -0.3), (0.0, 0.12), (0.02, 0.5), (-0.08, -0.5)]
    else:
        base, cheese = cylinder((0, 0, 0), 0.95, 0.05, sides=36), cylinder((0, 0.04, 0), 0.88, 0.05, sides=36)
        rim = torus((0, 0.03, 0), 0.93, 0.1)
        spots = [
            (q * np.sin(a), q * np.cos(a))
            for a, q in zip(np.arange(13) * 2.4, 0.75 * np.sqrt((np.arange(13) + 0.3) / 13), strict=True)
        ]
    discs = join(*(cylinder((x, 0.1, z), 0.13, 0.025, sides=16) for x, z in spots))
    parts = [Part(join(base, rim), jitter(rng, (0.82, 0.56, 0.26))), Part(cheese, (0.98, 0.80, 0.32))]
    if toppings == "pepperoni":
        parts.append(Part(discs, (0.76, 0.16, 0.10)))
    elif toppings == "mushrooms":
        parts.append(Part(discs * [1, 1.05, 1], CREAM))
        parts.append(Part(discs * [0.55, 1.2, 0.55], (0.7, 0.2, 0.12)))
    else:
        parts.append(Part(join(*(torus((x, 0.1, z), 0.08, 0.035) for x, z in spots)), (0.12, 0.12, 0.10)))
        parts.append(Part(join(*(ball((x + 0.16, 0.1, z + 0.1), (0.1, 0.03, 0.08), n=10) for x, z in spots[:-1])), RED))
    if not slice_only and toppings != "pepperoni":
        keep = r < 0.7
        parts.append(
            Part(
                join(
                    *(
                        ball((q * np.sin(a), 0.1, q * np.cos(a)), (0.06, 0.03, 0.04), n=8)
                        for a, q in zip(t[keep], r[keep], strict=True)
                    )
                ),
                LEAF,
            )
        )
    phrases = (
        named("pizza", "", f"with {toppings}", ("whole pizza",))
        if not slice_only
        else [f"slice of pizza with {toppings}", "pizza slice", "slice of pizza", "pizza"]
    )
    return phrases, assemble([Part(turn(p.shape, "x", 48), p.rgb) for p in parts])


def cheese(rng: Rng) -> Made:
    rgb = jitter(rng, (0.98, 0.79, 0.22))
    s, h = between(rng, 0.6, 0.9), between(rng, 0.32, 0.5)
    wedge = turn(prism([(-0.9, 0), (0.75, s), (0.9, 0.35 * s), (0.9, -0.35 * s), (0.75, -s)], h), "x", -90)
    holes = [(0.25, 0.1, 0.62), (-0.2, -0.15, 0.38), (0.55, -0.12, 0.8), (-0.5, 0.12, 0.22), (0.05, -0.22, 0.5)]
    slope = s / 1.65
    pits = [ball((x, y, (x + 0.9) * slope), (0.13, 0.12, 0.06), n=12) for x, y, _ in holes]
    on_top = [
        ball((x, h, z), (0.13, 0.035, 0.12), n=12)
        for x, z in ((0.4, 0.15), (-0.15, -0.05), (0.65, -0.25), (0.2, -0.25))
    ]
    round_holes = join(
        *pits,
        *(p * [1, 1, -1] for p in pits),
        *on_top,
        *(ball((0.9, y, z), (0.04, 0.13, 0.13), n=12) for y, z in ((0.1, 0.1), (-0.15, -0.15))),
    )
    return named("cheese", "yellow", "with holes", ("piece of cheese", "wedge of cheese", "swiss cheese")), assemble(
        [Part(wedge, rgb), Part(round_holes, shade(rgb, -0.25))]
    )


def bread(rng: Rng) -> Made:
    crust = jitter(rng, (0.74, 0.46, 0.20))
    if chance(rng, 0.5):
        loaf = ball((0, 0, 0), (1.05, 0.42, 0.45), (0.9, 0.8), n=26)
        cuts = [
            turn(ball((x, 0.38, 0), (0.07, 0.06, 0.28), n=12), "y", 25, (x, 0, 0)) for x in (-0.55, -0.18, 0.18, 0.55)
        ]
        return named("bread", "", "", ("loaf of bread", "baked bread")), assemble(
            [Part(loaf, crust), Part(join(*cuts), (0.95, 0.82, 0.58))]
        )
    outline = [
        (-0.55, -0.6),
        (0.55, -0.6),
        (0.58, 0.15),
        (0.72, 0.3),
        (0.7, 0.55),
        (0.45, 0.7),
        (-0.45, 0.7),
        (-0.7, 0.55),
        (-0.72, 0.3),
        (-0.58, 0.15),
    ]
    n = 1 if chance(rng, 0.4) else 0
    half = 0.14 if n else 0.75
    face = [(x * 0.88, y * 0.88) for x, y in outline]
    parts = [Part(prism(outline, half, 0.03), crust), Part(prism(face, half + 0.01), (0.96, 0.86, 0.64))]
    return named("bread", "", "", ("slice of bread", "toast") if n else ("loaf of bread",)), assemble(parts)


def sushi(rng: Rng) -> Made:
    if chance(rng, 0.5):
        rice = ball((0, 0, 0), (0.85, 0.32, 0.4), 0.7)
        word, fish = ("salmon", (0.95, 0.48, 0.28)) if chance(rng, 0.6) else ("tuna", (0.82, 0.18, 0.22))
        top = ball((0, 0.28, 0), (0.98, 0.16, 0.42), (0.6, 0.8), n=30)
        parts = [
            Part(rice, WHITE),
            *paint(top, fish, (lambda x, y, z: np.mod(5 * (x + 0.5 * z), 1) < 0.18, shade(fish, 0.5))),
        ]
        return named("sushi", word, "", ("piece of sushi", "nigiri sushi")), assemble(parts)
    seaweed = cylinder((0, 0, 0), 0.8, 0.5, sides=28)
    core_word, core = pick(rng, ("orange", "red", "green", "yellow"))
    parts = [
        Part(seaweed, (0.10, 0.18, 0.12)),
        Part(cylinder((0, 0, 0), 0.7, 0.53), WHITE),
        Part(cylinder((0, 0, 0), 0.32, 0.56), core),
    ]
    return named("sushi", "", f"with {with_article(core_word)} filling", ("sushi roll",)), assemble(
        [Part(turn(p.shape, "x", 35), p.rgb) for p in parts]
    )


def fries(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "white", "blue"))
    carton = box((0, -0.4, 0), (0.5, 0.5, 0.24), 0.04, taper=(1.25, 1.1))
    sticks = [
        turn(box((x, between(rng, 0.1, 0.42), z), (0.065, 0.5, 0.065), 0.015), "z", -12 * x + between(rng, -4, 4))
        for x in np.linspace(-0.48, 0.48, 7)
        for z in (-0.14, 0.0, 0.14)
    ]
    parts = [
        Part(carton, rgb),
        Part(join(*sticks), jitter(rng, (0.97, 0.80, 0.32))),
        Part(
            prism([(0.14 * np.sin(a), -0.35 + 0.14 * np.cos(a)) for a in np.linspace(0, 6.28, 14)[:-1]], 0.28),
            COLOURS["yellow"],
        ),
    ]
    return named("french fries", "", f"in {with_article(word)} box", ("box of french fries",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "hamburger": hamburger,
    "hot dog": hot_dog,
    "pizza": pizza,
    "cheese": cheese,
    "bread": bread,
    "sushi": sushi,
    "french fries": fries,
}
FRONTED = frozenset({"hot dog", "pizza"})
