"""Tools, weapons, treasure: sword, shield, axe, hammer, key, crown, gem, coin, skull, trophy."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BROWN,
    COLOURS,
    GOLD,
    METAL,
    RED,
    WHITE,
    WOOD,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    assemble,
    between,
    chance,
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
    pair,
    prism,
    ring,
    sweep,
    torus,
    turn,
)

SILVER: Rgb = (0.76, 0.78, 0.81)


BONE: Rgb = (0.93, 0.90, 0.80)


def sword(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "blue", "green", "purple", "brown", "black"))
    w, length = between(rng, 0.1, 0.15), between(rng, 1.2, 1.55)
    blade = prism([(-w, 0), (w, 0), (0.85 * w, length - 0.2), (0, length), (-0.85 * w, length - 0.2)], 0.035, 0.12)
    guard = box((0, -0.02, 0), (between(rng, 0.3, 0.42), 0.06, 0.075), 0.04)
    if chance(rng, 0.4):
        guard = sweep([(-0.4, 0.14, 0), (-0.2, -0.03, 0), (0.2, -0.03, 0), (0.4, 0.14, 0)], 0.07)
    parts = [
        Part(blade, SILVER),
        Part(box((0, 0.45 * length, 0), (0.2 * w, 0.42 * length, 0.042), 0.01), shade(SILVER, -0.25)),
    ]
    parts += [
        Part(join(guard, ball((0, -0.55, 0), 0.1)), GOLD),
        Part(cylinder((0, -0.27, 0), 0.065, 0.22), rgb),
        Part(ball((0, -0.02, 0.06), 0.06, n=12), rgb),
    ]
    return named("sword", "", f"with {with_article(word)} handle", ("steel sword", "knight's sword")), assemble(parts)


def shield(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, ("white", "yellow", "red", "blue", "black"), but=(word,))
    if chance(rng, 0.4):
        plate = turn(lathe([(0, 0.2), (0.45, 0.15), (0.85, 0.0), (0.85, -0.05), (0, -0.04)], 36), "x", 90)
        rim = torus((0, 0, 0), 0.88, 0.07, "z")
        parts = [Part(plate, rgb), Part(join(rim, ball((0, 0, 0.17), (0.24, 0.24, 0.14))), METAL)]
        crossed = join(box((0, 0, 0.12), (0.07, 0.8, 0.05), 0.01), box((0, 0, 0.12), (0.8, 0.07, 0.05), 0.01))
        parts.append(Part(crossed, c))
    else:
        half = [(0, -1.0), (0.35, -0.72), (0.66, -0.2), (0.72, 0.3), (0.7, 0.75), (0.35, 0.68), (0, 0.8)]
        outline = half + [(-x, y) for x, y in half[-2:0:-1]]
        inner = [(x * 0.86, y * 0.87 - 0.01) for x, y in outline]
        parts = [Part(prism(outline, 0.09, 0.06), METAL), Part(prism(inner, 0.12, 0.03), rgb)]
        kind = int(rng.integers(3))
        mark = [
            join(box((0, 0.0, 0.12), (0.09, 0.68, 0.02), 0.01), box((0, 0.15, 0.12), (0.52, 0.09, 0.02), 0.01)),
            turn(box((0, 0, 0.12), (0.62, 0.1, 0.02), 0.01), "z", 38),
            prism(
                [
                    (0.33 * q * np.sin(a), 0.33 * q * np.cos(a))
                    for a, q in zip(np.arange(10) * np.pi / 5, (1, 0.42) * 5, strict=True)
                ],
                0.015,
            )
            + np.array([0, 0, 0.13]),
        ][kind]
        parts.append(Part(mark, c))
        parts.append(Part(box((0, 0, -0.12), (0.06, 0.35, 0.03), 0.02), BROWN))
        word_of = ("cross", "stripe", "star")[kind]
        return named("shield", word, f"with {with_article(other)} {word_of}", ("knight's shield",)), assemble(parts)
    return named("shield", word, f"with {with_article(other)} cross", ("round shield",)), assemble(parts)


def axe(rng: Rng) -> Made:
    blade = [(0.05, 0.55), (0.32, 0.72), (0.56, 0.78), (0.63, 0.45), (0.56, 0.1), (0.32, 0.22), (0.05, 0.4)]
    double = chance(rng, 0.35)
    head = prism([(x, y + 0.15) for x, y in blade], 0.05, 0.1)
    edge = prism(
        [(x, y + 0.15) for x, y in ((0.5, 0.77), (0.62, 0.8), (0.7, 0.45), (0.62, 0.06), (0.5, 0.12), (0.57, 0.45))],
        0.03,
    )
    iron, word = (METAL, "") if chance(rng, 0.6) else (COLOURS["red"], "red")
    wood = jitter(rng, WOOD)
    handle = sweep([(0, -1.05, 0), (0.03, -0.3, 0), (0, 0.85, 0)], [(0.065, 0.08), (0.055, 0.07), (0.06, 0.075)], 12)
    heads, edges = (
        (pair(head), pair(edge)) if double else (join(head, box((-0.08, 0.62, 0), (0.13, 0.14, 0.07), 0.02)), edge)
    )
    return named("axe", word, "with a wooden handle", ("battle axe",) if double else ("hatchet",)), assemble(
        [Part(handle, wood), Part(heads, iron), Part(edges, shade(SILVER, 0.3))]
    )


def hammer(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", "red", "blue", "yellow", "black", "green"))
    rgb = jitter(rng, WOOD) if word == "brown" else rgb
    handle = sweep([(0, -1.0, 0), (0, -0.4, 0), (0, 0.6, 0)], [0.1, 0.085, 0.065], 14)
    head = join(
        cylinder((0.22, 0.7, 0), 0.13, 0.2, "x"),
        cylinder((0.42, 0.7, 0), 0.17, 0.07, "x"),
        box((0, 0.7, 0), (0.13, 0.13, 0.11), 0.03),
    )
    claw = sweep([(-0.1, 0.72, 0), (-0.32, 0.72, 0), (-0.52, 0.55, 0)], [(0.12, 0.11), (0.12, 0.08), (0.12, 0.02)], 10)
    if chance(rng, 0.3):
        head = join(
            cylinder((0, 0.7, 0), 0.27, 0.42, "x"), *(torus((s * 0.38, 0.7, 0), 0.26, 0.05, "x") for s in (-1, 1))
        )
        return named("hammer", "", "with a wooden handle", ("wooden mallet", "mallet")), assemble(
            [Part(handle, rgb), Part(head, shade(WOOD, -0.25))]
        )
    extra = "with a wooden handle" if word == "brown" else f"with {with_article(word)} handle"
    return named("hammer", "", extra, ("claw hammer",)), assemble(
        [Part(handle, rgb), Part(join(head, claw), (0.45, 0.47, 0.50))]
    )


def key(rng: Rng) -> Made:
    word, rgb = ("golden", GOLD) if chance(rng, 0.6) else ("silver", SILVER)
    n = int(rng.integers(2, 4))
    bow = torus((0, 0.7, 0), 0.3, 0.085, "z")
    if chance(rng, 0.4):
        bow = join(*(torus((0.24 * np.sin(a), 0.72 + 0.24 * np.cos(a), 0), 0.17, 0.07, "z") for a in (0, 2.1, 4.2)))
    shaft = join(cylinder((0, -0.25, 0), 0.085, 0.7), torus((0, 0.34, 0), 0.11, 0.05), torus((0, -0.35, 0), 0.1, 0.04))
    teeth = [box((0.19, -0.88 + 0.2 * k, 0), (0.16 + 0.05 * (k % 2), 0.06, 0.06), 0.02) for k in range(n)]
    return named("key", word, "", ("old key", "door key")), assemble([Part(join(bow, shaft, *teeth), jitter(rng, rgb))])


def crown(rng: Rng) -> Made:
    word, rgb = ("golden", GOLD) if chance(rng, 0.8) else ("silver", SILVER)
    stone, gem = pick(rng, ("red", "blue", "green", "purple"))
    n = int(rng.integers(5, 9))
    band = lathe([(0.78, -0.42), (0.84, -0.38), (0.86, 0.05), (0.82, 0.05), (0.76, -0.38), (0.78, -0.42)], 40)
    spike = sweep([(0, 0.0, 0.84), (0, 0.6, 0.95)], [(0.27, 0.045), (0.02, 0.02)], 12)
    parts = [
        Part(
            join(band, ring(spike, n), ring(ball((0, 0.64, 0.95), 0.085, n=12), n), torus((0, -0.36, 0), 0.81, 0.06)),
            rgb,
        )
    ]
    parts.append(Part(ring(ball((0, -0.14, 0.86), (0.1, 0.12, 0.06), n=12), n), gem))
    if chance(rng, 0.5):
        cap_word, cap = pick(rng, ("red", "purple", "blue"), but=(stone,))
        parts.append(Part(ball((0, -0.1, 0), (0.74, 0.5, 0.74)), cap))
        return named("crown", word, f"with {stone} gems", ("king's crown", f"{word} and {cap_word} crown")), assemble(
            parts
        )
    return named("crown", word, f"with {stone} gems", ("king's crown",)), assemble(parts)


def gem(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "green", "blue", "purple", "pink", "yellow", "white", "orange"))
    rgb = jitter(rng, (0.72, 0.90, 0.98)) if word == "white" else rgb
    n, h = (8, 0.85) if chance(rng, 0.6) else (6, 1.1)
    shape = lathe([(0, 0.42), (0.5, 0.42), (0.85, 0.12), (0, -h)], n)
    centre = shape.mean(1)
    light = np.sin(7 * np.arctan2(centre[:, 0], centre[:, 2]) + 5 * centre[:, 1])
    parts = [
        Part(shape[m], shade(rgb, k))
        for m, k in ((light < -0.3, -0.3), (np.abs(light) <= 0.3, 0.0), (light > 0.3, 0.35))
        if m.any()
    ]
    stone = {"red": "ruby", "green": "emerald", "blue": "sapphire", "purple": "amethyst", "white": "diamond"}.get(
        word, "jewel"
    )
    return [f"{word} gem", f"{word} gemstone", stone, "gemstone", "gem"], assemble(parts)


def coin(rng: Rng) -> Made:
    word, rgb = (
        ("golden", GOLD)
        if chance(rng, 0.7)
        else ("silver", SILVER)
        if chance(rng, 0.6)
        else ("bronze", (0.72, 0.45, 0.22))
    )
    disc = cylinder((0, 0, 0), 0.92, between(rng, 0.08, 0.14), "z", 40)
    half = float(disc[..., 2].max())
    rim = join(*(torus((0, 0, s * half), 0.85, (0.07, 0.05), "z") for s in (-1, 1)))
    kind = int(rng.integers(3))
    star = [
        (0.52 * q * np.sin(a), 0.52 * q * np.cos(a))
        for a, q in zip(np.arange(10) * np.pi / 5, (1, 0.42) * 5, strict=True)
    ]
    mark = [
        prism(star, half + 0.05),
        box((0, 0, 0), (0.13, 0.5, half + 0.05), 0.03),
        torus((0, 0, 0), 0.4, (0.1, half + 0.05), "z"),
    ][kind]
    gold = jitter(rng, rgb)
    return named(
        "coin", word, "with a star" if kind == 0 else "", ("gold coin",) if word == "golden" else ("money coin",)
    ), assemble([Part(join(disc, rim), gold), Part(mark, shade(gold, -0.22))])


def skull(rng: Rng) -> Made:
    rgb = jitter(rng, BONE, 0.03)
    wide = between(rng, 0.92, 1.1)
    cranium = ball((0, 0.25, -0.05), (0.62 * wide, 0.6, 0.68), n=26)
    face = join(box((0, -0.2, 0.3), (0.36, 0.26, 0.24), 0.12), pair(ball((0.4, -0.08, 0.34), (0.16, 0.11, 0.2), n=14)))
    jaw = box((0, -0.62, 0.28), (0.32, 0.13, 0.22), 0.1)
    sockets = join(
        pair(ball((0.24, 0.14, 0.52), (0.17, 0.18, 0.12), n=18)), ball((0, -0.12, 0.56), (0.08, 0.12, 0.08), 1.3, n=12)
    )
    teeth = join(*(box((x, -0.45, 0.5), (0.045, 0.08, 0.03), 0.02) for x in np.linspace(-0.23, 0.23, 5)))
    gap = box((0, -0.46, 0.46), (0.3, 0.035, 0.06), 0.01)
    parts = [Part(join(cranium, face, jaw), rgb), Part(join(sockets, gap), (0.10, 0.08, 0.07)), Part(teeth, WHITE)]
    if chance(rng, 0.3):
        word, c = pick(rng, ("red", "blue", "green"))
        parts.append(Part(pair(ball((0.24, 0.14, 0.62), 0.07, n=10)), c))
        return named("skull", "white", f"with glowing {word} eyes", ("human skull",)), assemble(parts)
    return named("skull", "white", "", ("human skull",)), assemble(parts)


def trophy(rng: Rng) -> Made:
    word, rgb = ("golden", GOLD) if chance(rng, 0.75) else ("silver", (0.76, 0.78, 0.81))
    cup = lathe(
        [
            (0, -0.35),
            (0.1, -0.3),
            (0.12, -0.1),
            (0.35, 0.1),
            (0.5, 0.5),
            (0.52, 0.85),
            (0.46, 0.85),
            (0.42, 0.5),
            (0, 0.2),
        ],
        32,
        True,
    )
    foot = lathe([(0, -0.62), (0.3, -0.62), (0.22, -0.52), (0.1, -0.4), (0, -0.3)])
    handles = pair(sweep([(0.48, 0.72, 0), (0.82, 0.68, 0), (0.78, 0.3, 0), (0.36, 0.12, 0)], 0.06))
    parts = [
        Part(join(cup, foot, handles), jitter(rng, rgb)),
        Part(box((0, -0.78, 0), (0.4, 0.17, 0.4), 0.03, 0.88), pick(rng, ("black", "brown", "black"))[1]),
        Part(box((0, -0.78, 0.37), (0.2, 0.08, 0.04), 0.01), rgb),
    ]
    if chance(rng, 0.5):
        a = np.arange(10) * np.pi / 5
        parts.append(
            Part(
                prism([(0.2 * q * np.sin(t), 0.2 * q * np.cos(t)) for t, q in zip(a, (1, 0.42) * 5, strict=True)], 0.06)
                + np.array([0, 0.5, 0.5]),
                RED,
            )
        )
        return named("trophy", word, "with a red star", ("trophy cup",)), assemble(parts)
    return named("trophy", word, "", ("trophy cup",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "sword": sword,
    "shield": shield,
    "axe": axe,
    "hammer": hammer,
    "key": key,
    "crown": crown,
    "gem": gem,
    "coin": coin,
    "skull": skull,
    "trophy": trophy,
}
FRONTED = frozenset({"shield", "skull"})
