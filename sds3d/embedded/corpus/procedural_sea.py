"""Animals of sea and pond: frog, turtle, whale, fish, shark, dolphin, octopus, crab."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    GOLD,
    WHITE,
    Generator,
    Made,
    Mask,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
    eyes,
    jitter,
    named,
    natural,
    paint,
    pick,
    shade,
)
from sds3d.embedded.corpus.shapes import (
    Array,
    ball,
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


def frog(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("green",), 0.15)
    rgb = jitter(rng, (0.33, 0.68, 0.20)) if word == "green" else rgb
    body = sweep([(0, -0.2, -0.45), (0, 0.0, 0.0), (0, 0.18, 0.35)], [(0.3, 0.22), (0.46, 0.34), (0.44, 0.27)], 26, 7)
    belly = (lambda x, y, z: (y < -0.12 + 0.35 * z) & (z > -0.2), shade(rgb, 0.6))
    bumps = pair(ball((0.27, 0.44, 0.32), 0.17))
    hind = pair(join(ball((0.5, -0.18, -0.3), (0.19, 0.22, 0.36)), ball((0.62, -0.38, 0.05), (0.16, 0.05, 0.24), n=12)))
    fore = pair(
        join(
            sweep([(0.36, 0.0, 0.3), (0.5, -0.2, 0.42), (0.44, -0.38, 0.48)], 0.09, 10),
            ball((0.45, -0.4, 0.56), (0.15, 0.045, 0.15), n=12),
        )
    )
    mouth = sweep(
        [(-0.36, 0.12, 0.5), (-0.2, 0.03, 0.61), (0, 0.0, 0.65), (0.2, 0.03, 0.61), (0.36, 0.12, 0.5)], 0.022, 6
    )
    parts = [*paint(body, rgb, belly), Part(join(bumps, hind, fore), rgb), Part(mouth, shade(rgb, -0.6))]
    parts += [
        Part(pair(ball((0.29, 0.47, 0.42), 0.12, n=14)), WHITE),
        Part(pair(ball((0.3, 0.48, 0.5), 0.065, n=12)), BLACK),
    ]
    if chance(rng, 0.3):
        crown = join(
            lathe([(0.17, 0.0), (0.2, 0.14), (0.16, 0.13)], 20),
            ring(sweep([(0, 0.1, 0.18), (0, 0.28, 0.21)], [0.06, 0.01], 8), 6),
        )
        parts.append(Part(move(crown, (0, 0.42, 0.15)), GOLD))
        return named("frog", word, "with a golden crown", ("frog prince",), plain), assemble(parts)
    if chance(rng, 0.3):
        parts += [Part(cylinder((0, -0.5, 0.05), 0.95, 0.04, sides=28), (0.16, 0.42, 0.16))]
        return named("frog", word, "on a lily pad", ("toad",), plain), assemble(parts)
    return named("frog", word, "with big eyes", ("toad",), plain), assemble(parts)


def turtle(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "green", "brown", "blue"))
    skin = jitter(rng, (0.52, 0.72, 0.30))
    rgb = shade(rgb, -0.15)
    shell = ball((0, 0.1, 0), (0.62, 0.46, 0.72), n=40, low=0)
    seeds = np.array(
        [
            (0, 1, 0),
            *[(0.75 * np.sin(a), 0.6, 0.75 * np.cos(a)) for a in np.arange(6) * np.pi / 3],
            *[(np.sin(a), 0.12, np.cos(a)) for a in (np.arange(10) + 0.5) * np.pi / 5],
        ]
    )

    def seams(x: Array, y: Array, z: Array) -> Mask:
        p = np.stack([x / 0.62, (y - 0.1) / 0.46, z / 0.72], -1)
        d = np.sort(np.linalg.norm(p[:, None] - seeds, axis=-1), axis=1)
        return d[:, 1] - d[:, 0] < 0.07

    parts = paint(shell, rgb, (seams, shade(rgb, 0.45)))
    parts.append(
        Part(
            join(torus((0, 0.1, 0), 0.62, (0.07, 0.06)) * [1, 1, 1.14], ball((0, 0.08, 0), (0.58, 0.14, 0.66))),
            (0.86, 0.78, 0.45),
        )
    )
    legs = pair(join(*(sweep([(0.4, 0.06, z), (0.6, -0.25, z + 0.08)], [0.14, 0.13], 12) for z in (0.42, -0.5))))
    head = join(sweep([(0, 0.12, 0.55), (0, 0.3, 0.85)], [0.15, 0.15], 14), ball((0, 0.36, 0.94), (0.2, 0.19, 0.23)))
    parts += [
        Part(join(legs, head, sweep([(0, 0.02, -0.7), (0, -0.05, -0.95)], [0.09, 0.01], 10)), skin),
        *eyes((0.12, 0.43, 1.1), 0.05),
    ]
    h = between(rng, 0.85, 1.15)
    return named("turtle", word, "with a patterned shell", ("tortoise",)), assemble(
        [Part(p.shape * [1, h, 1], p.rgb) for p in parts]
    )


def whale(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("blue", "blue", "gray", "black"), 0.1)
    rgb = jitter(rng, (0.25, 0.45, 0.72)) if word == "blue" else rgb
    body = sweep(
        [(0, 0, 0.75), (0, 0, 0.35), (0, -0.02, -0.2), (0, 0.1, -0.75), (0, 0.28, -1.1)],
        [(0.34, 0.3), (0.5, 0.46), (0.44, 0.4), (0.18, 0.16), (0.07, 0.05)],
        28,
        8,
    )
    belly = (lambda x, y, z: (y < -0.14) & (z > -0.75), (0.90, 0.93, 0.95))
    fluke = pair(turn(ball((0.3, 0.32, -1.25), (0.36, 0.055, 0.17), (1, 1.2), n=16), "y", 28, (0.05, 0.3, -1.15)))
    fins = pair(turn(ball((0.62, -0.22, 0.15), (0.3, 0.05, 0.16), n=14), "z", -28, (0.4, -0.15, 0)))
    parts = [*paint(body, rgb, belly), Part(join(fluke, fins), shade(rgb, -0.08)), *eyes((0.43, -0.02, 0.66), 0.055)]
    if chance(rng, 0.6):
        jet = join(
            sweep([(0, 0.42, 0.35), (0, 0.75, 0.35)], 0.05, 8),
            *(
                sweep([(0, 0.72, 0.35), (s * 0.1, 0.92, 0.35), (s * 0.26, 0.82, 0.35)], [0.05, 0.055, 0.03], 8)
                for s in (-1, 1)
            ),
        )
        parts.append(Part(jet, (0.60, 0.82, 0.97)))
        return named("whale", word, "spouting water", (), plain), assemble(parts)
    return named("whale", word, "with a white belly", (), plain), assemble(parts)


def _fish_body(rgb: Rgb, belly: Rgb, *rules: tuple, deep: float = 0.45) -> list[Part]:
    body = sweep(
        [(0, 0, 0.62), (0, 0, 0.3), (0, 0, -0.2), (0, 0, -0.7)],
        [(0.13, 0.2 * deep / 0.45), (0.24, deep * 0.88), (0.22, deep * 0.85), (0.05, 0.1)],
        30,
        9,
    )
    return paint(body, rgb, (lambda x, y, z: y < -0.45 * deep, belly), *rules)


def fish(rng: Rng) -> Made:
    word, rgb = pick(rng, ("orange", "orange", *BRIGHT))
    clown = word == "orange" and chance(rng, 0.6)
    other, c = ("white", WHITE) if clown else pick(rng, (*BRIGHT, "white"), but=(word,))
    bands = (lambda x, y, z: (np.abs(z - 0.36) < 0.08) | (np.abs(z + 0.1) < 0.09) | (np.abs(z + 0.55) < 0.05), c)
    striped = clown or chance(rng, 0.5)
    parts = _fish_body(rgb, shade(rgb, 0.3), *([bands] if striped else []))
    tail = side_prism([(-0.62, 0), (-1.12, 0.42), (-1.0, 0), (-1.12, -0.42)], 0.035, 0.06)
    top = side_prism([(0.25, 0.34), (-0.15, 0.68), (-0.45, 0.55), (-0.42, 0.28)], 0.03)
    low = side_prism([(0.0, -0.35), (-0.3, -0.6), (-0.4, -0.3)], 0.03)
    side_fin = pair(turn(ball((0.24, -0.08, 0.1), (0.03, 0.12, 0.2), n=12), "y", -28, (0.22, 0, 0.2)))
    parts += [
        Part(join(tail, top, low, side_fin), c if not clown else shade(rgb, -0.1)),
        *_side_eyes((0.17, 0.1, 0.5), 0.1),
        Part(torus((0, -0.03, 0.76), 0.06, 0.03, "z"), shade(rgb, -0.25)),
    ]
    also = ("clownfish",) if clown else ("goldfish",) if word == "orange" else ("tropical fish",)
    return named("fish", word, f"with {other} stripes" if striped else f"with {other} fins", also), assemble(parts)


def _side_eyes(at: tuple[float, float, float], r: float) -> list[Part]:
    """Eyes that look sideways, as fish have them."""
    p = np.asarray(at, float)
    return [Part(pair(ball(p, r, n=14)), WHITE), Part(pair(ball(p + [0.62 * r, 0, 0.3 * r], 0.55 * r, n=12)), BLACK)]


def shark(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("gray", "gray", "blue"), 0.08)
    rgb = jitter(rng, (0.42, 0.50, 0.58)) if word == "gray" else rgb
    body = sweep(
        [(0, 0.05, 1.0), (0, 0.03, 0.6), (0, 0, 0.0), (0, 0.05, -0.7), (0, 0.1, -1.05)],
        [(0.12, 0.08), (0.27, 0.26), (0.32, 0.33), (0.12, 0.13), (0.05, 0.07)],
        26,
        8,
    )
    fin = side_prism([(0.2, 0.25), (-0.18, 0.78), (-0.25, 0.25)], 0.03, 0.06)
    tail = side_prism([(-0.9, 0.1), (-1.42, 0.68), (-1.2, 0.1), (-1.35, -0.32)], 0.03, 0.05)
    side = pair(turn(prism([(0.2, 0.2), (0.85, -0.2), (0.25, -0.12)], 0.03), "x", 72) + np.array([0, -0.12, 0.15]))
    jaw = sweep(
        [(-0.2, -0.13, 0.62), (-0.12, -0.11, 0.84), (0, -0.1, 0.93), (0.12, -0.11, 0.84), (0.2, -0.13, 0.62)], 0.045, 8
    )
    teeth = join(
        *(
            ball((0.19 * np.sin(a), -0.1, 0.62 + 0.31 * np.cos(a)), (0.03, 0.05, 0.03), n=6)
            for a in np.linspace(-1.4, 1.4, 9)
        )
    )
    parts = [
        *paint(body, rgb, (lambda x, y, z: y < -0.08, WHITE)),
        Part(join(fin, tail, side), shade(rgb, -0.1)),
        Part(jaw, (0.6, 0.15, 0.18)),
        Part(teeth, WHITE),
    ]
    parts.append(Part(pair(ball((0.2, 0.1, 0.76), 0.045, n=10)), BLACK))
    return named("shark", word, "with sharp teeth", ("great white shark",) if word == "gray" else (), plain), assemble(
        parts
    )


def dolphin(rng: Rng) -> Made:
    word, rgb = pick(rng, ("gray", "blue", "blue"))
    rgb = jitter(rng, (0.45, 0.58, 0.70)) if word == "gray" else jitter(rng, (0.30, 0.52, 0.80))
    arc = [(0, 0.02, 0.68), (0, 0.14, 0.4), (0, 0.16, -0.1), (0, -0.02, -0.6), (0, -0.28, -0.98)]
    body = sweep(arc, [(0.18, 0.18), (0.27, 0.28), (0.25, 0.26), (0.11, 0.12), (0.05, 0.05)], 24, 8)
    snout = sweep([(0, 0.0, 0.75), (0, -0.06, 1.05)], [0.1, 0.055], 12)
    fin = side_prism([(0.1, 0.38), (-0.28, 0.68), (-0.25, 0.36)], 0.03, 0.08)
    fluke = pair(turn(ball((0.2, -0.3, -1.05), (0.26, 0.04, 0.13), (1, 1.2), n=14), "y", 25, (0.03, -0.3, -1.0)))
    side = pair(turn(ball((0.4, -0.08, 0.25), (0.24, 0.035, 0.11), n=12), "z", -42, (0.22, 0, 0.2)))
    parts = [
        *paint(body, rgb, (lambda x, y, z: y < -0.02 - 0.3 * np.maximum(-z, 0) + 0.05 * (z > 0.3), (0.92, 0.94, 0.96))),
        Part(join(snout, fin, fluke, side), rgb),
        Part(pair(ball((0.19, 0.09, 0.66), 0.04, n=10)), BLACK),
    ]
    return named("dolphin", word, "", ("leaping dolphin",)), assemble(parts)


def octopus(rng: Rng) -> Made:
    word, rgb = pick(rng, ("purple", "red", "orange", "pink", "blue", "green"))
    head = join(ball((0, 0.42, 0), (0.5, 0.55, 0.5)), ball((0, 0.05, 0), (0.42, 0.3, 0.42)))
    arm = sweep(
        [(0, -0.02, 0.25), (0, -0.32, 0.55), (0, -0.42, 0.88), (0, -0.2, 1.08), (0, -0.08, 0.95)],
        [0.17, 0.14, 0.11, 0.07, 0.04],
        12,
    )
    suckers = join(*(ball((0, y, z), 0.055, n=8) for y, z in ((-0.45, 0.6), (-0.53, 0.78), (-0.5, 0.95), (-0.38, 1.1))))
    parts = [
        Part(join(head, ring(arm, 8, 22.5)), rgb),
        Part(ring(suckers, 8, 22.5), shade(rgb, 0.5)),
        *eyes((0.2, 0.36, 0.43), 0.13, "wide"),
    ]
    parts.append(Part(sweep([(-0.12, 0.12, 0.43), (0, 0.06, 0.46), (0.12, 0.12, 0.43)], 0.025, 6), shade(rgb, -0.6)))
    return named("octopus", word, "with eight arms"), assemble(parts)


def crab(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "orange", "blue"))
    body = ball((0, 0, 0), (0.6, 0.3, 0.42), 0.9)
    legs = pair(
        join(
            *(
                sweep([(0.45, -0.05, z), (0.8, 0.12, 1.3 * z), (0.98, -0.35, 1.5 * z)], [0.075, 0.065, 0.02], 8)
                for z in (-0.28, -0.08, 0.12)
            )
        )
    )
    arm = sweep([(0.42, 0, 0.28), (0.72, 0.1, 0.5), (0.68, 0.25, 0.7)], 0.09, 10)
    claw = join(
        ball((0.66, 0.34, 0.78), (0.17, 0.2, 0.13), n=14),
        sweep([(0.74, 0.42, 0.8), (0.8, 0.68, 0.84)], [0.1, 0.015], 10),
        sweep([(0.58, 0.42, 0.8), (0.55, 0.66, 0.84)], [0.09, 0.015], 10),
    )
    stalks = pair(sweep([(0.15, 0.2, 0.3), (0.17, 0.45, 0.36)], 0.04, 8))
    parts = [
        Part(join(body, legs, pair(arm), stalks), rgb),
        Part(pair(claw), shade(rgb, 0.15)),
        Part(pair(ball((0.17, 0.48, 0.37), 0.09, n=12)), WHITE),
        Part(pair(ball((0.17, 0.48, 0.44), 0.05, n=10)), BLACK),
    ]
    parts.append(Part(sweep([(-0.14, -0.03, 0.4), (0, -0.08, 0.44), (0.14, -0.03, 0.4)], 0.02, 6), shade(rgb, -0.6)))
    return named("crab", word, "with big claws"), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "frog": frog,
    "turtle": turtle,
    "whale": whale,
    "fish": fish,
    "shark": shark,
    "dolphin": dolphin,
    "octopus": octopus,
    "crab": crab,
}
FRONTED = frozenset(GENERATORS)
