"""What flies: airplane, helicopter, rocket, ufo, hot air balloon."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    BROWN,
    COLOURS,
    DARK,
    GLASS,
    METAL,
    WHITE,
    WINDOW,
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
    wheels,
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
    ring,
    side_prism,
    sweep,
    torus,
    turn,
)


def wing(root: float, tip: float, span: float, back: float, thick: float = 0.035) -> Array:
    """A swept wing towards +X: chords along z, the leading edge at the root at z = 0."""
    flat = prism([(0, 0), (span, -back), (span, -back - tip), (0, -root)], thick, 0.05)
    return turn(flat, "x", 90)


def airplane(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", *BRIGHT, "gray"))
    other, c = pick(rng, BRIGHT, but=(word,))
    if chance(rng, 0.4):
        return _propeller_plane(rng)
    r = 0.17
    hull = sweep([(0, 0, 1.15), (0, 0.0, 0.9), (0, 0, -0.5), (0, 0.06, -1.15)], [0.06, r, r, 0.05], 20, 7)
    fin = side_prism([(-0.75, 0.1), (-1.15, 0.1), (-1.25, 0.6), (-1.05, 0.6)], 0.03)
    parts = [
        Part(hull, rgb),
        Part(pair(move(wing(0.5, 0.2, 1.1, 0.5), (0.1, -0.06, 0.3))), rgb if word != "white" else shade(WHITE, -0.14)),
        Part(join(fin, pair(move(wing(0.3, 0.14, 0.42, 0.2), (0.04, 0.1, -0.85)))), c),
        Part(
            pair(
                join(
                    *(
                        sweep([(x, -0.15, 0.2 - 0.45 * x), (x, -0.15, -0.1 - 0.45 * x)], 0.085, 12)
                        for x in ((0.42,) if chance(rng, 0.5) else (0.36, 0.7))
                    )
                )
            ),
            c,
        ),
        Part(
            pair(join(*(ball((r * 0.95, 0.05, z), (0.03, 0.035, 0.04), n=8) for z in np.linspace(-0.55, 0.7, 8)))),
            WINDOW,
        ),
        Part(move(turn(box((0, 0, 0), (0.11, 0.035, 0.03), 0.015), "x", 25), (0, 0.09, 0.99)), BLACK),
    ]
    return named("airplane", word, f"with {with_article(other)} tail", ("plane", "jet airplane")), assemble(parts)


def _propeller_plane(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    other, c = pick(rng, but=(word,))
    hull = sweep([(0, 0, 0.9), (0, 0, 0.4), (0, 0.05, -1.0)], [(0.2, 0.2), (0.22, 0.23), (0.06, 0.08)], 18, 7)
    biplane = chance(rng, 0.4)
    wing = ball((0, 0, 0.35), (1.1, 0.04, 0.22), (0.4, 0.7))
    wings = join(move(wing, (0, 0.38, 0)), move(wing, (0, -0.12, 0))) if biplane else move(wing, (0, 0.02, 0))
    tail = join(
        ball((0, 0.07, -0.95), (0.42, 0.03, 0.14), (0.5, 0.7)),
        side_prism([(-0.78, 0.1), (-1.08, 0.08), (-1.1, 0.42), (-0.98, 0.42)], 0.03),
    )
    blade = join(
        *(turn(ball((0, 0.24, 0), (0.06, 0.26, 0.02), n=10), "z", between(rng, 0, 60) + 120 * k) for k in range(3))
    )
    parts = [
        Part(hull, rgb),
        Part(join(wings, tail), c),
        Part(move(blade, (0, 0, 1.12)), DARK),
        Part(ball((0, 0, 1.1), (0.08, 0.08, 0.12)), c),
    ]
    parts += [Part(ball((0, 0.24, 0.12), (0.13, 0.13, 0.22)), GLASS), *wheels(0.28, 0.12, 0.05, (0.45,), y=-0.38)]
    posts = [sweep([(0.25, -0.36, 0.45), (0.1, -0.1, 0.45)], 0.03, 6)] + (
        [sweep([(0.75, -0.12, 0.35), (0.75, 0.38, 0.35)], 0.022, 6)] if biplane else []
    )
    parts.append(Part(pair(join(*posts)), METAL))
    return named("airplane", word, f"with {other} wings", ("biplane",) if biplane else ("propeller plane",)), assemble(
        parts
    )


def helicopter(rng: Rng) -> Made:
    word, rgb = pick(rng)
    cabin = ball((0, 0, 0.3), (0.38, 0.4, 0.58), 0.85)
    parts = paint(cabin, rgb, (lambda x, y, z: (z > 0.48) & (y > -0.05), WINDOW))
    boom = sweep([(0, 0.08, -0.1), (0, 0.16, -1.2)], [0.2, 0.07], 12)
    fin = side_prism([(-1.05, 0.1), (-1.3, 0.45), (-1.42, 0.45), (-1.25, 0.02)], 0.03)
    start = between(rng, 10, 80)
    n = int(rng.integers(2, 5))
    blades = join(*(turn(box((0.55, 0, 0), (0.55, 0.018, 0.065), 0.01), "y", start + 360 * k / n) for k in range(n)))
    small = join(*(turn(box((0, 0.13, 0), (0.015, 0.14, 0.03), 0.005), "x", 30 + 90 * k) for k in range(4)))
    skids = pair(
        join(
            sweep([(0.3, -0.58, 0.8), (0.3, -0.58, -0.35)], 0.035, 8),
            *(sweep([(0.2, -0.3, z), (0.3, -0.58, z)], 0.028, 6) for z in (0.05, 0.5)),
        )
    )
    parts += [
        Part(join(boom, fin, box((0, 0.42, 0.2), (0.15, 0.08, 0.26), 0.05)), rgb),
        Part(pair(box((0.37, 0.05, 0.15), (0.02, 0.14, 0.15), 0.01)), WINDOW),
    ]
    parts += [
        Part(
            join(move(blades, (0, 0.66, 0.22)), move(small, (0.07, 0.38, -1.32)), cylinder((0, 0.56, 0.22), 0.05, 0.1)),
            DARK,
        ),
        Part(skids, METAL),
    ]
    return named("helicopter", word, "", ("chopper",)), assemble(parts)


def rocket(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    n, fat = int(rng.integers(3, 5)), between(rng, 0.85, 1.15)
    body = lathe([(0, -0.9), (0.3, -0.9), (0.4, -0.5), (0.43, 0.0), (0.38, 0.5), (0.28, 0.85)], 28, True)
    nose = lathe([(0.285, 0.83), (0.17, 1.12), (0.05, 1.32), (0, 1.35)], 28, True)
    fin = prism([(0.3, -0.3), (0.75, -0.75), (0.8, -1.2), (0.3, -0.85)], 0.05, 0.05)
    y = between(rng, 0.15, 0.4)
    parts = [
        Part(body, rgb),
        Part(join(nose, ring(fin, n, -90)), c),
        Part(lathe([(0.2, -0.88), (0.32, -1.08), (0.24, -1.08), (0.1, -0.9)]), DARK),
    ]
    parts += [Part(torus((0, y, 0.4), 0.16, 0.045, "z"), METAL), Part(ball((0, y, 0.385), (0.155, 0.155, 0.06)), GLASS)]
    extra = f"with {other} fins"
    if chance(rng, 0.3):
        flame = lathe([(0, -1.05), (0.24, -1.1), (0.2, -1.35), (0, -1.75)], 16, True)
        parts += [Part(flame, COLOURS["orange"]), Part(flame * [0.5, 0.75, 0.5] + [0, -0.32, 0], COLOURS["yellow"])]
        extra += " and a flame"
    return named("rocket", word, extra, ("toy rocket", "space rocket")), assemble(
        [Part(p.shape * [fat, 1, fat], p.rgb) for p in parts]
    )


def ufo(rng: Rng) -> Made:
    word, rgb = pick(rng, ("gray", "gray", "gray", "green", "blue", "purple", "red", "orange"))
    rgb = jitter(rng, METAL) if word == "gray" else rgb
    other, c = pick(rng, ("green", "blue", "yellow", "pink", "red"), but=(word,))
    h = between(rng, 0.85, 1.2)
    saucer = lathe([(0, -0.28), (0.4, -0.24), (0.85, -0.06), (1.0, 0.0), (0.85, 0.09), (0.45, 0.24), (0, 0.26)], 40)
    dome = ball((0, 0.2, 0), (0.44, 0.42 * h, 0.44))
    bulbs = ring(ball((0, 0.05, 0.9), 0.085, n=12), int(rng.integers(7, 11)))
    parts = [Part(saucer, rgb), Part(torus((0, 0.24, 0), 0.45, 0.045), DARK), Part(bulbs, c)]
    if chance(rng, 0.5):
        alien = join(ball((0, 0.44, 0.1), (0.2, 0.24, 0.18)), ball((0, 0.2, 0.1), (0.16, 0.2, 0.14)))
        parts += [
            Part(alien, (0.45, 0.85, 0.3)),
            Part(pair(turn(ball((0.09, 0.47, 0.26), (0.055, 0.085, 0.05), n=10), "z", -18, (0.09, 0.47, 0.26))), BLACK),
        ]
        extra = "with a green alien"
    else:
        parts.append(Part(dome, GLASS))
        extra = f"with {other} lights"
    legs = ring(sweep([(0, -0.2, 0.4), (0, -0.55, 0.62)], 0.04, 8), 3) if chance(rng, 0.4) else None
    if legs is not None:
        parts.append(Part(legs, DARK))
    return named("ufo", word, extra, ("flying saucer", "alien spaceship")), assemble(parts)


def hot_air_balloon(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    other, c = pick(rng, (*BRIGHT, "white"), but=(word,))
    n = 16
    skin = lathe([(0.16, -0.95), (0.42, -0.6), (0.82, 0.0), (0.85, 0.45), (0.5, 0.85), (0, 0.97)], 64, True)
    if chance(rng, 0.6):
        rules = [(lambda x, y, z: np.floor(np.arctan2(x, z) * n / (2 * np.pi)) % 2 == 0, c)]
    else:
        rules = [(lambda x, y, z: np.mod(y * 2.2, 1) < 0.45, c)]
    basket = box((0, -1.38, 0), (0.2, 0.15, 0.2), 0.03, taper=1.15)
    ropes = join(
        *(sweep([(s * 0.2, -1.25, t * 0.2), (s * 0.13, -0.9, t * 0.13)], 0.018, 6) for s in (-1, 1) for t in (-1, 1))
    )
    return named(
        "hot air balloon", f"{word} and {other}", "with a basket", (f"{word} hot air balloon", "balloon")
    ), assemble([*paint(skin, rgb, *rules), Part(join(basket, ropes), BROWN)])


GENERATORS: dict[str, Generator] = {
    "airplane": airplane,
    "helicopter": helicopter,
    "rocket": rocket,
    "ufo": ufo,
    "hot air balloon": hot_air_balloon,
}
FRONTED = frozenset({"airplane", "helicopter"})
