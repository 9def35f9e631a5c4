"""Boxes and gear: gift box, barrel, chest, crate, lantern, backpack, bucket, camera."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    COLOURS,
    DARK,
    GOLD,
    GRAY,
    LAMP,
    METAL,
    RED,
    WHITE,
    WOOD,
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
)
from sds3d.embedded.corpus.shapes import (
    ball,
    box,
    cylinder,
    join,
    lathe,
    pair,
    sweep,
    torus,
    turn,
)


def gift_box(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, (*BRIGHT, "white"), but=(word,))
    w, h = between(rng, 0.6, 0.8), between(rng, 0.4, 0.75)
    lid = box((0, h + 0.06, 0), (w + 0.05, 0.12, w + 0.05), 0.03)
    bands = join(
        box((0, 0, 0), (0.12, h + 0.02, w + 0.02), 0.01),
        box((0, 0, 0), (w + 0.02, h + 0.02, 0.12), 0.01),
        box((0, h + 0.07, 0), (0.13, 0.13, w + 0.07), 0.01),
        box((0, h + 0.07, 0), (w + 0.07, 0.13, 0.13), 0.01),
    )
    loop = turn(torus((0.24, 0, 0), 0.2, (0.05, 0.1), "z"), "z", 30) * [1.15, 0.9, 1]
    bow = join(pair(loop), turn(pair(loop), "y", 90), ball((0, 0.02, 0), 0.12, n=12)) + np.array([0, h + 0.22, 0])
    return named("gift box", word, f"with {with_article(other)} ribbon", ("present", "gift")), assemble(
        [Part(join(box((0, 0, 0), (w, h, w), 0.02)), rgb), Part(lid, shade(rgb, 0.12)), Part(join(bands, bow), c)]
    )


def barrel(rng: Rng) -> Made:
    word, rgb = (
        ("wooden", jitter(rng, shade(WOOD, -0.15), 0.04))
        if chance(rng, 0.7)
        else pick(rng, ("red", "blue", "green", "yellow", "gray"))
    )
    if word == "wooden":
        body = lathe([(0, -0.9), (0.5, -0.9), (0.64, -0.4), (0.68, 0), (0.64, 0.4), (0.5, 0.9), (0, 0.88)], 72, True)
        staves = (lambda x, y, z: np.mod(np.arctan2(x, z) * 9 / np.pi, 1) < 0.17, shade(rgb, -0.35))
        hoops = [
            torus((0, y, 0), r, (0.025, 0.075)) for y, r in ((-0.72, 0.575), (-0.3, 0.665), (0.3, 0.665), (0.72, 0.575))
        ]
        parts = [*paint(body, rgb, staves), Part(join(*hoops), (0.33, 0.33, 0.36))]
    else:
        body = cylinder((0, 0, 0), 0.6, 0.88, sides=32)
        parts = [
            Part(body, rgb),
            Part(join(*(torus((0, y, 0), 0.6, 0.04) for y in (-0.86, -0.3, 0.3, 0.86))), shade(rgb, -0.25)),
            Part(cylinder((0.25, 0.9, 0), 0.1, 0.03), DARK),
        ]
    if chance(rng, 0.25):
        parts = [Part(turn(turn(p.shape, "x", 90), "y", 35), p.rgb) for p in parts]
    return named(
        "barrel",
        word,
        "with metal hoops" if word == "wooden" else "",
        ("wine barrel",) if word == "wooden" else ("oil drum",),
    ), assemble(parts)


def chest(rng: Rng) -> Made:
    wood = jitter(rng, (0.48, 0.28, 0.13), 0.03)
    trim = GOLD if chance(rng, 0.7) else METAL
    body = box((0, 0, 0), (0.85, 0.36, 0.5), 0.02)
    lid = lathe([(0, -0.85), (0.5, -0.85), (0.5, 0.85), (0, 0.85)], 32)
    lid = turn(lid[lid[..., 2].mean(1) > 0], "z", 90)
    lid = turn(lid, "x", -90) * [1, 0.8, 1]
    open_ = chance(rng, 0.45)
    swing = -between(rng, 45, 75) if open_ else 0.0
    straps = [box((x, 0, 0), (0.07, 0.37, 0.52), 0.01) for x in (-0.78, 0, 0.78)]
    arcs = join(*(torus((x, 0, 0), 0.5, (0.03, 0.07), "x", (0, 180)) * [1, 0.82, 1.02] for x in (-0.78, 0, 0.78)))
    pivot = (0, 0.36, -0.5)
    parts = [
        Part(body, wood),
        Part(turn(lid + np.array([0, 0.36, 0]), "x", swing, pivot), shade(wood, 0.06)),
        Part(turn(arcs + np.array([0, 0.36, 0]), "x", swing, pivot), trim),
    ]
    parts.append(
        Part(
            join(*straps, box((0, 0.26, 0.53), (0.14, 0.15, 0.05), 0.02), box((0, -0.34, 0), (0.87, 0.05, 0.52), 0.01)),
            trim,
        )
    )
    parts.append(Part(box((0, 0.24, 0.585), (0.035, 0.06, 0.01), 0.005), BLACK))
    if open_:
        k = np.arange(46)
        at = np.stack([rng.uniform(-0.7, 0.7, 46), 0.34 + rng.uniform(0, 0.1, 46), rng.uniform(-0.38, 0.38, 46)], -1)
        at[:, 1] += 0.14 * (1 - (at[:, 0] / 0.8) ** 2)
        parts.append(
            Part(
                join(
                    *(
                        turn(ball(p, (0.11, 0.035, 0.11), n=10), "x", float(25 * np.sin(i)), p)
                        for i, p in zip(k, at, strict=True)
                    ),
                    box((0, 0.35, 0), (0.76, 0.03, 0.42), 0.02),
                ),
                (0.97, 0.78, 0.2),
            )
        )
        parts += [
            Part(ball(p + [0, 0.06, 0], 0.09, n=8), COLOURS[c])
            for p, c in zip(at[:4], ("red", "green", "blue", "purple"), strict=True)
        ]
        return named(
            "chest", "", "full of gold coins", ("open treasure chest", "treasure chest", "wooden chest")
        ), assemble(parts)
    return named(
        "chest", "wooden", "with a golden lock" if trim == GOLD else "with metal straps", ("treasure chest",)
    ), assemble(parts)


def crate(rng: Rng) -> Made:
    rgb = jitter(rng, WOOD, 0.04)
    dark = shade(rgb, -0.28)
    edge = join(
        *(
            turn(
                join(
                    *(box((s * 0.62, 0, 0.66), (0.1, 0.72, 0.06), 0.01) for s in (-1, 1)),
                    *(box((0, s * 0.62, 0.66), (0.72, 0.1, 0.06), 0.01) for s in (-1, 1)),
                    turn(box((0, 0, 0.66), (0.78, 0.09, 0.05), 0.01), "z", 45),
                ),
                "y",
                q,
            )
            for q in (0, 90, 180, 270)
        )
    )
    top = join(
        *(box((s * 0.62, 0.68, 0), (0.1, 0.05, 0.72), 0.01) for s in (-1, 1)),
        *(box((0, 0.68, s * 0.62), (0.72, 0.05, 0.1), 0.01) for s in (-1, 1)),
    )
    return named("crate", "wooden", "", ("wooden box", "box")), assemble(
        [Part(box((0, 0, 0), 0.66, 0.01), rgb), Part(join(edge, top), dark)]
    )


def lantern(rng: Rng) -> Made:
    word, rgb = pick(rng, ("black", "red", "green", "gray", "brown", "blue"))
    frame = join(
        *(cylinder((0.36 * s, 0, 0.36 * t), 0.04, 0.5) for s in (-1, 1) for t in (-1, 1)),
        box((0, -0.55, 0), (0.48, 0.08, 0.48), 0.03),
        box((0, 0.52, 0), (0.46, 0.05, 0.46), 0.02),
    )
    roof = turn(lathe([(0, 0.55), (0.68, 0.55), (0.16, 0.92), (0, 0.92)], 4), "y", 45)
    parts = [
        Part(join(frame, roof, torus((0, 1.1, 0), 0.18, 0.04, "z")), rgb),
        Part(box((0, 0, 0), (0.33, 0.48, 0.33), 0.02), LAMP),
    ]
    return named("lantern", word, "with a yellow light", ("old lantern",)), assemble(parts)


def backpack(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    h = between(rng, 0.7, 0.85)
    body = box((0, 0, 0), (0.58, h, 0.3), 0.25)
    pocket = box((0, -0.35, 0.32), (0.42, 0.3, 0.14), 0.1)
    strap = pair(
        sweep([(0.3, 0.6, -0.28), (0.36, 0.3, -0.5), (0.36, -0.3, -0.48), (0.32, -0.55, -0.28)], [(0.09, 0.04)] * 4, 10)
    )
    zip_ = join(
        sweep(
            [(-0.4, 0.35, 0.29), (-0.3, 0.55, 0.29), (0, 0.62, 0.28), (0.3, 0.55, 0.29), (0.4, 0.35, 0.29)], 0.025, 6
        ),
        box((0, -0.22, 0.46), (0.34, 0.02, 0.02), 0.01),
    )
    parts = [
        Part(join(body, torus((0, h, 0), 0.15, 0.045, "z")), rgb),
        Part(join(pocket, strap), c),
        Part(zip_, DARK if word != "black" else METAL),
        Part(pair(box((0.6, -0.4, 0), (0.06, 0.25, 0.17), 0.05)), c),
    ]
    return named("backpack", word, f"with {with_article(other)} pocket", ("school bag",)), assemble(parts)


def bucket(rng: Rng) -> Made:
    word, rgb = pick(rng)
    body = lathe(
        [(0, -0.7), (0.48, -0.7), (0.68, 0.55), (0.74, 0.55), (0.74, 0.62), (0.63, 0.62), (0.45, -0.6), (0, -0.6)], 32
    )
    handle = (
        torus((0, 0.5, 0), 0.7, 0.04, "z", (0, 180))
        if chance(rng, 0.6)
        else turn(torus((0, 0, 0), 0.7, 0.04, "z", (0, 180)), "x", 65) + np.array([0, 0.5, 0])
    )
    parts = [Part(body, rgb), Part(join(handle, pair(ball((0.7, 0.5, 0), 0.07, n=10))), METAL)]
    fill = str(rng.choice(["water", "sand", "nothing"]))
    if fill != "nothing":
        parts.append(
            Part(
                ball((0, 0.42, 0), (0.62, 0.1 if fill == "water" else 0.3, 0.62)),
                (0.35, 0.62, 0.9) if fill == "water" else (0.92, 0.80, 0.52),
            )
        )
    return named("bucket", word, f"full of {fill}" if fill != "nothing" else "", ("pail",)), assemble(parts)


def camera(rng: Rng) -> Made:
    word, rgb = pick(rng, ("black", "black", "gray", *BRIGHT))
    body = join(box((0, 0, 0), (0.85, 0.52, 0.26), 0.08), box((0, 0.58, 0), (0.28, 0.14, 0.2), 0.05))
    grip = DARK if word != "black" else GRAY
    lens = join(cylinder((0, -0.02, 0.4), 0.38, 0.18, "z", 28), torus((0, -0.02, 0.56), 0.34, 0.05, "z"))
    parts = [
        Part(body, rgb),
        Part(join(lens, box((0, -0.02, 0), (0.86, 0.26, 0.265), 0.02)), grip),
        Part(cylinder((0, -0.02, 0.56), 0.27, 0.04, "z", 24), (0.16, 0.26, 0.48)),
        Part(ball((0.08, 0.06, 0.6), (0.07, 0.06, 0.02), n=10), WHITE),
    ]
    parts += [
        Part(box((-0.58, 0.36, 0.26), (0.15, 0.08, 0.03), 0.01), LAMP),
        Part(cylinder((0.58, 0.57, 0), 0.11, 0.06), RED),
        Part(box((0, -0.02, -0.27), (0.45, 0.3, 0.02), 0.01), (0.3, 0.45, 0.6)),
    ]
    return named("camera", word, "", ("photo camera",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "gift box": gift_box,
    "barrel": barrel,
    "chest": chest,
    "crate": crate,
    "lantern": lantern,
    "backpack": backpack,
    "bucket": bucket,
    "camera": camera,
}
FRONTED = frozenset({"chest", "backpack", "camera"})
