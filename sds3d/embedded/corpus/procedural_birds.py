"""Birds: duck, penguin, owl, chicken, parrot, flamingo."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    BROWN,
    COLOURS,
    GRAY,
    RED,
    WHITE,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    eyes,
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
    join,
    lathe,
    pair,
    sweep,
    torus,
    turn,
)

BEAK: Rgb = (0.97, 0.62, 0.10)


def _feet(x: float, y: float, z: float, r: float = 0.12) -> Array:
    """A pair of webbed feet."""
    return pair(
        join(
            ball((x, y, z + 0.6 * r), (r, 0.35 * r, 1.25 * r), n=12),
            sweep([(x, y, z), (x, y + 2.2 * r, z)], 0.35 * r, 8),
        )
    )


def duck(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow", "yellow", "yellow", "white", "white", "brown", "pink", "blue"))
    body = ball((0, 0, 0), (0.46, 0.4, 0.66), n=24)
    tail = sweep([(0, 0.1, -0.45), (0, 0.38, -0.8)], [0.24, 0.05], 12)
    neck = sweep([(0, 0.1, 0.36), (0, 0.42, 0.42), (0, 0.6, 0.44)], [0.27, 0.2, 0.22], 16)
    head = ball((0, 0.66, 0.46), (0.3, 0.29, 0.3))
    wings = pair(turn(ball((0.44, 0.06, -0.08), (0.09, 0.24, 0.42), n=16), "x", 14))
    bill = join(ball((0, 0.6, 0.8), (0.17, 0.055, 0.18), n=14), ball((0, 0.55, 0.77), (0.14, 0.05, 0.15), n=12))
    parts = [
        Part(join(body, tail, neck, head), rgb),
        Part(wings, shade(rgb, -0.12)),
        Part(bill, BEAK),
        *eyes((0.15, 0.76, 0.69), 0.06),
    ]
    mallard = word == "brown" and chance(rng, 0.8)
    if mallard:
        parts[0] = Part(join(body, tail), rgb)
        parts += [Part(join(neck, head), (0.08, 0.40, 0.24)), Part(torus((0, 0.34, 0.41), 0.2, 0.04), WHITE)]
    if chance(rng, 0.4):
        parts.append(Part(_feet(0.18, -0.5, 0.05), BEAK))
    also = ("mallard",) if mallard else ("rubber duck",) if word == "yellow" else ("duckling",)
    return named("duck", word, "", also), assemble(parts)


def penguin(rng: Rng) -> Made:
    word, rgb = pick(rng, ("black", "black", "black", "black", "blue", "gray"))
    rgb = shade(COLOURS["blue"], -0.35) if word == "blue" else rgb
    fat = between(rng, 0.9, 1.15)
    body = ball((0, -0.15, 0), (0.48 * fat, 0.72, 0.44 * fat), n=34)
    head = ball((0, 0.58, 0.02), (0.34, 0.32, 0.32), n=30)
    belly = (lambda x, y, z: (z > 0.12) & ((x / 0.36) ** 2 + ((y + 0.2) / 0.6) ** 2 < 1), WHITE)
    cheeks = (lambda x, y, z: (z > 0.06) & (((np.abs(x) - 0.13) / 0.15) ** 2 + ((y - 0.56) / 0.2) ** 2 < 1), WHITE)
    flippers = pair(
        turn(ball((0.5 * fat, -0.08, 0), (0.08, 0.42, 0.17), n=16), "z", between(rng, 8, 35), (0.45, 0.25, 0))
    )
    parts = [*paint(body, rgb, belly), *paint(head, rgb, cheeks), Part(flippers, rgb)]
    parts += [
        Part(sweep([(0, 0.53, 0.28), (0, 0.5, 0.52)], [(0.1, 0.07), (0.01, 0.01)], 12, caps="flat"), BEAK),
        Part(_feet(0.2, -0.87, 0.08, 0.14), BEAK),
        *eyes((0.13, 0.63, 0.29), 0.055),
    ]
    extra = ""
    if chance(rng, 0.35):
        scarf, c = pick(rng, BRIGHT, but=(word,))
        parts.append(
            Part(join(torus((0, 0.33, 0.01), 0.33, (0.08, 0.07)), box((0.16, 0.1, 0.42), (0.06, 0.2, 0.03), 0.02)), c)
        )
        extra = f"wearing {with_article(scarf)} scarf"
    return named("penguin", f"{word} and white", extra, ("little penguin",)), assemble(parts)


def owl(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", "brown", "gray", "white", "purple", "blue"))
    rgb = jitter(rng, (0.52, 0.33, 0.18)) if word == "brown" else rgb
    light = shade(rgb, 0.55) if word != "white" else (0.85, 0.8, 0.72)
    body = lathe([(0, -0.8), (0.35, -0.78), (0.56, -0.3), (0.56, 0.2), (0.5, 0.55), (0.3, 0.78), (0, 0.84)], 40, True)
    chest = (lambda x, y, z: (z > 0.1) & ((x / 0.36) ** 2 + ((y + 0.3) / 0.45) ** 2 < 1), light)
    spots = join(
        *(
            ball((x, y, 0.54 - 0.5 * x * x - 0.08 * abs(y + 0.2)), (0.045, 0.055, 0.03), n=8)
            for y in (-0.55, -0.38, -0.2, -0.03)
            for x in ((-0.18, 0, 0.18) if y in (-0.38, -0.03) else (-0.09, 0.09))
        )
    )
    tufts = pair(sweep([(0.3, 0.6, 0.05), (0.46, 1.02, 0.05)], [0.17, 0.01], 12))
    wings = pair(turn(ball((0.55, -0.15, -0.03), (0.1, 0.5, 0.32), n=18), "z", 6))
    parts = [*paint(body, rgb, chest), Part(spots, rgb), Part(tufts, rgb), Part(wings, shade(rgb, -0.22))]
    parts += [
        Part(pair(ball((0.22, 0.36, 0.36), (0.24, 0.24, 0.13), n=18)), light),
        Part(pair(ball((0.21, 0.36, 0.46), (0.16, 0.16, 0.07), n=16)), (0.98, 0.80, 0.15)),
    ]
    parts += [
        Part(pair(ball((0.2, 0.36, 0.52), (0.085, 0.085, 0.04), n=12)), BLACK),
        Part(sweep([(0, 0.28, 0.5), (0, 0.12, 0.56)], [0.075, 0.01], 10), BEAK),
    ]
    parts.append(
        Part(pair(join(*(ball((0.2 + d, -0.83, 0.2), (0.05, 0.06, 0.13), n=8) for d in (-0.09, 0, 0.09)))), BEAK)
    )
    if chance(rng, 0.35):
        parts.append(Part(sweep([(-0.9, -0.92, 0.16), (0.9, -0.9, 0.16)], 0.09, 10), (0.4, 0.27, 0.15)))
        return named("owl", word, "on a branch"), assemble(parts)
    return named("owl", word, "with big yellow eyes"), assemble(parts)


def chicken(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "brown", "brown", "orange", "black"))
    body = sweep([(0, 0.12, -0.45), (0, -0.08, -0.1), (0, 0.0, 0.25), (0, 0.4, 0.42)], [0.2, 0.42, 0.4, 0.2], 20, 7)
    tail = join(
        *(turn(ball((0, 0.35, -0.62), (0.08, 0.34, 0.16), n=12), "x", -t, (0, 0.1, -0.45)) for t in (-5, 20, 45))
    )
    head = ball((0, 0.62, 0.46), 0.22)
    comb = join(*(ball((0, 0.84 - 0.03 * abs(k), 0.46 + 0.11 * k), (0.055, 0.12, 0.075), n=10) for k in (-1, 0, 1)))
    parts = [
        Part(join(body, head), rgb),
        Part(tail, shade(rgb, -0.25) if word != "white" else shade(WHITE, -0.15)),
        Part(join(comb, ball((0, 0.42, 0.66), (0.07, 0.12, 0.06), n=10)), RED),
    ]
    parts += [
        Part(sweep([(0, 0.6, 0.62), (0, 0.56, 0.84)], [0.085, 0.01], 10), BEAK),
        Part(_feet(0.16, -0.75, 0.05, 0.13), BEAK),
        *eyes((0.13, 0.68, 0.61), 0.05),
    ]
    parts.append(Part(pair(turn(ball((0.38, 0.0, -0.05), (0.09, 0.24, 0.34), n=14), "x", 10)), shade(rgb, -0.12)))
    return named("chicken", word, "with a red comb", ("hen",)), assemble(parts)


def parrot(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "green", "blue", "yellow"))
    other, c = pick(rng, ("yellow", "blue", "green", "red"), but=(word,))
    body = sweep([(0, -0.55, -0.12), (0, -0.1, 0.02), (0, 0.35, 0.0)], [0.16, 0.32, 0.24], 18, 7)
    tail = sweep([(0, -0.5, -0.14), (0, -1.25, -0.4)], [(0.14, 0.06), (0.05, 0.03)], 10)
    head = ball((0, 0.55, 0.05), (0.28, 0.29, 0.3))
    wings = pair(turn(ball((0.3, -0.15, -0.08), (0.09, 0.45, 0.22), n=16), "x", 14))
    beak = sweep([(0, 0.56, 0.28), (0, 0.55, 0.46), (0, 0.36, 0.5)], [0.12, 0.1, 0.01], 12)
    parts = [
        Part(join(body, head, tail), rgb),
        Part(join(wings, tail * [0.7, 1.02, 1.0] + [0, 0, 0.03]), c),
        Part(beak, (0.16, 0.15, 0.15) if word != "green" else BEAK),
    ]
    parts += [
        Part(pair(ball((0.19, 0.62, 0.2), (0.1, 0.11, 0.08), n=12)), WHITE),
        Part(pair(ball((0.25, 0.63, 0.26), 0.045, n=10)), BLACK),
    ]
    parts += [
        Part(pair(ball((0.13, -0.55, 0.08), (0.07, 0.06, 0.1), n=10)), GRAY),
        Part(sweep([(-0.7, -0.65, 0.05), (0.7, -0.65, 0.05)], 0.06, 10), BROWN),
    ]
    return named("parrot", word, f"with {other} wings", ("tropical bird",)), assemble(parts)


def flamingo(rng: Rng) -> Made:
    rgb = jitter(rng, (0.97, 0.56, 0.64))
    body = sweep([(0, 0.1, -0.5), (0, 0.02, -0.1), (0, 0.1, 0.25)], [0.08, 0.26, 0.17], 18, 7)
    neck = sweep(
        [(0, 0.1, 0.25), (0, 0.4, 0.5), (0, 0.75, 0.3), (0, 1.05, 0.28), (0, 1.12, 0.48)],
        [0.13, 0.085, 0.075, 0.075, 0.1],
        12,
        7,
    )
    beak = sweep([(0, 1.12, 0.55), (0, 1.06, 0.72), (0, 0.92, 0.76)], [0.08, 0.07, 0.015], 10)
    legs = pair(sweep([(0.09, -0.1, 0), (0.09, -0.55, -0.03), (0.09, -1.05, 0.02)], 0.035, 8))
    parts = [
        Part(join(body, neck), rgb),
        Part(pair(turn(ball((0.22, 0.06, -0.12), (0.08, 0.17, 0.36), n=14), "x", -6)), shade(rgb, -0.15)),
    ]
    parts += [
        *paint(beak, WHITE, (lambda x, y, z: y < 1.02, BLACK)),
        Part(legs, shade(rgb, -0.1)),
        Part(pair(ball((0.09, -1.06, 0.08), (0.07, 0.03, 0.13), n=10)), shade(rgb, -0.2)),
        *eyes((0.085, 1.16, 0.5), 0.03),
    ]
    return named("flamingo", "pink", "with long legs"), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "duck": duck,
    "penguin": penguin,
    "owl": owl,
    "chicken": chicken,
    "parrot": parrot,
    "flamingo": flamingo,
}
FRONTED = frozenset(GENERATORS)
