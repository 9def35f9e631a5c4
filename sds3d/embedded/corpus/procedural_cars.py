"""Cars and two wheels: car, taxi, police car, race car, van, motorcycle, bicycle."""

from __future__ import annotations

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    COLOURS,
    DARK,
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
    wheels,
)
from sds3d.embedded.corpus.shapes import (
    ball,
    box,
    cylinder,
    join,
    move,
    pair,
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
    hood, top, rear = between(rng, 0.3, 0.5), between(rng, 0.92, 1.06), between(rng, -0.95, -0.6)
    w = between(rng, 0.42, 0.5)
    low = [(-1, 0.2), (1, 0.2), (1.04, 0.36), (0.98, 0.47), (hood, 0.56), (rear, 0.57), (-0.98, 0.54), (-1.04, 0.42)]
    a, b = hood - 0.28, rear + 0.22
    cabin = [(hood + 0.02, 0.5), (a, top - 0.06), (b, top - 0.06), (rear, 0.5)]
    post = (a + b) / 2
    posts = [
        side_prism(
            [(post - 0.05, 0.5), (post + 0.05, 0.5), (post + 0.04, top - 0.04), (post - 0.04, top - 0.04)], w * 0.93
        )
    ]
    parts = [
        Part(join(side_prism(low, w, 0.05), *posts), rgb),
        Part(side_prism(cabin, w * 0.94, 0.06), (0.62, 0.76, 0.86) if max(rgb) < 0.3 else (0.17, 0.24, 0.32)),
        Part(
            side_prism(
                [(a + 0.05, top - 0.08), (a - 0.04, top), (b + 0.04, top), (b - 0.05, top - 0.08)], w * 0.9, 0.06
            ),
            roof,
        ),
        Part(
            join(
                box((0, 0.24, 1.02), (w * 0.95, 0.06, 0.06), 0.03), box((0, 0.24, -1.02), (w * 0.95, 0.06, 0.06), 0.03)
            ),
            GRAY,
        ),
        Part(box((0, 0.38, 1.03), (0.5 * w, 0.06, 0.02), 0.01), DARK),
    ]
    r = between(rng, 0.24, 0.29)
    return parts + wheels(w, r, 0.1, (-0.62, 0.62), (0.82, 0.83, 0.85)) + lights(0.72 * w, 0.41, 1.02, -1.03)


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
    parts += [
        Part(box((0.14, 0.98, -0.1), (0.13, 0.07, 0.08), 0.03), (0.1, 0.25, 0.95)),
        Part(box((-0.14, 0.98, -0.1), (0.13, 0.07, 0.08), 0.03), RED),
    ]
    return named("police car", f"{side} and white", "with red and blue lights"), assemble(parts)


def race_car(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    body = [(-0.95, 0.16), (1.15, 0.16), (1.2, 0.24), (0.3, 0.42), (-0.1, 0.4), (-0.95, 0.42)]
    tub = side_prism(body, 0.2, 0.1)
    pods = pair(box((0.3, 0.26, -0.25), (0.14, 0.13, 0.42), 0.08))
    scoop = side_prism([(-0.3, 0.4), (-0.35, 0.68), (-0.5, 0.68), (-0.9, 0.42)], 0.1, 0.1)
    wings = join(
        box((0, 0.16, 1.14), (0.55, 0.025, 0.15), 0.01),
        box((0, 0.76, -1.0), (0.5, 0.03, 0.15), 0.01),
        pair(box((0.5, 0.66, -1.0), (0.02, 0.16, 0.18), 0.01)),
    )
    struts = pair(box((0.15, 0.55, -0.98), (0.02, 0.22, 0.05), 0.01))
    helmet = ball((0, 0.5, -0.08), 0.13, n=14)
    disc = cylinder((0, 0.36, 0.62), 0.13, 0.02)
    parts = [
        Part(join(tub, pods, scoop), rgb),
        Part(wings, c),
        Part(struts, DARK),
        Part(helmet, WHITE),
        Part(turn(disc, "x", 15, (0, 0.36, 0.62)), WHITE),
    ]
    parts.append(Part(box((0, 0.5, 0.04), (0.1, 0.04, 0.03), 0.01), BLACK))
    parts += wheels(0.5, 0.25, 0.13, (-0.72,), GOLD) + wheels(0.5, 0.22, 0.1, (0.72,), GOLD)
    return named("race car", word, f"with {other} wings", ("racing car", "formula one car")), assemble(parts)


def van(rng: Rng) -> Made:
    word, rgb = pick(rng)
    two = chance(rng, 0.5)
    other, c = pick(rng, ("white", "orange", "blue", "black"), but=(word,)) if two else (word, rgb)
    outline = [(-1.0, 0.2), (1.0, 0.2), (1.04, 0.5), (0.8, 1.05), (0.7, 1.1), (-0.95, 1.12), (-1.03, 1.0)]
    shell = Part(side_prism(outline, 0.45, 0.05), rgb)
    low = side_prism([(-1.01, 0.22), (1.02, 0.22), (1.05, 0.52), (-1.03, 0.52)], 0.456, 0.02)
    panes = [box((0.45, 0.8, z), (0.02, 0.15, 0.24), 0.01) for z in (-0.62, -0.05, 0.48)]
    front = move(turn(box((0, 0, 0), (0.38, 0.2, 0.02), 0.01), "x", -23), (0, 0.8, 0.925))
    parts = [
        shell,
        Part(low, c),
        Part(join(pair(join(*panes)), front, box((0, 0.8, -1.02), (0.3, 0.14, 0.02), 0.01)), WINDOW),
    ]
    parts += [
        *lights(0.32, 0.42, 1.04, -1.03),
        *wheels(0.41, 0.21, 0.09, (-0.62, 0.62)),
        Part(box((0, 0.26, 1.04), (0.42, 0.05, 0.04), 0.02), METAL),
    ]
    return named("van", word, f"with {with_article(other)} bottom" if two else "", ("minivan", "camper van")), assemble(
        parts
    )


def motorcycle(rng: Rng) -> Made:
    word, rgb = pick(rng)
    tyres = join(*(torus((0, 0.33, z), 0.26, (0.08, 0.07), "x") for z in (-0.72, 0.75)))
    rims = join(*(cylinder((0, 0.33, z), 0.16, 0.04, "x") for z in (-0.72, 0.75)))
    frame = join(
        pair(sweep([(0.08, 0.33, 0.75), (0.08, 1.0, 0.45)], 0.035, 8)),
        pair(sweep([(0.09, 0.33, -0.72), (0.09, 0.5, -0.1)], 0.04, 8)),
        sweep([(0.42, 1.08, 0.25), (0, 1.02, 0.45), (-0.42, 1.08, 0.25)], 0.035, 8),
    )
    tank_shape = ball((0, 0.82, 0.18), (0.17, 0.16, 0.32))
    guard = join(
        torus((0, 0.33, 0.75), 0.38, (0.02, 0.09), "x", (40, 150)),
        torus((0, 0.33, -0.72), 0.38, (0.02, 0.09), "x", (50, 170)),
    )
    parts = [
        Part(tyres, TYRE),
        Part(join(rims, frame), METAL),
        Part(join(tank_shape, guard, ball((0, 0.66, -0.55), (0.12, 0.1, 0.22))), rgb),
    ]
    parts += [
        Part(box((0, 0.48, 0.05), (0.15, 0.2, 0.25), 0.06), DARK),
        Part(ball((0, 0.8, -0.32), (0.16, 0.08, 0.34)), BLACK),
        Part(ball((0, 0.9, 0.56), (0.11, 0.11, 0.08), n=12), LAMP),
    ]
    parts.append(Part(sweep([(0.16, 0.3, 0.1), (0.17, 0.28, -0.9)], 0.05, 8), METAL))
    return named("motorcycle", word, "", ("motorbike",)), assemble(parts)


def bicycle(rng: Rng) -> Made:
    word, rgb = pick(rng, but=("black", "gray"))
    tyres = join(*(torus((0, 0.42, z), 0.4, 0.05, "x") for z in (-0.62, 0.62)))
    spokes = join(
        *(
            turn(sweep([(0, 0.05, z), (0, 0.8, z)], 0.012, 5), "x", k * 45, (0, 0.42, z))
            for z in (-0.62, 0.62)
            for k in range(4)
        )
    )
    head, crank, seat = (0, 0.92, 0.45), (0, 0.4, 0.0), (0, 0.92, -0.22)
    tubes = [
        (head, crank),
        (head, seat),
        (seat, crank),
        (crank, (0, 0.42, -0.62)),
        (seat, (0, 0.42, -0.62)),
        ((0, 1.1, 0.4), (0, 0.42, 0.62)),
    ]
    bars = sweep([(0.3, 1.12, 0.3), (0.12, 1.12, 0.42), (-0.12, 1.12, 0.42), (-0.3, 1.12, 0.3)], 0.035, 8)
    parts = [
        Part(tyres, TYRE),
        Part(join(*(sweep(t, 0.042, 8) for t in tubes)), rgb),
        Part(join(spokes, bars, cylinder(crank, 0.12, 0.03, "x")), METAL),
    ]
    parts.append(
        Part(
            join(
                ball((0, 1.04, -0.27), (0.1, 0.05, 0.18), n=12),
                sweep([seat, (0, 1.02, -0.25)], 0.03, 8),
                pair(box((0.1, 0.32, 0.05), (0.05, 0.02, 0.05), 0.01)),
            ),
            BLACK,
        )
    )
    return named("bicycle", word, "", ("bike",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "car": car,
    "race car": race_car,
    "taxi": taxi,
    "police car": police_car,
    "van": van,
    "motorcycle": motorcycle,
    "bicycle": bicycle,
}
FRONTED = frozenset(GENERATORS)
