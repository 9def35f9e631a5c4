"""Big wheels: truck, fire truck, bus, tractor, train, tank."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_cars import lights
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    COLOURS,
    DARK,
    GLASS,
    GOLD,
    GRAY,
    LAMP,
    METAL,
    RED,
    TYRE,
    WHITE,
    WINDOW,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    named,
    pick,
    shade,
    wheels,
)
from sds3d.embedded.corpus.shapes import (
    ball,
    box,
    cylinder,
    join,
    move,
    pair,
    prism,
    side_prism,
    sweep,
    torus,
    turn,
)


def _cab(w: float, z: float, h: float, rgb: Rgb) -> list[Part]:
    """A truck's cab whose front is at z, with windows, grille and lights."""
    outline = [(z - 0.6, 0.25), (z, 0.25), (z, 0.62), (z - 0.1, h), (z - 0.6, h)]
    shape = side_prism(outline, w, 0.05)
    pane = turn(box((0, 0, 0), (w * 0.82, (h - 0.68) / 2, 0.02), 0.01), "x", -11)
    glass = [
        move(pane, (0, (h + 0.62) / 2, z - 0.03)),
        pair(box((w, (h + 0.6) / 2, z - 0.32), (0.02, (h - 0.68) / 2, 0.17), 0.01)),
    ]
    return [
        Part(shape, rgb),
        Part(join(*glass), WINDOW),
        Part(
            join(
                box((0, 0.48, z + 0.01), (w * 0.5, 0.09, 0.02), 0.01), box((0, 0.28, z + 0.03), (w, 0.07, 0.05), 0.02)
            ),
            METAL,
        ),
        Part(pair(ball((w * 0.74, 0.48, z + 0.01), (0.09, 0.09, 0.04), n=12)), LAMP),
    ]


def truck(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    h, kind = between(rng, 1.0, 1.15), int(rng.integers(3))
    parts = _cab(0.45, 1.1, h, rgb) + [Part(box((0, 0.27, -0.1), (0.4, 0.07, 1.1), 0.02), DARK)]
    parts += wheels(0.42, 0.23, 0.1, (-0.8, 0.72) if kind else (-0.85, -0.35, 0.72))
    if kind == 0:
        parts.append(Part(box((0, 0.88, -0.38), (0.5, 0.54, 0.82), 0.04), c))
        extra, also = f"with {with_article(other)} cargo box", ("delivery truck",)
    elif kind == 1:
        sides = join(
            pair(box((0.47, 0.6, -0.38), (0.04, 0.26, 0.8), 0.02)),
            box((0, 0.6, -1.15), (0.5, 0.26, 0.04), 0.02),
            box((0, 0.38, -0.38), (0.5, 0.05, 0.8), 0.02),
            box((0, 0.7, 0.42), (0.5, 0.36, 0.04), 0.02),
        )
        heap = ball((0, 0.62, -0.38), (0.4, 0.38, 0.66))
        parts += [Part(sides, c), Part(heap, shade(COLOURS["brown"], 0.15))]
        extra, also = f"with {with_article(other)} bed", ("dump truck",)
    else:
        tank = cylinder((0, 0.8, -0.4), 0.44, 0.78, "z", 24)
        parts += [
            Part(tank, c),
            Part(
                join(
                    cylinder((0, 1.25, -0.4), 0.12, 0.05), *(torus((0, 0.8, z), 0.44, 0.03, "z") for z in (-0.9, 0.1))
                ),
                shade(c, -0.35),
            ),
        ]
        extra, also = f"with {with_article(other)} tank", ("tank truck",)
    parts.append(Part(pair(box((0.38, 0.32, -1.21), (0.06, 0.05, 0.02), 0.01)), RED))
    return named("truck", word, extra, also), assemble(parts)


def fire_truck(rng: Rng) -> Made:
    parts = _cab(0.45, 1.15, 1.05, RED)
    parts += [
        Part(box((0, 0.62, -0.35), (0.46, 0.38, 0.88), 0.04), RED),
        Part(box((0, 0.52, -0.35), (0.465, 0.05, 0.87), 0.01), WHITE),
    ]
    rails = pair(box((0.13, 0, 0), (0.03, 0.04, 0.95), 0.01))
    rungs = [box((0, 0, z), (0.13, 0.025, 0.03), 0.01) for z in np.linspace(-0.85, 0.85, 8)]
    parts.append(Part(move(turn(join(rails, *rungs), "x", -between(rng, 3, 14)), (0, 1.2, -0.25)), METAL))
    parts += [
        Part(box((0, 1.1, 0.9), (0.3, 0.06, 0.07), 0.03), (0.15, 0.3, 0.95)),
        *wheels(0.42, 0.24, 0.1, (-0.8, 0.7)),
    ]
    return named("fire truck", "red", "with a ladder", ("fire engine",)), assemble(parts)


def bus(rng: Rng) -> Made:
    school = chance(rng, 0.35)
    word, rgb = ("yellow", (0.96, 0.72, 0.1)) if school else pick(rng)
    double = chance(rng, 0.3) and not school
    h = 1.2 if double else 0.75
    parts = [Part(box((0, 0.2 + h / 2, 0), (0.42, h / 2, 1.2), 0.08), rgb)]
    for y in (0.68, 1.12) if double else (0.68,):
        panes = [box((0.42, y, z), (0.02, 0.13, 0.15), 0.01) for z in np.linspace(-0.95, 0.95, 6)]
        parts.append(
            Part(
                join(
                    pair(join(*panes)),
                    box((0, y, 1.2), (0.34, 0.14, 0.02), 0.01),
                    box((0, y, -1.2), (0.26, 0.1, 0.02), 0.01),
                ),
                WINDOW,
            )
        )
    parts.append(
        Part(box((0, 0.46, 0), (0.43, 0.03, 1.19), 0.01), BLACK if school else WHITE if word != "white" else GRAY)
    )
    parts += [
        *lights(0.3, 0.36, 1.2, -1.2, 0.07),
        Part(box((0, 0.26, 1.2), (0.4, 0.05, 0.05), 0.02), DARK),
        *wheels(0.38, 0.2, 0.08, (-0.75, 0.75)),
    ]
    also = ("school bus",) if school else ("double decker bus",) if double else ("city bus",)
    return named("bus", word, "", also), assemble(parts)


def tractor(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "red", "blue", "orange", "yellow"))
    hood = box((0, 0.72, 0.5), (0.24, 0.22, 0.55), 0.06)
    fenders = pair(torus((0.48, 0.5, -0.45), 0.58, (0.05, 0.16), "x", (0, 150)))
    cab = [box((s * 0.3, 1.15, z), (0.03, 0.42, 0.03), 0.01) for s in (-1, 1) for z in (-0.1, -0.7)]
    parts = [
        Part(
            join(
                hood,
                box((0, 0.55, -0.4), (0.3, 0.25, 0.35), 0.05),
                box((0, 1.58, -0.4), (0.38, 0.05, 0.42), 0.03),
                fenders,
            ),
            rgb,
        )
    ]
    parts += [
        Part(join(*cab, sweep([(0.12, 0.9, 0.7), (0.12, 1.35, 0.7)], 0.04, 8)), DARK),
        Part(box((0, 1.15, -0.4), (0.27, 0.36, 0.27), 0.02), GLASS),
    ]
    hub = COLOURS["yellow"] if word != "yellow" else RED
    parts += wheels(0.5, 0.52, 0.15, (-0.45,), hub) + wheels(0.34, 0.28, 0.1, (0.75,), hub)
    parts += [
        Part(box((0, 0.72, 1.05), (0.18, 0.15, 0.02), 0.01), DARK),
        Part(pair(ball((0.2, 0.85, 1.04), 0.06, n=10)), LAMP),
    ]
    return named("tractor", word, "", ("farm tractor",)), assemble(parts)


def train(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word, "black"))
    boiler = cylinder((0, 0.68, 0.35), 0.32, 0.65, "z", 24)
    cab = join(box((0, 0.8, -0.6), (0.42, 0.45, 0.32), 0.03), box((0, 0.36, 0.1), (0.4, 0.08, 1.05), 0.03))
    parts = [Part(boiler, rgb), Part(cab, rgb), Part(box((0, 1.3, -0.6), (0.5, 0.06, 0.42), 0.03), c)]
    stack = join(cylinder((0, 1.15, 0.72), 0.11, 0.25, top=1.5), ball((0, 1.0, 0.3), (0.14, 0.14, 0.14), n=14))
    parts += [Part(join(*(torus((0, 0.68, z), 0.325, 0.025, "z") for z in (0.0, 0.4, 0.8))), GOLD), Part(stack, DARK)]
    parts += [Part(cylinder((0, 0.68, 1.0), 0.28, 0.03, "z"), DARK), Part(ball((0, 0.68, 1.05), 0.1, n=12), LAMP)]
    plow = prism([(-0.4, 0), (0.4, 0), (0.3, 0.32), (-0.3, 0.32)], 0.03)
    parts.append(Part(move(turn(plow, "x", -28), (0, 0.06, 1.3)), c))
    parts.append(
        Part(
            join(
                pair(box((0.42, 0.95, -0.6), (0.02, 0.15, 0.17), 0.01)), box((0, 1.08, -0.27), (0.3, 0.1, 0.02), 0.01)
            ),
            WINDOW,
        )
    )
    parts += wheels(0.4, 0.26, 0.06, (-0.65,), c) + wheels(0.4, 0.2, 0.06, (-0.1, 0.32, 0.74), c)
    return named("train", word, f"with {with_article(other)} roof", ("steam locomotive", "toy train")), assemble(parts)


def tank(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "brown", "gray", "blue", "red", "yellow"))
    if word == "green":
        rgb = shade((0.36, 0.45, 0.22), between(rng, -0.15, 0.1))
    hull = side_prism([(-1.0, 0.42), (0.85, 0.42), (1.05, 0.55), (0.7, 0.72), (-0.95, 0.72)], 0.5, 0.04)
    track = [(-0.95, 0.0), (0.75, 0.0), (1.08, 0.3), (1.0, 0.46), (-1.08, 0.46), (-1.18, 0.25)]
    treads = pair(move(side_prism(track, 0.15, 0.06), (0.52, 0, 0)))
    rollers = pair(join(*(cylinder((0.66, 0.2, z), 0.15, 0.04, "x") for z in (-0.75, -0.38, 0, 0.38, 0.72))))
    turret = box((0, 0.92, -0.1), (0.42, 0.2, 0.5), 0.1, taper=0.75)
    gun = sweep([(0, 0.93, 0.3), (0, 0.98, 1.45)], 0.07, 12, caps="flat")
    parts = [
        Part(hull, rgb),
        Part(join(turret, gun, cylinder((0, 0.98, 1.42), 0.1, 0.09, "z")), shade(rgb, -0.08)),
        Part(treads, TYRE),
        Part(rollers, shade(rgb, -0.25)),
    ]
    parts += [Part(cylinder((0.1, 1.14, -0.2), 0.14, 0.04), shade(rgb, -0.3)), *lights(0.4, 0.62, 0.95, -0.97, 0.05)]
    return named("tank", word, "", ("army tank",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "truck": truck,
    "fire truck": fire_truck,
    "bus": bus,
    "tractor": tractor,
    "train": train,
    "tank": tank,
}
FRONTED = frozenset(GENERATORS)
