"""Figures that are not quite people: robot, snowman, ghost, alien, teddy bear, gnome."""

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
    LAMP,
    METAL,
    RED,
    SKIN,
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


def robot(rng: Rng) -> Made:
    word, rgb = pick(rng, (*COLOURS, "gray", "blue", "red", "gray", "white"))
    eye_word, eye_rgb = pick(rng, ("yellow", "red", "blue", "green"), but=(word,))
    limb = METAL if word not in ("gray", "white") else DARK
    w, d, h = between(rng, 0.34, 0.44), between(rng, 0.24, 0.32), between(rng, 0.36, 0.46)
    body = box((0, 0, 0), (w, h, d), 0.07, taper=between(rng, 0.95, 1.12))
    hw, hh, hd = between(rng, 0.34, 0.44), between(rng, 0.26, 0.32), 0.29
    y = h + hh + 0.2  # of the middle of the head
    rounded = chance(rng, 0.3)
    head = ball((0, y, 0), (hw, hh * 1.1, hd), (0.7, 0.7)) if rounded else box((0, y, 0), (hw, hh, hd), 0.06)
    parts = [Part(join(body, head), rgb), Part(cylinder((0, h + 0.1, 0), 0.13, 0.14), limb)]
    face = box((0, y, hd + 0.01), (hw * 0.84, hh * 0.78, 0.025), 0.02)
    parts.append(Part(face, shade(BLACK, 0.08) if word != "black" else METAL))
    e = between(rng, 0.11, 0.14)
    parts += [
        Part(pair(ball((hw * 0.43, y + 0.06, hd + 0.04), (e, e, 0.06), n=14)), eye_rgb),
        Part(box((0, y - 0.14, hd + 0.04), (hw * 0.5, 0.035, 0.02), 0.01), WHITE),
    ]
    antenna = chance(rng, 0.7)
    if antenna:
        for x in (0.0,) if chance(rng, 0.6) else (-0.18, 0.18):
            top = (x * 1.3, y + hh + between(rng, 0.2, 0.27), 0)
            parts += [
                Part(sweep([(x, y + hh - 0.02, 0), top], 0.045, 8), limb),
                Part(ball(top, 0.1, n=12), RED if word != "red" else LAMP),
            ]
    else:
        parts.append(Part(pair(cylinder((hw, y, 0), 0.13, 0.07, "x")), limb))
    parts.append(Part(box((0, 0.04, d), (w * 0.62, h * 0.46, 0.03), 0.02), shade(METAL, 0.25)))
    parts += [
        Part(ball((x, 0.12, d + 0.03), (0.065, 0.065, 0.03), n=10), COLOURS[c])
        for x, c in ((-0.15, "red"), (0.0, "yellow"), (0.15, "green"))
    ]
    parts.append(Part(box((0, -0.06, d + 0.03), (w * 0.42, 0.045, 0.015), 0.01), (0.2, 0.45, 0.9)))
    parts += _robot_arms(rng, w, h, limb, rgb) + _robot_legs(rng, h, limb, rgb)
    also = ("toy robot", f"{word} robot with an antenna" if antenna else f"{word} robot with round ears")
    return named("robot", word, f"with {eye_word} eyes", also), assemble(parts)


def _robot_arms(rng: Rng, w: float, h: float, limb: Rgb, rgb: Rgb) -> list[Part]:
    """Arms held away from the body, a claw at each end; sometimes one is raised in greeting."""
    out = w + between(rng, 0.24, 0.4)
    hanging, waving = -0.28, h + between(rng, 0.15, 0.35)
    left = waving if chance(rng, 0.25) else hanging
    parts = []
    for side, end in ((1.0, hanging), (-1.0, left)):
        elbow = (h - 0.42) if end < h else h - 0.2
        path = np.array([(w, h - 0.16, 0), (out - 0.04, elbow, 0), (out + 0.02, end, 0.1)]) * (side, 1, 1)
        claw = torus((0, 0, 0), 0.11, 0.06, "z", (-60, 240) if end < h else (120, 420))
        at = (side * (out + 0.02), end + (-0.15 if end < h else 0.15), 0.1)
        parts += [
            Part(sweep(path, 0.1, 12), limb),
            Part(join(move(claw, at), ball((side * (w + 0.04), h - 0.16, 0), 0.15, n=14)), rgb),
        ]
    return parts


def _robot_legs(rng: Rng, h: float, limb: Rgb, rgb: Rgb) -> list[Part]:
    """Two legs with feet, or two tracks."""
    if chance(rng, 0.85):
        long = between(rng, 0.28, 0.4)
        return [
            Part(pair(cylinder((0.23, -h - long, 0), 0.115, long)), limb),
            Part(pair(box((0.23, -h - 2 * long + 0.02, 0.06), (0.19, 0.11, 0.27), 0.05)), rgb),
        ]
    track = [cylinder((0.3, -h - 0.2, z), 0.17, 0.1, "x") for z in (-0.2, 0.2)]
    return [Part(pair(join(*track, box((0.3, -h - 0.2, 0), (0.09, 0.16, 0.22), 0.03))), DARK)]


def snowman(rng: Rng) -> Made:
    scarf_word, scarf = pick(rng, BRIGHT)
    hat_word, hat = pick(rng, ("black", "black", "red", "blue", "green", "brown"))
    s = between(rng, 0.9, 1.12)
    body = [ball((0, -0.62, 0), (0.62 * s, 0.56, 0.62 * s)), ball((0, 0.16, 0), 0.44), ball((0, 0.74, 0), 0.33)]
    coal = [ball((0, y, z), 0.055, n=10) for y, z in ((0.32, 0.41), (0.1, 0.44), (-0.35, 0.54 * s))]
    mouth = [ball((0.16 * np.sin(a), 0.68 - 0.1 * np.cos(a), 0.3), 0.026, n=8) for a in np.linspace(-1, 1, 5)]
    parts = [Part(join(*body), WHITE), Part(join(*coal, *mouth, pair(ball((0.12, 0.83, 0.29), 0.05, n=10))), BLACK)]
    parts += [Part(sweep([(0, 0.74, 0.28), (0, 0.71, 0.72)], [0.075, 0.01], 12, caps="flat"), COLOURS["orange"])]
    parts.append(
        Part(join(torus((0, 0.48, 0), 0.3, (0.09, 0.08)), box((0.14, 0.22, 0.42), (0.07, 0.2, 0.035), 0.03)), scarf)
    )
    parts.append(
        Part(
            pair(
                join(
                    sweep([(0.36, 0.2, 0), (0.95, 0.5, 0.05)], 0.032, 8),
                    sweep([(0.78, 0.41, 0.03), (0.85, 0.6, 0.05)], 0.022, 6),
                )
            ),
            BROWN,
        )
    )
    tall = lathe(
        [
            (0, 1.0),
            (0.4, 1.0),
            (0.4, 1.05),
            (0.26, 1.06),
            (0.26, between(rng, 1.3, 1.45)),
            (0, between(rng, 1.35, 1.45)),
        ]
    )
    parts += [Part(tall, hat), Part(lathe([(0.262, 1.06), (0.27, 1.07), (0.27, 1.14), (0.262, 1.15)]), scarf)]
    return named(
        "snowman",
        "",
        f"with {with_article(scarf_word)} scarf and {with_article(hat_word)} hat",
        (f"snowman with {with_article(scarf_word)} scarf", "white snowman"),
    ), assemble(parts)


def ghost(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white",) * 6 + ("blue", "purple", "pink", "green", "gray"))
    n, h = int(rng.integers(5, 8)), between(rng, 0.45, 0.7)
    a = np.linspace(0, np.pi / 2, 8)
    profile = [
        (0.0, -0.85),
        (0.62, -0.95),
        (0.66, -0.9),
        (0.6, -0.4),
        (0.56, 0.0),
        *[(0.56 * np.cos(t), h * np.sin(t) + 0.1) for t in a],
    ]
    body = lathe(profile, 48, wobble=lambda t, y: 1 + 0.13 * np.cos(n * t) * np.clip(-y - 0.1, 0, 1))
    skirt = body[..., 1] + 0.14 * np.cos(n * np.arctan2(body[..., 0], body[..., 2])) * (body[..., 1] < -0.8)
    body = np.stack([body[..., 0], skirt, body[..., 2]], -1)
    arms = pair(sweep([(0.45, 0.0, 0.1), (0.8, -0.02, 0.25)], [0.16, 0.1], 12))
    z = 0.52
    parts = [
        Part(join(body, arms), rgb),
        Part(pair(ball((0.19, 0.25, z), (0.1, 0.15, 0.07), n=14)), BLACK),
        Part(ball((0, -0.05, z + 0.02), (0.1, 0.13, 0.06), n=14), BLACK),
    ]
    parts.append(Part(pair(ball((0.22, 0.31, z + 0.06), 0.035, n=8)), WHITE))
    if chance(rng, 0.35):
        other, c = pick(rng, BRIGHT, but=(word,))
        parts.append(Part(move(turn(lathe([(0, 0), (0.24, 0), (0, 0.5)]), "z", 10), (0, h + 0.05, 0)), c))
        return named("ghost", word, f"with {with_article(other)} party hat"), assemble(parts)
    return named("ghost", word, "", ("spooky ghost",)), assemble(parts)


def alien(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green",) * 5 + ("blue", "purple", "gray", "pink"))
    rgb = jitter(rng, (0.42, 0.78, 0.28)) if word == "green" else rgb
    body = sweep([(0, -0.5, 0), (0, -0.05, 0), (0, 0.2, 0)], [0.24, 0.22, 0.12], 16)
    arm = sweep([(0.18, 0.08, 0), (0.4, -0.2, 0.02), (0.46, -0.5, 0.12)], [0.075, 0.06, 0.07], 10)
    leg = join(
        sweep([(0.13, -0.5, 0), (0.16, -0.95, 0)], 0.085, 10), ball((0.16, -0.97, 0.06), (0.11, 0.06, 0.17), n=12)
    )
    head = ball((0, 0.58, 0), (0.48, 0.42, 0.38), n=24)
    stalk = join(sweep([(0.16, 0.92, 0), (0.3, 1.25, 0)], 0.03, 8), ball((0.3, 1.27, 0), 0.08, n=12))
    parts = [Part(join(body, pair(join(arm, leg)), head), rgb)]
    black = pair(turn(ball((0.2, 0.58, 0.31), (0.12, 0.18, 0.1)), "z", 22, (0.2, 0.58, 0.31)))
    parts += [
        Part(black, BLACK),
        Part(pair(ball((0.23, 0.66, 0.4), 0.035, n=8)), WHITE),
        Part(box((0, 0.3, 0.3), (0.09, 0.018, 0.03), 0.01), DARK),
    ]
    if chance(rng, 0.6):
        parts.append(Part(pair(stalk), shade(rgb, -0.15)))
    if chance(rng, 0.4):
        suit_word, suit = pick(rng, BRIGHT, but=(word,))
        parts.append(Part(sweep([(0, -0.52, 0), (0, -0.1, 0)], [0.26, 0.235], 16), suit))
        return named("alien", word, f"in {with_article(suit_word)} suit", (f"little {word} alien",)), assemble(parts)
    return named("alien", word, "with big black eyes", (f"little {word} alien",)), assemble(parts)


def teddy_bear(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", "brown", "white", "pink", "yellow", "blue", "gray"))
    rgb = jitter(rng, (0.62, 0.40, 0.20)) if word == "brown" else rgb
    light = shade(rgb, 0.45)
    body = join(
        ball((0, -0.3, 0), (0.45, 0.5, 0.4)),
        ball((0, 0.45, 0), (0.42, 0.38, 0.36)),
        pair(ball((0.33, 0.76, -0.02), (0.16, 0.16, 0.09))),
    )
    limbs = pair(
        join(
            sweep([(0.36, -0.02, 0.05), (0.62, -0.3, 0.22)], [0.16, 0.15], 14),
            sweep([(0.26, -0.62, 0.1), (0.4, -0.72, 0.52)], [0.2, 0.19], 14),
        )
    )
    soft = join(
        ball((0, 0.36, 0.31), (0.19, 0.15, 0.14)),
        pair(ball((0.42, -0.72, 0.69), (0.13, 0.14, 0.05))),
        pair(ball((0.33, 0.76, 0.05), (0.1, 0.1, 0.05))),
        ball((0, -0.3, 0.16), (0.32, 0.36, 0.28)),
    )
    parts = [
        Part(join(body, limbs), rgb),
        Part(soft, light),
        Part(ball((0, 0.42, 0.44), (0.07, 0.055, 0.04), n=10), BLACK),
        *eyes((0.15, 0.54, 0.32), 0.055),
    ]
    bow_word, bow = pick(rng, BRIGHT, but=(word,))
    parts.append(
        Part(
            join(
                pair(turn(ball((0.14, 0, 0), (0.14, 0.1, 0.06), (1, 1.4), n=14), "z", 10)),
                ball((0, 0, 0.02), 0.06, n=10),
            )
            + np.array([0, 0.1, 0.4]),
            bow,
        )
    )
    return named("teddy bear", word, f"with {with_article(bow_word)} bow", ("stuffed bear", "toy bear")), assemble(
        parts
    )


def gnome(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "green", "blue", "purple", "yellow"))
    coat_word, coat = pick(rng, ("blue", "green", "red", "brown", "purple"), but=(word,))
    body = lathe([(0, -0.85), (0.46, -0.85), (0.5, -0.5), (0.36, 0.0), (0, 0.1)], 24, True)
    hat = sweep([(0, 0.25, 0), (0, 0.7, -0.02), (0.05, 1.35, -0.1)], [0.38, 0.24, 0.02], 20)
    beard = sweep([(0, 0.1, 0.18), (0, -0.2, 0.38), (0, -0.5, 0.42)], [(0.28, 0.15), (0.24, 0.1), (0.04, 0.04)], 14)
    arms = pair(sweep([(0.36, -0.1, 0), (0.52, -0.35, 0.18), (0.36, -0.42, 0.36)], 0.11, 10))
    parts = [
        Part(join(body, arms), coat),
        Part(hat, rgb),
        Part(beard, WHITE),
        Part(ball((0, 0.16, 0.05), (0.32, 0.26, 0.28)), SKIN),
        Part(ball((0, 0.13, 0.35), 0.1, n=12), shade(SKIN, -0.08)),
    ]
    parts += [
        *eyes((0.13, 0.24, 0.3), 0.04),
        Part(pair(ball((0.2, -0.92, 0.12), (0.2, 0.14, 0.28))), DARK),
        Part(torus((0, -0.5, 0), 0.49, (0.03, 0.05)), BLACK),
        Part(box((0, -0.5, 0.5), (0.08, 0.07, 0.03), 0.01), GOLD),
    ]
    return named(
        "gnome",
        "",
        f"with {with_article(word)} hat and {with_article(coat_word)} coat",
        ("garden gnome", f"gnome with {with_article(word)} hat"),
    ), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "robot": robot,
    "snowman": snowman,
    "ghost": ghost,
    "alien": alien,
    "teddy bear": teddy_bear,
    "gnome": gnome,
}
FRONTED = frozenset(GENERATORS)
