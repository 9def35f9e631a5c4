"""Animals that are not four-legged fur: birds, sea animals, reptiles, insects, dinosaur and dragon."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    BROWN,
    COLOURS,
    DARK,
    GOLD,
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
    natural,
    paint,
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
    prism,
    ring,
    side_prism,
    sweep,
    torus,
    turn,
)

BEAK: Rgb = (0.97, 0.62, 0.10)


def _feet(x: float, y: float, z: float, r: float = 0.12) -> Array:
    """A pair of webbed feet."""
    return pair(join(ball((x, y, z + 0.6 * r), (r, 0.35 * r, 1.25 * r), n=12), sweep([(x, y, z), (x, y + 2.2 * r, z)], 0.35 * r, 8)))


def duck(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow", "yellow", "yellow", "white", "white", "brown", "pink", "blue"))
    body = ball((0, 0, 0), (0.46, 0.4, 0.66), n=24)
    tail = sweep([(0, 0.1, -0.45), (0, 0.38, -0.8)], [0.24, 0.05], 12)
    neck = sweep([(0, 0.1, 0.36), (0, 0.42, 0.42), (0, 0.6, 0.44)], [0.27, 0.2, 0.22], 16)
    head = ball((0, 0.66, 0.46), (0.3, 0.29, 0.3))
    wings = pair(turn(ball((0.44, 0.06, -0.08), (0.09, 0.24, 0.42), n=16), "x", 14))
    bill = join(ball((0, 0.6, 0.8), (0.17, 0.055, 0.18), n=14), ball((0, 0.55, 0.77), (0.14, 0.05, 0.15), n=12))
    parts = [Part(join(body, tail, neck, head), rgb), Part(wings, shade(rgb, -0.12)), Part(bill, BEAK), *eyes((0.15, 0.76, 0.69), 0.06)]
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
    flippers = pair(turn(ball((0.5 * fat, -0.08, 0), (0.08, 0.42, 0.17), n=16), "z", between(rng, 8, 35), (0.45, 0.25, 0)))
    parts = [*paint(body, rgb, belly), *paint(head, rgb, cheeks), Part(flippers, rgb)]
    parts += [Part(sweep([(0, 0.53, 0.28), (0, 0.5, 0.52)], [(0.1, 0.07), (0.01, 0.01)], 12, caps="flat"), BEAK), Part(_feet(0.2, -0.87, 0.08, 0.14), BEAK), *eyes((0.13, 0.63, 0.29), 0.055)]
    extra = ""
    if chance(rng, 0.35):
        scarf, c = pick(rng, BRIGHT, but=(word,))
        parts.append(Part(join(torus((0, 0.33, 0.01), 0.33, (0.08, 0.07)), box((0.16, 0.1, 0.42), (0.06, 0.2, 0.03), 0.02)), c))
        extra = f"wearing {with_article(scarf)} scarf"
    return named("penguin", f"{word} and white", extra, ("little penguin",)), assemble(parts)


def owl(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", "brown", "gray", "white", "purple", "blue"))
    rgb = jitter(rng, (0.52, 0.33, 0.18)) if word == "brown" else rgb
    light = shade(rgb, 0.55) if word != "white" else (0.85, 0.8, 0.72)
    body = lathe([(0, -0.8), (0.35, -0.78), (0.56, -0.3), (0.56, 0.2), (0.5, 0.55), (0.3, 0.78), (0, 0.84)], 40, True)
    chest = (lambda x, y, z: (z > 0.1) & ((x / 0.36) ** 2 + ((y + 0.3) / 0.45) ** 2 < 1), light)
    spots = join(*(ball((x, y, 0.54 - 0.5 * x * x - 0.08 * abs(y + 0.2)), (0.045, 0.055, 0.03), n=8) for y in (-0.55, -0.38, -0.2, -0.03) for x in ((-0.18, 0, 0.18) if y in (-0.38, -0.03) else (-0.09, 0.09))))
    tufts = pair(sweep([(0.3, 0.6, 0.05), (0.46, 1.02, 0.05)], [0.17, 0.01], 12))
    wings = pair(turn(ball((0.55, -0.15, -0.03), (0.1, 0.5, 0.32), n=18), "z", 6))
    parts = [*paint(body, rgb, chest), Part(spots, rgb), Part(tufts, rgb), Part(wings, shade(rgb, -0.22))]
    parts += [Part(pair(ball((0.22, 0.36, 0.36), (0.24, 0.24, 0.13), n=18)), light), Part(pair(ball((0.21, 0.36, 0.46), (0.16, 0.16, 0.07), n=16)), (0.98, 0.80, 0.15))]
    parts += [Part(pair(ball((0.2, 0.36, 0.52), (0.085, 0.085, 0.04), n=12)), BLACK), Part(sweep([(0, 0.28, 0.5), (0, 0.12, 0.56)], [0.075, 0.01], 10), BEAK)]
    parts.append(Part(pair(join(*(ball((0.2 + d, -0.83, 0.2), (0.05, 0.06, 0.13), n=8) for d in (-0.09, 0, 0.09)))), BEAK))
    if chance(rng, 0.35):
        parts.append(Part(sweep([(-0.9, -0.92, 0.16), (0.9, -0.9, 0.16)], 0.09, 10), (0.4, 0.27, 0.15)))
        return named("owl", word, "on a branch"), assemble(parts)
    return named("owl", word, "with big yellow eyes"), assemble(parts)


def chicken(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "brown", "brown", "orange", "black"))
    body = sweep([(0, 0.12, -0.45), (0, -0.08, -0.1), (0, 0.0, 0.25), (0, 0.4, 0.42)], [0.2, 0.42, 0.4, 0.2], 20, 7)
    tail = join(*(turn(ball((0, 0.35, -0.62), (0.08, 0.34, 0.16), n=12), "x", -t, (0, 0.1, -0.45)) for t in (-5, 20, 45)))
    head = ball((0, 0.62, 0.46), 0.22)
    comb = join(*(ball((0, 0.84 - 0.03 * abs(k), 0.46 + 0.11 * k), (0.055, 0.12, 0.075), n=10) for k in (-1, 0, 1)))
    parts = [Part(join(body, head), rgb), Part(tail, shade(rgb, -0.25) if word != "white" else shade(WHITE, -0.15)), Part(join(comb, ball((0, 0.42, 0.66), (0.07, 0.12, 0.06), n=10)), RED)]
    parts += [Part(sweep([(0, 0.6, 0.62), (0, 0.56, 0.84)], [0.085, 0.01], 10), BEAK), Part(_feet(0.16, -0.75, 0.05, 0.13), BEAK), *eyes((0.13, 0.68, 0.61), 0.05)]
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
    parts = [Part(join(body, head, tail), rgb), Part(join(wings, tail * [0.7, 1.02, 1.0] + [0, 0, 0.03]), c), Part(beak, (0.16, 0.15, 0.15) if word != "green" else BEAK)]
    parts += [Part(pair(ball((0.19, 0.62, 0.2), (0.1, 0.11, 0.08), n=12)), WHITE), Part(pair(ball((0.25, 0.63, 0.26), 0.045, n=10)), BLACK)]
    parts += [Part(pair(ball((0.13, -0.55, 0.08), (0.07, 0.06, 0.1), n=10)), GRAY), Part(sweep([(-0.7, -0.65, 0.05), (0.7, -0.65, 0.05)], 0.06, 10), BROWN)]
    return named("parrot", word, f"with {other} wings", ("tropical bird",)), assemble(parts)


def flamingo(rng: Rng) -> Made:
    rgb = jitter(rng, (0.97, 0.56, 0.64))
    body = sweep([(0, 0.1, -0.5), (0, 0.02, -0.1), (0, 0.1, 0.25)], [0.08, 0.26, 0.17], 18, 7)
    neck = sweep([(0, 0.1, 0.25), (0, 0.4, 0.5), (0, 0.75, 0.3), (0, 1.05, 0.28), (0, 1.12, 0.48)], [0.13, 0.085, 0.075, 0.075, 0.1], 12, 7)
    beak = sweep([(0, 1.12, 0.55), (0, 1.06, 0.72), (0, 0.92, 0.76)], [0.08, 0.07, 0.015], 10)
    legs = pair(sweep([(0.09, -0.1, 0), (0.09, -0.55, -0.03), (0.09, -1.05, 0.02)], 0.035, 8))
    parts = [Part(join(body, neck), rgb), Part(pair(turn(ball((0.22, 0.06, -0.12), (0.08, 0.17, 0.36), n=14), "x", -6)), shade(rgb, -0.15))]
    parts += [*paint(beak, WHITE, (lambda x, y, z: y < 1.02, BLACK)), Part(legs, shade(rgb, -0.1)), Part(pair(ball((0.09, -1.06, 0.08), (0.07, 0.03, 0.13), n=10)), shade(rgb, -0.2)), *eyes((0.085, 1.16, 0.5), 0.03)]
    return named("flamingo", "pink", "with long legs"), assemble(parts)


def frog(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("green",), 0.15)
    rgb = jitter(rng, (0.33, 0.68, 0.20)) if word == "green" else rgb
    body = sweep([(0, -0.2, -0.45), (0, 0.0, 0.0), (0, 0.18, 0.35)], [(0.3, 0.22), (0.46, 0.34), (0.44, 0.27)], 26, 7)
    belly = (lambda x, y, z: (y < -0.12 + 0.35 * z) & (z > -0.2), shade(rgb, 0.6))
    bumps = pair(ball((0.27, 0.44, 0.32), 0.17))
    hind = pair(join(ball((0.5, -0.18, -0.3), (0.19, 0.22, 0.36)), ball((0.62, -0.38, 0.05), (0.16, 0.05, 0.24), n=12)))
    fore = pair(join(sweep([(0.36, 0.0, 0.3), (0.5, -0.2, 0.42), (0.44, -0.38, 0.48)], 0.09, 10), ball((0.45, -0.4, 0.56), (0.15, 0.045, 0.15), n=12)))
    mouth = sweep([(-0.36, 0.12, 0.5), (-0.2, 0.03, 0.61), (0, 0.0, 0.65), (0.2, 0.03, 0.61), (0.36, 0.12, 0.5)], 0.022, 6)
    parts = [*paint(body, rgb, belly), Part(join(bumps, hind, fore), rgb), Part(mouth, shade(rgb, -0.6))]
    parts += [Part(pair(ball((0.29, 0.47, 0.42), 0.12, n=14)), WHITE), Part(pair(ball((0.3, 0.48, 0.5), 0.065, n=12)), BLACK)]
    if chance(rng, 0.3):
        crown = join(lathe([(0.17, 0.0), (0.2, 0.14), (0.16, 0.13)], 20), ring(sweep([(0, 0.1, 0.18), (0, 0.28, 0.21)], [0.06, 0.01], 8), 6))
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
    seeds = np.array([(0, 1, 0), *[(0.75 * np.sin(a), 0.6, 0.75 * np.cos(a)) for a in np.arange(6) * np.pi / 3], *[(np.sin(a), 0.12, np.cos(a)) for a in (np.arange(10) + 0.5) * np.pi / 5]])

    def seams(x: Array, y: Array, z: Array) -> Array:
        p = np.stack([x / 0.62, (y - 0.1) / 0.46, z / 0.72], -1)
        d = np.sort(np.linalg.norm(p[:, None] - seeds, axis=-1), axis=1)
        return d[:, 1] - d[:, 0] < 0.07

    parts = paint(shell, rgb, (seams, shade(rgb, 0.45)))
    parts.append(Part(join(torus((0, 0.1, 0), 0.62, (0.07, 0.06)) * [1, 1, 1.14], ball((0, 0.08, 0), (0.58, 0.14, 0.66))), (0.86, 0.78, 0.45)))
    legs = pair(join(*(sweep([(0.4, 0.06, z), (0.6, -0.25, z + 0.08)], [0.14, 0.13], 12) for z in (0.42, -0.5))))
    head = join(sweep([(0, 0.12, 0.55), (0, 0.3, 0.85)], [0.15, 0.15], 14), ball((0, 0.36, 0.94), (0.2, 0.19, 0.23)))
    parts += [Part(join(legs, head, sweep([(0, 0.02, -0.7), (0, -0.05, -0.95)], [0.09, 0.01], 10)), skin), *eyes((0.12, 0.43, 1.1), 0.05)]
    h = between(rng, 0.85, 1.15)
    return named("turtle", word, "with a patterned shell", ("tortoise",)), assemble([Part(p.shape * [1, h, 1], p.rgb) for p in parts])


def whale(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("blue", "blue", "gray", "black"), 0.1)
    rgb = jitter(rng, (0.25, 0.45, 0.72)) if word == "blue" else rgb
    body = sweep([(0, 0, 0.75), (0, 0, 0.35), (0, -0.02, -0.2), (0, 0.1, -0.75), (0, 0.28, -1.1)], [(0.34, 0.3), (0.5, 0.46), (0.44, 0.4), (0.18, 0.16), (0.07, 0.05)], 28, 8)
    belly = (lambda x, y, z: (y < -0.14) & (z > -0.75), (0.90, 0.93, 0.95))
    fluke = pair(turn(ball((0.3, 0.32, -1.25), (0.36, 0.055, 0.17), (1, 1.2), n=16), "y", 28, (0.05, 0.3, -1.15)))
    fins = pair(turn(ball((0.62, -0.22, 0.15), (0.3, 0.05, 0.16), n=14), "z", -28, (0.4, -0.15, 0)))
    parts = [*paint(body, rgb, belly), Part(join(fluke, fins), shade(rgb, -0.08)), *eyes((0.43, -0.02, 0.66), 0.055)]
    if chance(rng, 0.6):
        jet = join(sweep([(0, 0.42, 0.35), (0, 0.75, 0.35)], 0.05, 8), *(sweep([(0, 0.72, 0.35), (s * 0.1, 0.92, 0.35), (s * 0.26, 0.82, 0.35)], [0.05, 0.055, 0.03], 8) for s in (-1, 1)))
        parts.append(Part(jet, (0.60, 0.82, 0.97)))
        return named("whale", word, "spouting water", (), plain), assemble(parts)
    return named("whale", word, "with a white belly", (), plain), assemble(parts)


def _fish_body(rgb: Rgb, belly: Rgb, *rules: tuple, deep: float = 0.45) -> list[Part]:
    body = sweep([(0, 0, 0.62), (0, 0, 0.3), (0, 0, -0.2), (0, 0, -0.7)], [(0.13, 0.2 * deep / 0.45), (0.24, deep * 0.88), (0.22, deep * 0.85), (0.05, 0.1)], 30, 9)
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
    parts += [Part(join(tail, top, low, side_fin), c if not clown else shade(rgb, -0.1)), *eyes((0.19, 0.12, 0.52), 0.09, "wide")]
    parts[-2:] = [Part(p.shape, p.rgb) for p in _side_eyes((0.17, 0.1, 0.5), 0.1)]
    parts.append(Part(torus((0, -0.03, 0.76), 0.06, 0.03, "z"), shade(rgb, -0.25)))
    also = ("clownfish",) if clown else ("goldfish",) if word == "orange" else ("tropical fish",)
    return named("fish", word, f"with {other} stripes" if striped else f"with {other} fins", also), assemble(parts)


def _side_eyes(at: tuple[float, float, float], r: float) -> list[Part]:
    """Eyes that look sideways, as fish have them."""
    p = np.asarray(at, float)
    return [Part(pair(ball(p, r, n=14)), WHITE), Part(pair(ball(p + [0.62 * r, 0, 0.3 * r], 0.55 * r, n=12)), BLACK)]


def shark(rng: Rng) -> Made:
    word, rgb, plain = natural(rng, ("gray", "gray", "blue"), 0.08)
    rgb = jitter(rng, (0.42, 0.50, 0.58)) if word == "gray" else rgb
    body = sweep([(0, 0.05, 1.0), (0, 0.03, 0.6), (0, 0, 0.0), (0, 0.05, -0.7), (0, 0.1, -1.05)], [(0.12, 0.08), (0.27, 0.26), (0.32, 0.33), (0.12, 0.13), (0.05, 0.07)], 26, 8)
    fin = side_prism([(0.2, 0.25), (-0.18, 0.78), (-0.25, 0.25)], 0.03, 0.06)
    tail = side_prism([(-0.9, 0.1), (-1.42, 0.68), (-1.2, 0.1), (-1.35, -0.32)], 0.03, 0.05)
    side = pair(turn(prism([(0.2, 0.2), (0.85, -0.2), (0.25, -0.12)], 0.03), "x", 72) + np.array([0, -0.12, 0.15]))
    jaw = sweep([(-0.2, -0.13, 0.62), (-0.12, -0.11, 0.84), (0, -0.1, 0.93), (0.12, -0.11, 0.84), (0.2, -0.13, 0.62)], 0.045, 8)
    teeth = join(*(ball((0.19 * np.sin(a), -0.1, 0.62 + 0.31 * np.cos(a)), (0.03, 0.05, 0.03), n=6) for a in np.linspace(-1.4, 1.4, 9)))
    parts = [*paint(body, rgb, (lambda x, y, z: y < -0.08, WHITE)), Part(join(fin, tail, side), shade(rgb, -0.1)), Part(jaw, (0.6, 0.15, 0.18)), Part(teeth, WHITE)]
    parts.append(Part(pair(ball((0.2, 0.1, 0.76), 0.045, n=10)), BLACK))
    return named("shark", word, "with sharp teeth", ("great white shark",) if word == "gray" else (), plain), assemble(parts)


def dolphin(rng: Rng) -> Made:
    word, rgb = pick(rng, ("gray", "blue", "blue"))
    rgb = jitter(rng, (0.45, 0.58, 0.70)) if word == "gray" else jitter(rng, (0.30, 0.52, 0.80))
    arc = [(0, 0.02, 0.68), (0, 0.14, 0.4), (0, 0.16, -0.1), (0, -0.02, -0.6), (0, -0.28, -0.98)]
    body = sweep(arc, [(0.18, 0.18), (0.27, 0.28), (0.25, 0.26), (0.11, 0.12), (0.05, 0.05)], 24, 8)
    snout = sweep([(0, 0.0, 0.75), (0, -0.06, 1.05)], [0.1, 0.055], 12)
    fin = side_prism([(0.1, 0.38), (-0.28, 0.68), (-0.25, 0.36)], 0.03, 0.08)
    fluke = pair(turn(ball((0.2, -0.3, -1.05), (0.26, 0.04, 0.13), (1, 1.2), n=14), "y", 25, (0.03, -0.3, -1.0)))
    side = pair(turn(ball((0.4, -0.08, 0.25), (0.24, 0.035, 0.11), n=12), "z", -42, (0.22, 0, 0.2)))
    parts = [*paint(body, rgb, (lambda x, y, z: y < -0.02 - 0.3 * np.maximum(-z, 0) + 0.05 * (z > 0.3), (0.92, 0.94, 0.96))), Part(join(snout, fin, fluke, side), rgb), Part(pair(ball((0.19, 0.09, 0.66), 0.04, n=10)), BLACK)]
    return named("dolphin", word, "", ("leaping dolphin",)), assemble(parts)


def octopus(rng: Rng) -> Made:
    word, rgb = pick(rng, ("purple", "red", "orange", "pink", "blue", "green"))
    head = join(ball((0, 0.42, 0), (0.5, 0.55, 0.5)), ball((0, 0.05, 0), (0.42, 0.3, 0.42)))
    arm = sweep([(0, -0.02, 0.25), (0, -0.32, 0.55), (0, -0.42, 0.88), (0, -0.2, 1.08), (0, -0.08, 0.95)], [0.17, 0.14, 0.11, 0.07, 0.04], 12)
    suckers = join(*(ball((0, y, z), 0.055, n=8) for y, z in ((-0.45, 0.6), (-0.53, 0.78), (-0.5, 0.95), (-0.38, 1.1))))
    parts = [Part(join(head, ring(arm, 8, 22.5)), rgb), Part(ring(suckers, 8, 22.5), shade(rgb, 0.5)), *eyes((0.2, 0.36, 0.43), 0.13, "wide")]
    parts.append(Part(sweep([(-0.12, 0.12, 0.43), (0, 0.06, 0.46), (0.12, 0.12, 0.43)], 0.025, 6), shade(rgb, -0.6)))
    return named("octopus", word, "with eight arms"), assemble(parts)


def crab(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "orange", "blue"))
    body = ball((0, 0, 0), (0.6, 0.3, 0.42), 0.9)
    legs = pair(join(*(sweep([(0.45, -0.05, z), (0.8, 0.12, 1.3 * z), (0.98, -0.35, 1.5 * z)], [0.075, 0.065, 0.02], 8) for z in (-0.28, -0.08, 0.12))))
    arm = sweep([(0.42, 0, 0.28), (0.72, 0.1, 0.5), (0.68, 0.25, 0.7)], 0.09, 10)
    claw = join(ball((0.66, 0.34, 0.78), (0.17, 0.2, 0.13), n=14), sweep([(0.74, 0.42, 0.8), (0.8, 0.68, 0.84)], [0.1, 0.015], 10), sweep([(0.58, 0.42, 0.8), (0.55, 0.66, 0.84)], [0.09, 0.015], 10))
    stalks = pair(sweep([(0.15, 0.2, 0.3), (0.17, 0.45, 0.36)], 0.04, 8))
    parts = [Part(join(body, legs, pair(arm), stalks), rgb), Part(pair(claw), shade(rgb, 0.15)), Part(pair(ball((0.17, 0.48, 0.37), 0.09, n=12)), WHITE), Part(pair(ball((0.17, 0.48, 0.44), 0.05, n=10)), BLACK)]
    parts.append(Part(sweep([(-0.14, -0.03, 0.4), (0, -0.08, 0.44), (0.14, -0.03, 0.4)], 0.02, 6), shade(rgb, -0.6)))
    return named("crab", word, "with big claws"), assemble(parts)


def snail(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", *BRIGHT))
    skin = jitter(rng, (0.85, 0.74, 0.50))
    body = sweep([(0, -0.42, -0.95), (0, -0.38, -0.4), (0, -0.36, 0.3), (0, -0.2, 0.68), (0, 0.1, 0.78)], [(0.06, 0.04), (0.22, 0.12), (0.25, 0.16), (0.2, 0.17), (0.19, 0.19)], 16, 7)
    t = np.linspace(0, 1, 60)
    a = 2.6 * 2 * np.pi * t
    r = 0.5 * (1 - t) ** 0.9
    spiral = np.stack([0.16 * t, 0.12 + r * np.sin(a - 1.2), -0.22 + r * np.cos(a - 1.2)], -1)
    coil = sweep(spiral, 0.24 * (1 - t) + 0.07, 14, 1)
    stalks = pair(join(sweep([(0.07, 0.22, 0.8), (0.16, 0.55, 0.88)], 0.035, 8)))
    parts = [Part(body, skin), Part(join(coil, coil * [-1, 1, 1]), rgb), Part(ball((0, 0.12, -0.22), (0.2, 0.44, 0.44)), shade(rgb, -0.3)), Part(stalks, skin)]
    parts += [Part(pair(ball((0.16, 0.58, 0.88), 0.075, n=12)), WHITE), Part(pair(ball((0.16, 0.58, 0.94), 0.045, n=10)), BLACK), Part(sweep([(-0.08, 0.04, 0.94), (0, 0.0, 0.97), (0.08, 0.04, 0.94)], 0.018, 6), DARK)]
    return named("snail", "", f"with {with_article(word)} shell", (f"{word} snail",)), assemble(parts)


def bee(rng: Rng) -> Made:
    fat = between(rng, 0.85, 1.1)
    body = sweep([(0, 0, 0.4), (0, 0, 0.0), (0, -0.02, -0.4), (0, -0.04, -0.72)], np.array([0.34, 0.42, 0.36, 0.06]) * fat, 24, 10)
    bands = (lambda x, y, z: (np.mod(z * 3.2 + 0.3, 1) < 0.48) & (z < 0.25), BLACK)
    head = ball((0, 0.04, 0.66), 0.3)
    wings = pair(turn(turn(ball((0.36, 0, 0), (0.38, 0.035, 0.2), n=18), "z", 38), "y", 18) + np.array([0.08, 0.36, -0.02]))
    feelers = pair(join(sweep([(0.1, 0.28, 0.75), (0.18, 0.48, 0.9)], 0.025, 6), ball((0.18, 0.5, 0.91), 0.05, n=8)))
    legs = pair(join(*(sweep([(0.2, -0.3, z), (0.34, -0.52, z + 0.05)], 0.03, 6) for z in (-0.15, 0.1, 0.32))))
    parts = [*paint(body, COLOURS["yellow"], bands), Part(head, COLOURS["yellow"]), Part(wings, (0.86, 0.93, 0.98)), Part(join(feelers, legs, sweep([(0, -0.04, -0.7), (0, -0.05, -0.98)], [0.07, 0.005], 8)), BLACK), *eyes((0.14, 0.1, 0.87), 0.075)]
    return named("bee", "yellow and black", "with stripes", ("bumblebee",)), assemble(parts)


def ladybug(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "yellow", "orange"))
    shell = ball((0, -0.1, -0.05), (0.62, 0.6, 0.72), n=32, low=0)
    dots = np.array([(0.28, 0.36, 0.22), (0.42, 0.28, -0.16), (0.2, 0.4, -0.38)]) + rng.normal(0, 0.03, (3, 3))

    def spots(x: Array, y: Array, z: Array) -> Array:
        p = np.stack([np.abs(x), y, z], -1)[:, None]
        return (np.linalg.norm(p - dots, axis=-1) < 0.15).any(1) | (np.abs(x) < 0.03)

    legs = pair(join(*(sweep([(0.4, -0.12, z), (0.75, -0.05, z * 1.3), (0.82, -0.3, z * 1.4)], 0.04, 8) for z in (-0.4, 0.0, 0.4))))
    feelers = pair(sweep([(0.1, 0.2, 0.85), (0.22, 0.42, 1.02)], 0.03, 6))
    parts = [*paint(shell, rgb, (spots, BLACK)), Part(join(ball((0, -0.1, -0.05), (0.58, 0.1, 0.68)), ball((0, 0.0, 0.68), (0.36, 0.29, 0.28)), legs, feelers), BLACK), *eyes((0.18, 0.1, 0.88), 0.09, "wide")]
    return named("ladybug", word, "with black dots", ("ladybird",)), assemble(parts)


def butterfly(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    other, c = pick(rng, (*BRIGHT, "black"), but=(word,))
    lift = between(rng, 8, 22)
    upper = [(0.05, 0.0), (0.3, 0.55), (0.75, 0.85), (1.0, 0.72), (0.95, 0.3), (0.55, 0.02)]
    lower = [(0.05, 0.0), (0.5, 0.0), (0.72, -0.25), (0.62, -0.62), (0.35, -0.7), (0.12, -0.35)]

    def small(p: list[tuple[float, float]], k: float) -> list[tuple[float, float]]:
        m = np.mean(p, axis=0)
        return (m + (np.asarray(p) - m) * k).tolist()

    edge = join(prism(upper, 0.02), prism(lower, 0.02))
    inner = join(prism(small(upper, 0.78), 0.03), prism(small(lower, 0.72), 0.03))
    dots = join(*(cylinder((x, y, 0), r, 0.038, "z", 16) for x, y, r in ((0.78, 0.62, 0.09), (0.55, 0.42, 0.07), (0.45, -0.4, 0.08))))
    rim = BLACK if word not in ("black",) and other != "black" else shade(rgb, -0.5)
    parts = [Part(pair(turn(s, "y", -lift)), k) for s, k in ((edge, rim), (inner, rgb), (dots, c))]
    body = sweep([(0, -0.45, 0), (0, 0.0, 0), (0, 0.35, 0)], [0.05, 0.08, 0.09], 12)
    feelers = pair(join(sweep([(0.03, 0.4, 0.04), (0.1, 0.65, 0.06), (0.22, 0.78, 0.06)], 0.018, 6), ball((0.22, 0.79, 0.06), 0.04, n=8)))
    parts.append(Part(join(body, ball((0, 0.38, 0.02), 0.11, n=12), feelers), (0.15, 0.11, 0.10)))
    return named("butterfly", word, f"with {other} dots"), assemble(parts)


def dinosaur(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "green", "orange", "purple", "blue", "brown"))
    rgb = jitter(rng, (0.36, 0.62, 0.26)) if word == "green" else rgb
    light = shade(rgb, 0.5)
    if chance(rng, 0.5):  # on two legs
        spine = [(0, -0.62, -1.15), (0, -0.45, -0.7), (0, -0.1, -0.25), (0, 0.25, 0.08), (0, 0.6, 0.2)]
        body = sweep(spine, [0.03, 0.17, 0.36, 0.32, 0.22], 24, 8)
        head = join(ball((0, 0.78, 0.3), (0.28, 0.27, 0.34)), ball((0, 0.72, 0.6), (0.22, 0.17, 0.26)))
        jaw = ball((0, 0.58, 0.52), (0.19, 0.08, 0.28), n=14)
        legs = pair(join(sweep([(0.24, -0.15, -0.15), (0.32, -0.5, 0.02), (0.3, -0.8, -0.1)], [0.22, 0.17, 0.11], 12), ball((0.3, -0.86, 0.06), (0.15, 0.09, 0.24), n=12)))
        arms = pair(sweep([(0.25, 0.25, 0.25), (0.36, 0.08, 0.42), (0.3, 0.06, 0.56)], [0.085, 0.07, 0.05], 10))
        teeth = join(*(ball((0.17 * np.sin(a), 0.63, 0.58 + 0.26 * np.cos(a)), (0.03, 0.05, 0.03), n=6) for a in np.linspace(-1.5, 1.5, 9)))
        belly = (lambda x, y, z: (z > 0.12 + 0.15 * y) & (y > -0.5) & (np.abs(x) < 0.24), light)
        parts = [*paint(body, rgb, belly), Part(join(head, legs, arms), rgb), Part(jaw, shade(rgb, -0.2)), Part(teeth, WHITE), *eyes((0.2, 0.88, 0.5), 0.06)]
        ridge, also = spine, ("t rex", "tyrannosaurus")
    else:  # long neck, four legs
        spine = [(0, -0.3, -1.35), (0, -0.25, -0.85), (0, -0.02, -0.3), (0, 0.0, 0.25), (0, 0.42, 0.62), (0, 0.95, 0.85)]
        body = sweep(spine, [0.02, 0.14, 0.36, 0.34, 0.16, 0.12], 24, 8)
        head = join(ball((0, 1.02, 0.95), (0.17, 0.16, 0.24)), ball((0, 0.97, 1.12), (0.12, 0.1, 0.14)))
        legs = pair(join(*(sweep([(0.2, -0.1, z), (0.22, -0.72, z)], [0.16, 0.13], 12) for z in (-0.32, 0.28))))
        belly = (lambda x, y, z: (y < -0.15) & (np.abs(z) < 0.7), light)
        parts = [*paint(body, rgb, belly), Part(join(head, legs), rgb), *eyes((0.12, 1.08, 1.06), 0.05)]
        ridge, also = spine, ("long neck dinosaur", "brontosaurus")
    extra = ""
    if chance(rng, 0.5):
        spike_word, c = pick(rng, ("orange", "yellow", "red", "purple"), but=(word,))
        p = np.asarray(ridge)
        at = np.linspace(0.2, 0.92, 9)
        k = np.linspace(0, 1, len(p))
        back = np.stack([np.interp(at, k, p[:, i]) for i in range(3)], -1)
        lift = np.interp(at, k, [0.05, 0.15, 0.34, 0.3, 0.18, 0.14][: len(p)])
        away = np.array([0, 1.0, -0.25]) if len(p) == 6 else np.array([0, 0.72, -0.7])
        parts.append(Part(join(*(sweep([q + away * (r - 0.04), q + away * (r + 0.2)], [(0.03, 0.1), (0.005, 0.005)], 8) for q, r in zip(back, lift, strict=True))), c))
        extra = f"with {spike_word} spikes"
    return named("dinosaur", word, extra, also), assemble(parts)


def dragon(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "green", "blue", "purple", "black", "orange"))
    other, c = pick(rng, ("yellow", "orange", "purple", "red", "blue"), but=(word,))
    spine = [(0, -0.55, -1.2), (0, -0.5, -0.7), (0, -0.15, -0.25), (0, 0.1, 0.1), (0, 0.55, 0.3), (0, 0.78, 0.4)]
    body = sweep(spine, [0.03, 0.14, 0.33, 0.3, 0.16, 0.16], 24, 8)
    head = join(ball((0, 0.86, 0.45), (0.24, 0.22, 0.26)), sweep([(0, 0.82, 0.6), (0, 0.76, 0.88)], [0.16, 0.12], 12))
    legs = pair(join(sweep([(0.24, -0.25, -0.2), (0.32, -0.7, -0.1)], [0.2, 0.13], 12), ball((0.32, -0.78, 0.02), (0.15, 0.09, 0.22), n=12), sweep([(0.24, 0.1, 0.22), (0.34, -0.15, 0.4), (0.3, -0.3, 0.46)], [0.1, 0.08, 0.07], 10)))
    wing = prism([(0.0, 0.0), (0.45, 0.62), (1.15, 0.68), (0.98, 0.32), (0.8, 0.4), (0.66, 0.05), (0.45, 0.2), (0.25, -0.18)], 0.025)
    wings = pair(turn(wing, "y", 24) + np.array([0.12, 0.2, -0.15]))
    horns = pair(sweep([(0.12, 1.02, 0.36), (0.2, 1.3, 0.18)], [0.06, 0.01], 8))
    tip = side_prism([(-1.15, -0.55), (-1.42, -0.35), (-1.32, -0.58), (-1.45, -0.75)], 0.03)
    belly = (lambda x, y, z: (z > 0.02 + 0.3 * y) & (y > -0.5) & (np.abs(x) < 0.22), c)
    parts = [*paint(body, rgb, belly), Part(join(head, legs), rgb), Part(join(wings, tip), c), Part(horns, (0.93, 0.88, 0.72)), *eyes((0.16, 0.96, 0.62), 0.06, "wide")]
    parts.append(Part(pair(ball((0.06, 0.82, 0.98), 0.03, n=8)), shade(rgb, -0.6)))
    return named("dragon", word, f"with {other} wings", ("baby dragon",)), assemble(parts)


def snake(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "red", "yellow", "brown", "orange", "purple"))
    other, c = pick(rng, ("yellow", "black", "white", "red", "green"), but=(word,))
    a = np.linspace(0, 4.2 * np.pi, 30)
    r = np.linspace(0.78, 0.34, 30)
    coil = np.stack([r * np.sin(a), -0.5 + 0.62 * np.linspace(0, 1, 30), r * np.cos(a)], -1)
    rise = np.array([(0.0, 0.42, 0.1), (0, 0.75, 0.05), (0, 0.95, 0.25)])
    line = np.concatenate([coil, rise])
    fat = np.concatenate([np.linspace(0.04, 0.19, 8), np.full(22, 0.19), [0.17, 0.15, 0.16]])
    body = sweep(line, fat, 14, 4)
    ringed = (lambda x, y, z: np.mod(np.arctan2(x, z) * 7 / np.pi + 3 * y, 2) < 0.7, c)
    parts = [*paint(body, rgb, ringed), Part(ball((0, 0.98, 0.38), (0.2, 0.15, 0.28)), rgb), *eyes((0.13, 1.06, 0.5), 0.06, "wide")]
    tongue = join(sweep([(0, 0.94, 0.62), (0, 0.93, 0.82)], 0.022, 6), pair(sweep([(0, 0.93, 0.8), (0.06, 0.96, 0.92)], 0.018, 6)))
    return named("snake", word, f"with {other} stripes", ("coiled snake",)), assemble([*parts, Part(tongue, RED)])


GENERATORS: dict[str, Generator] = {
    "duck": duck, "penguin": penguin, "owl": owl, "chicken": chicken, "parrot": parrot, "flamingo": flamingo, "frog": frog,
    "turtle": turtle, "whale": whale, "fish": fish, "shark": shark, "dolphin": dolphin, "octopus": octopus, "crab": crab,
    "snail": snail, "bee": bee, "ladybug": ladybug, "butterfly": butterfly, "dinosaur": dinosaur, "dragon": dragon, "snake": snake,
}  # fmt: skip
FRONTED = frozenset(GENERATORS) - {"butterfly"}
