"""Things on wheels: car, race car, police car, taxi, truck, fire truck, bus, van, tractor, train, tank, motorcycle, bicycle."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
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
    paint,
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


def lights(x: float, y: float, front: float, back: float, r: float = 0.08) -> list[Part]:
    """Headlights on the +Z side, red lights on the other."""
    return [
        Part(pair(ball((x, y, front), (1.25 * r, r, 0.5 * r), n=12)), LAMP),
        Part(pair(box((x, y, back), (1.2 * r, 0.8 * r, 0.03), 0.02)), (0.88, 0.06, 0.06)),
    ]


def _car_body(rng: Rng, rgb: Rgb, roof: Rgb) -> list[Part]:
    """A closed car 2 long: bodywork, cabin, wheels, lights, bumpers."""
    hood, top, rear = between(rng, 0.3, 0.5), between(rng, 0.84, 0.98), between(rng, -0.95, -0.6)
    w = between(rng, 0.42, 0.5)
    low = [(-1, 0.2), (1, 0.2), (1.04, 0.36), (0.98, 0.47), (hood, 0.56), (rear, 0.57), (-0.98, 0.54), (-1.04, 0.42)]
    a, b = hood - 0.28, rear + 0.22
    cabin = [(hood + 0.02, 0.5), (a, top - 0.06), (b, top - 0.06), (rear, 0.5)]
    post = (a + b) / 2
    posts = [side_prism([(post - 0.05, 0.5), (post + 0.05, 0.5), (post + 0.04, top - 0.04), (post - 0.04, top - 0.04)], w * 0.93)]
    parts = [
        Part(join(side_prism(low, w, 0.05), *posts), rgb),
        Part(side_prism(cabin, w * 0.92, 0.06), WINDOW),
        Part(side_prism([(a + 0.05, top - 0.08), (a - 0.04, top), (b + 0.04, top), (b - 0.05, top - 0.08)], w * 0.9, 0.06), roof),
        Part(join(box((0, 0.24, 1.02), (w * 0.95, 0.06, 0.06), 0.03), box((0, 0.24, -1.02), (w * 0.95, 0.06, 0.06), 0.03)), GRAY),
        Part(box((0, 0.38, 1.03), (0.5 * w, 0.06, 0.02), 0.01), DARK),
    ]
    r = between(rng, 0.2, 0.25)
    return parts + wheels(w - 0.02, r, 0.09, (-0.62, 0.62)) + lights(0.72 * w, 0.41, 1.02, -1.03)


def car(rng: Rng) -> Made:
    word, rgb = pick(rng)
    two = chance(rng, 0.25)
    other, roof = pick(rng, ("white", "black"), but=(word,)) if two else (word, rgb)
    return named("car", word, f"with {with_article(other)} roof" if two else ""), assemble(_car_body(rng, rgb, roof))


def taxi(rng: Rng) -> Made:
    rgb = COLOURS["yellow"]
    parts = _car_body(rng, rgb, rgb) + [Part(box((0, 1.0, -0.1), (0.2, 0.09, 0.09), 0.03), WHITE)]
    parts.append(Part(box((0, 0.42, 0), (0.51, 0.05, 0.8), 0.01), BLACK))
    return named("taxi", "yellow", "", ("taxi cab",)), assemble(parts)


def police_car(rng: Rng) -> Made:
    side, rgb = pick(rng, ("black", "blue"))
    parts = _car_body(rng, WHITE, WHITE) + [Part(box((0, 0.4, 0), (0.512, 0.1, 0.5), 0.01), rgb)]
    parts += [Part(box((0.14, 0.98, -0.1), (0.13, 0.07, 0.08), 0.03), (0.1, 0.25, 0.95)), Part(box((-0.14, 0.98, -0.1), (0.13, 0.07, 0.08), 0.03), RED)]
    return named("police car", f"{side} and white", "with red and blue lights"), assemble(parts)


def race_car(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    body = [(-0.95, 0.16), (1.15, 0.16), (1.2, 0.24), (0.3, 0.42), (-0.1, 0.4), (-0.95, 0.42)]
    tub = side_prism(body, 0.2, 0.1)
    pods = pair(box((0.3, 0.26, -0.25), (0.14, 0.13, 0.42), 0.08))
    scoop = side_prism([(-0.3, 0.4), (-0.35, 0.68), (-0.5, 0.68), (-0.9, 0.42)], 0.1, 0.1)
    wings = join(box((0, 0.16, 1.14), (0.55, 0.025, 0.15), 0.01), box((0, 0.76, -1.0), (0.5, 0.03, 0.15), 0.01), pair(box((0.5, 0.66, -1.0), (0.02, 0.16, 0.18), 0.01)))
    struts = pair(box((0.15, 0.55, -0.98), (0.02, 0.22, 0.05), 0.01))
    helmet = ball((0, 0.5, -0.08), 0.13, n=14)
    disc = cylinder((0, 0.36, 0.62), 0.13, 0.02)
    parts = [Part(join(tub, pods, scoop), rgb), Part(wings, c), Part(struts, DARK), Part(helmet, WHITE), Part(turn(disc, "x", 15, (0, 0.36, 0.62)), WHITE)]
    parts.append(Part(box((0, 0.5, 0.04), (0.1, 0.04, 0.03), 0.01), BLACK))
    parts += wheels(0.5, 0.25, 0.13, (-0.72,), GOLD) + wheels(0.5, 0.22, 0.1, (0.72,), GOLD)
    return named("race car", word, f"with {other} wings", ("racing car", "formula one car")), assemble(parts)


def _cab(w: float, z: float, h: float, rgb: Rgb) -> list[Part]:
    """A truck's cab whose front is at z, with windows, grille and lights."""
    outline = [(z - 0.6, 0.25), (z, 0.25), (z, 0.62), (z - 0.1, h), (z - 0.6, h)]
    shape = side_prism(outline, w, 0.05)
    pane = turn(box((0, 0, 0), (w * 0.82, (h - 0.68) / 2, 0.02), 0.01), "x", -11)
    glass = [move(pane, (0, (h + 0.62) / 2, z - 0.03)), pair(box((w, (h + 0.6) / 2, z - 0.32), (0.02, (h - 0.68) / 2, 0.17), 0.01))]
    return [
        Part(shape, rgb),
        Part(join(*glass), WINDOW),
        Part(join(box((0, 0.48, z + 0.01), (w * 0.5, 0.09, 0.02), 0.01), box((0, 0.28, z + 0.03), (w, 0.07, 0.05), 0.02)), METAL),
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
        sides = join(pair(box((0.47, 0.6, -0.38), (0.04, 0.26, 0.8), 0.02)), box((0, 0.6, -1.15), (0.5, 0.26, 0.04), 0.02), box((0, 0.38, -0.38), (0.5, 0.05, 0.8), 0.02), box((0, 0.7, 0.42), (0.5, 0.36, 0.04), 0.02))
        heap = ball((0, 0.62, -0.38), (0.4, 0.38, 0.66))
        parts += [Part(sides, c), Part(heap, shade(COLOURS["brown"], 0.15))]
        extra, also = f"with {with_article(other)} bed", ("dump truck",)
    else:
        tank = cylinder((0, 0.8, -0.4), 0.44, 0.78, "z", 24)
        parts += [Part(tank, c), Part(join(cylinder((0, 1.25, -0.4), 0.12, 0.05), *(torus((0, 0.8, z), 0.44, 0.03, "z") for z in (-0.9, 0.1))), shade(c, -0.35))]
        extra, also = f"with {with_article(other)} tank", ("tank truck",)
    parts.append(Part(pair(box((0.38, 0.32, -1.21), (0.06, 0.05, 0.02), 0.01)), RED))
    return named("truck", word, extra, also), assemble(parts)


def fire_truck(rng: Rng) -> Made:
    parts = _cab(0.45, 1.15, 1.05, RED)
    parts += [Part(box((0, 0.62, -0.35), (0.46, 0.38, 0.88), 0.04), RED), Part(box((0, 0.52, -0.35), (0.465, 0.05, 0.87), 0.01), WHITE)]
    rails = pair(box((0.13, 0, 0), (0.03, 0.04, 0.95), 0.01))
    rungs = [box((0, 0, z), (0.13, 0.025, 0.03), 0.01) for z in np.linspace(-0.85, 0.85, 8)]
    parts.append(Part(move(turn(join(rails, *rungs), "x", -between(rng, 3, 14)), (0, 1.2, -0.25)), METAL))
    parts += [Part(box((0, 1.1, 0.9), (0.3, 0.06, 0.07), 0.03), (0.15, 0.3, 0.95)), *wheels(0.42, 0.24, 0.1, (-0.8, 0.7))]
    return named("fire truck", "red", "with a ladder", ("fire engine",)), assemble(parts)


def bus(rng: Rng) -> Made:
    school = chance(rng, 0.35)
    word, rgb = ("yellow", (0.96, 0.72, 0.1)) if school else pick(rng)
    double = chance(rng, 0.3) and not school
    h = 1.2 if double else 0.75
    parts = [Part(box((0, 0.2 + h / 2, 0), (0.42, h / 2, 1.2), 0.08), rgb)]
    for y in (0.68, 1.12) if double else (0.68,):
        panes = [box((0.42, y, z), (0.02, 0.13, 0.15), 0.01) for z in np.linspace(-0.95, 0.95, 6)]
        parts.append(Part(join(pair(join(*panes)), box((0, y, 1.2), (0.34, 0.14, 0.02), 0.01), box((0, y, -1.2), (0.26, 0.1, 0.02), 0.01)), WINDOW))
    parts.append(Part(box((0, 0.46, 0), (0.43, 0.03, 1.19), 0.01), BLACK if school else WHITE if word != "white" else GRAY))
    parts += [*lights(0.3, 0.36, 1.2, -1.2, 0.07), Part(box((0, 0.26, 1.2), (0.4, 0.05, 0.05), 0.02), DARK), *wheels(0.38, 0.2, 0.08, (-0.75, 0.75))]
    also = ("school bus",) if school else ("double decker bus",) if double else ("city bus",)
    return named("bus", word, "", also), assemble(parts)


def van(rng: Rng) -> Made:
    word, rgb = pick(rng)
    two = chance(rng, 0.5)
    other, c = pick(rng, ("white", "orange", "blue", "black"), but=(word,)) if two else (word, rgb)
    outline = [(-1.0, 0.2), (1.0, 0.2), (1.04, 0.5), (0.8, 1.05), (0.7, 1.1), (-0.95, 1.12), (-1.03, 1.0)]
    shell = paint(side_prism(outline, 0.45, 0.05), rgb)
    low = side_prism([(-1.01, 0.22), (1.02, 0.22), (1.05, 0.52), (-1.03, 0.52)], 0.456, 0.02)
    panes = [box((0.45, 0.8, z), (0.02, 0.15, 0.24), 0.01) for z in (-0.62, -0.05, 0.48)]
    front = move(turn(box((0, 0, 0), (0.38, 0.2, 0.02), 0.01), "x", -23), (0, 0.8, 0.925))
    parts = [*shell, Part(low, c), Part(join(pair(join(*panes)), front, box((0, 0.8, -1.02), (0.3, 0.14, 0.02), 0.01)), WINDOW)]
    parts += [*lights(0.32, 0.42, 1.04, -1.03), *wheels(0.41, 0.21, 0.09, (-0.62, 0.62)), Part(box((0, 0.26, 1.04), (0.42, 0.05, 0.04), 0.02), METAL)]
    return named("van", word, f"with {with_article(other)} bottom" if two else "", ("minivan", "camper van")), assemble(parts)


def tractor(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "red", "blue", "orange", "yellow"))
    hood = box((0, 0.72, 0.5), (0.24, 0.22, 0.55), 0.06)
    fenders = pair(torus((0.48, 0.5, -0.45), 0.58, (0.05, 0.16), "x", (0, 150)))
    cab = [box((s * 0.3, 1.15, z), (0.03, 0.42, 0.03), 0.01) for s in (-1, 1) for z in (-0.1, -0.7)]
    parts = [Part(join(hood, box((0, 0.55, -0.4), (0.3, 0.25, 0.35), 0.05), box((0, 1.58, -0.4), (0.38, 0.05, 0.42), 0.03), fenders), rgb)]
    parts += [Part(join(*cab, sweep([(0.12, 0.9, 0.7), (0.12, 1.35, 0.7)], 0.04, 8)), DARK), Part(box((0, 1.15, -0.4), (0.27, 0.36, 0.27), 0.02), GLASS)]
    hub = COLOURS["yellow"] if word != "yellow" else RED
    parts += wheels(0.5, 0.52, 0.15, (-0.45,), hub) + wheels(0.34, 0.28, 0.1, (0.75,), hub)
    parts += [Part(box((0, 0.72, 1.05), (0.18, 0.15, 0.02), 0.01), DARK), Part(pair(ball((0.2, 0.85, 1.04), 0.06, n=10)), LAMP)]
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
    parts.append(Part(join(pair(box((0.42, 0.95, -0.6), (0.02, 0.15, 0.17), 0.01)), box((0, 1.08, -0.27), (0.3, 0.1, 0.02), 0.01)), WINDOW))
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
    parts = [Part(hull, rgb), Part(join(turret, gun, cylinder((0, 0.98, 1.42), 0.1, 0.09, "z")), shade(rgb, -0.08)), Part(treads, TYRE), Part(rollers, shade(rgb, -0.25))]
    parts += [Part(cylinder((0.1, 1.14, -0.2), 0.14, 0.04), shade(rgb, -0.3)), *lights(0.4, 0.62, 0.95, -0.97, 0.05)]
    return named("tank", word, "", ("army tank",)), assemble(parts)


def motorcycle(rng: Rng) -> Made:
    word, rgb = pick(rng)
    tyres = join(*(torus((0, 0.33, z), 0.26, (0.08, 0.07), "x") for z in (-0.72, 0.75)))
    rims = join(*(cylinder((0, 0.33, z), 0.16, 0.04, "x") for z in (-0.72, 0.75)))
    frame = join(pair(sweep([(0.08, 0.33, 0.75), (0.08, 1.0, 0.45)], 0.035, 8)), pair(sweep([(0.09, 0.33, -0.72), (0.09, 0.5, -0.1)], 0.04, 8)), sweep([(0.42, 1.08, 0.25), (0, 1.02, 0.45), (-0.42, 1.08, 0.25)], 0.035, 8))
    tank_shape = ball((0, 0.82, 0.18), (0.17, 0.16, 0.32))
    guard = join(torus((0, 0.33, 0.75), 0.38, (0.02, 0.09), "x", (40, 150)), torus((0, 0.33, -0.72), 0.38, (0.02, 0.09), "x", (50, 170)))
    parts = [Part(tyres, TYRE), Part(join(rims, frame), METAL), Part(join(tank_shape, guard, ball((0, 0.66, -0.55), (0.12, 0.1, 0.22))), rgb)]
    parts += [Part(box((0, 0.48, 0.05), (0.15, 0.2, 0.25), 0.06), DARK), Part(ball((0, 0.8, -0.32), (0.16, 0.08, 0.34)), BLACK), Part(ball((0, 0.9, 0.56), (0.11, 0.11, 0.08), n=12), LAMP)]
    parts.append(Part(sweep([(0.16, 0.3, 0.1), (0.17, 0.28, -0.9)], 0.05, 8), METAL))
    return named("motorcycle", word, "", ("motorbike",)), assemble(parts)


def bicycle(rng: Rng) -> Made:
    word, rgb = pick(rng, but=("black", "gray"))
    tyres = join(*(torus((0, 0.42, z), 0.4, 0.05, "x") for z in (-0.62, 0.62)))
    spokes = join(*(turn(sweep([(0, 0.05, z), (0, 0.8, z)], 0.012, 5), "x", k * 45, (0, 0.42, z)) for z in (-0.62, 0.62) for k in range(4)))
    head, crank, seat = (0, 0.92, 0.45), (0, 0.4, 0.0), (0, 0.92, -0.22)
    tubes = [(head, crank), (head, seat), (seat, crank), (crank, (0, 0.42, -0.62)), (seat, (0, 0.42, -0.62)), ((0, 1.1, 0.4), (0, 0.42, 0.62))]
    bars = sweep([(0.3, 1.12, 0.3), (0.12, 1.12, 0.42), (-0.12, 1.12, 0.42), (-0.3, 1.12, 0.3)], 0.035, 8)
    parts = [Part(tyres, TYRE), Part(join(*(sweep(t, 0.042, 8) for t in tubes)), rgb), Part(join(spokes, bars, cylinder(crank, 0.12, 0.03, "x")), METAL)]
    parts.append(Part(join(ball((0, 1.04, -0.27), (0.1, 0.05, 0.18), n=12), sweep([seat, (0, 1.02, -0.25)], 0.03, 8), pair(box((0.1, 0.32, 0.05), (0.05, 0.02, 0.05), 0.01))), BLACK))
    return named("bicycle", word, "", ("bike",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "car": car, "race car": race_car, "taxi": taxi, "police car": police_car, "truck": truck, "fire truck": fire_truck, "bus": bus,
    "van": van, "tractor": tractor, "train": train, "tank": tank, "motorcycle": motorcycle, "bicycle": bicycle,
}  # fmt: skip
FRONTED = frozenset(GENERATORS) - {"bicycle"}
