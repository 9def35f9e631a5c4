"""Things on a table or a shelf: mug, teapot, vase, bottle, lamp, candle, clock, umbrella."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    COLOURS,
    GOLD,
    LAMP,
    METAL,
    WHITE,
    Generator,
    Made,
    Part,
    Rng,
    assemble,
    between,
    chance,
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
    move,
    pair,
    sweep,
    torus,
    turn,
)


def mug(rng: Rng) -> Made:
    word, rgb = pick(rng)
    h, r = between(rng, 0.52, 0.72), between(rng, 0.54, 0.64)
    taper = between(rng, 0.85, 1.08)
    cup = lathe(
        [
            (0, -h),
            (0.94 * taper * r, -h),
            (taper * r, 0.06 - h),
            (r, h),
            (0.9 * r, h),
            (0.88 * taper * r, 0.1 - h),
            (0, 0.1 - h),
        ],
        32,
    )
    parts = [Part(join(cup, torus((r * (1 + taper) / 2, 0, 0), 0.38 * h + 0.1, (0.11, 0.1), "z", (-105, 105))), rgb)]
    parts.append(Part(cylinder((0, 0.12 - h, 0), 0.87 * min(taper, 1) * r, 0.02), shade(rgb, -0.45)))  # in its shade
    extra = ""
    if chance(rng, 0.3):
        parts.append(Part(cylinder((0, h - 0.2, 0), 0.9 * min(taper, 1) * r, 0.03), (0.30, 0.17, 0.09)))
        extra = "full of coffee"
    if chance(rng, 0.35):
        band, c = pick(rng, but=(word,))
        low, high = (r * (1.03 + (taper - 1) * (1 - y) / 2) for y in (-0.2, 0.3))  # just outside the wall
        ring = [(0.96 * low, -0.22 * h), (low, -0.2 * h), (high, 0.3 * h), (0.96 * high, 0.32 * h)]
        parts.append(Part(lathe(ring, 32), c))
        extra = f"with {with_article(band)} stripe"
    return named("mug", word, extra, ("cup", "coffee mug")), assemble(parts)


def teapot(rng: Rng) -> Made:
    word, rgb = pick(rng)
    s = between(rng, 0.85, 1.1)
    body = lathe(
        [(0, -0.55), (0.4, -0.55), (0.68, -0.25), (0.72, 0.05), (0.5, 0.4), (0.3, 0.5), (0, 0.5)], 28, smooth=True
    )
    spout = sweep(
        [(0.5, -0.25, 0), (0.85, -0.05, 0), (0.95, 0.3, 0), (1.15, 0.45, 0)], [0.2, 0.14, 0.1, 0.075], caps="flat"
    )
    grip = sweep([(-0.55, 0.3, 0), (-0.95, 0.38, 0), (-1.05, 0.05, 0), (-0.85, -0.25, 0), (-0.6, -0.3, 0)], 0.075)
    lid = lathe([(0.42, 0.44), (0.38, 0.52), (0.2, 0.6), (0, 0.63)], smooth=True)
    knob = ball((0, 0.7, 0), 0.11, n=14)
    lid_word, lid_rgb = (word, rgb) if chance(rng, 0.5) else pick(rng, but=(word,))
    extra = f"with {with_article(lid_word)} lid" if lid_word != word else ""
    parts = [
        Part(join(body, spout, grip), rgb),
        Part(join(lid, knob), shade(lid_rgb, -0.12) if lid_word == word else lid_rgb),
    ]
    return named("teapot", word, extra, ("tea pot",)), assemble([Part(p.shape * [1, s, 1], p.rgb) for p in parts])


def vase(rng: Rng) -> Made:
    word, rgb = pick(rng)
    belly, neck, h = between(rng, 0.42, 0.6), between(rng, 0.14, 0.25), between(rng, 0.8, 1.0)
    body = lathe(
        [
            (0, -h),
            (0.28, -h),
            (belly, -0.25 * h),
            (0.8 * belly, 0.3 * h),
            (neck, 0.7 * h),
            (neck + 0.16, h),
            (neck + 0.1, h),
            (neck - 0.06, 0.6 * h),
        ],
        32,
        smooth=True,
    )
    band, c = pick(rng, but=(word,))
    patterned = chance(rng, 0.5)
    rules = [(lambda x, y, z: (np.abs(y) < 0.1) | (np.abs(y - 0.3) < 0.04), c)] if patterned else []
    return named("vase", word, f"with {band} stripes" if patterned else ""), assemble(paint(body, rgb, *rules))


def bottle(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "brown", "blue", "green", "red", "white", "black", "purple", "yellow"))
    h = between(rng, 0.5, 0.75)
    body = lathe(
        [
            (0, -0.95),
            (0.32, -0.95),
            (0.35, -0.88),
            (0.35, h - 0.5),
            (0.3, h - 0.32),
            (0.12, h - 0.05),
            (0.11, 0.9),
            (0, 0.9),
        ],
        24,
    )
    label, c = pick(rng, but=(word,))
    wrap = lathe([(0.35, -0.65), (0.362, -0.64), (0.362, h - 0.68), (0.35, h - 0.67)], 24)
    cap = cylinder((0, 0.93, 0), 0.13, 0.09)
    parts = [Part(body, rgb), Part(wrap, c), Part(cap, shade(c, -0.3))]
    return named("bottle", word, f"with {with_article(label)} label"), assemble(parts)


def lamp(rng: Rng) -> Made:
    word, rgb = pick(rng, but=("black",))
    foot, c = pick(rng, ("black", "brown", "white", "gray", "blue", "red", "green"), but=(word,))
    r, t = between(rng, 0.5, 0.68), between(rng, 0.45, 0.8)
    stand = (
        lathe([(0, -1), (0.34, -1), (0.32, -0.92), (0.07, -0.85), (0.06, 0.3), (0, 0.3)])
        if chance(rng, 0.5)
        else lathe(
            [(0, -1), (0.25, -1), (0.22, -0.9), (0.4, -0.5), (0.2, -0.05), (0.08, 0.1), (0.06, 0.3)], smooth=True
        )
    )
    shade_shape = lathe([(r, 0.05), (r * t, 0.8), (r * t * 0.95, 0.8), (r * 0.95, 0.05), (r, 0.05)], 30)
    parts = [Part(stand, c), Part(shade_shape, rgb), Part(ball((0, 0.3, 0), (0.3, 0.24, 0.3)), LAMP)]
    return named("lamp", word, f"with {with_article(foot)} base", ("table lamp",)), assemble(parts)


def candle(rng: Rng) -> Made:
    word, rgb = pick(rng)
    r, h = between(rng, 0.2, 0.34), between(rng, 0.55, 0.85)
    wax = lathe([(0, -h), (r, -h), (r * 1.02, h - 0.05), (0.9 * r, h), (0, h - 0.04)])
    drips = [
        sweep(
            [
                (0.98 * r * np.sin(a), h - 0.05, 0.98 * r * np.cos(a)),
                (1.05 * r * np.sin(a), h - between(rng, 0.2, 0.6), 1.05 * r * np.cos(a)),
            ],
            0.05,
            8,
        )
        for a in rng.uniform(0, 6.28, 4)
    ]
    flame = lathe([(0, h + 0.06), (0.12, h + 0.18), (0.1, h + 0.3), (0.03, h + 0.48), (0, h + 0.52)], 16, smooth=True)
    core = ball((0, h + 0.18, 0), (0.13, 0.1, 0.13), n=12)
    parts = [Part(join(wax, *drips), rgb), Part(sweep([(0, h - 0.1, 0), (0, h + 0.1, 0)], 0.025, 8), BLACK)]
    parts += [Part(flame, COLOURS["orange"]), Part(core, COLOURS["yellow"])]
    if chance(rng, 0.6):
        plate = lathe([(0, -h - 0.08), (0.45, -h - 0.06), (0.55, 0.06 - h), (0.5, 0.06 - h), (0.42, -h), (0, -h)])
        parts.append(Part(join(plate, torus((0.6, -h + 0.02, 0), 0.14, 0.04, "z")), GOLD))
    return named("candle", word, "with a flame", ("burning candle",)), assemble(parts)


def clock(rng: Rng) -> Made:
    word, rgb = pick(rng, but=("white",))
    face = cylinder((0, 0, 0.12), 0.78, 0.04, "z", 32)
    rim = torus((0, 0, 0.1), 0.82, (0.1, 0.14), "z")
    marks = [turn(box((0, 0.63, 0.17), (0.03, 0.08, 0.02), 0.01), "z", 30 * k) for k in range(12)]
    hour, minute = between(rng, 0, 360), between(rng, 0, 360)
    hands = [
        turn(box((0, 0.19, 0.18), (0.045, 0.23, 0.02), 0.01), "z", hour),
        turn(box((0, 0.28, 0.2), (0.03, 0.32, 0.02), 0.01), "z", minute),
    ]
    parts = [
        Part(join(rim, cylinder((0, 0, 0), 0.84, 0.12, "z", 32)), rgb),
        Part(face, WHITE),
        Part(join(*marks, *hands), BLACK),
    ]
    also: tuple[str, ...] = ()
    if chance(rng, 0.5):
        bells = pair(move(turn(ball((0, 0, 0), (0.3, 0.24, 0.26)), "z", -38), (0.55, 0.85, 0.05)))
        feet = pair(sweep([(0.45, -0.7, 0.05), (0.6, -1.02, 0.05)], 0.07))
        parts += [Part(bells, GOLD), Part(join(feet, box((0, 1.0, 0.05), (0.06, 0.14, 0.06), 0.03)), METAL)]
        also = ("alarm clock",)
    return named("clock", word, "", also), assemble(parts)


def umbrella(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    n = 8
    canopy = lathe(
        [(1.0, 0.25), (0.85, 0.52), (0.5, 0.78), (0, 0.9)],
        48,
        smooth=True,
        wobble=lambda a, y: 1 - 0.06 * np.abs(np.sin(n * a / 2)) * (y < 0.5),
    )
    two = chance(rng, 0.5)
    rules = [(lambda x, y, z: (np.floor(np.arctan2(x, z) / (2 * np.pi) * n) % 2) == 0, c)] if two else []
    stick = sweep([(0, 1.05, 0), (0, -0.9, 0)], 0.035, 10)
    hook = sweep([(0, -0.85, 0), (0, -1.0, 0), (0.1, -1.12, 0), (0.22, -1.0, 0)], 0.055, 10)
    parts = [*paint(canopy, rgb, *rules), Part(stick, METAL), Part(hook, shade(COLOURS["brown"], 0.1))]
    return named("umbrella", f"{word} and {other}" if two else word), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "mug": mug,
    "teapot": teapot,
    "vase": vase,
    "bottle": bottle,
    "lamp": lamp,
    "candle": candle,
    "clock": clock,
    "umbrella": umbrella,
}
FRONTED = frozenset({"clock"})
