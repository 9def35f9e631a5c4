"""Balls, dice, boxes and other things of the house and the playroom."""

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
    Array,
    ball,
    box,
    cylinder,
    grid,
    join,
    lathe,
    pair,
    prism,
    sweep,
    torus,
    turn,
)

_PHI = (1 + 5**0.5) / 2
_ICOSAHEDRON = np.array([v for a in (-1, 1) for b in (-_PHI, _PHI) for v in ((0, a, b), (a, b, 0), (b, 0, a))]) / np.sqrt(1 + _PHI**2)


def _globe(n: int = 40) -> Array:
    return ball((0, 0, 0), 1.0, n=n)


def soccer_ball(rng: Rng) -> Made:
    other, c = ("black", BLACK) if chance(rng, 0.7) else pick(rng, ("blue", "red", "green"))
    corners = turn(turn(_ICOSAHEDRON[:, None], "x", between(rng, 0, 70)), "y", between(rng, 0, 70))[:, 0]

    def patch(x: Array, y: Array, z: Array) -> Array:
        near = np.sort(np.stack([x, y, z], -1) @ corners.T, axis=1)
        seam = (near[:, -1] - near[:, -2] < 0.028) & (near[:, -1] < 0.93)
        return (near[:, -1] > 0.925) | seam

    return named("soccer ball", f"white and {other}", "", ("football",)), assemble(paint(_globe(), WHITE, (patch, c), levels=2))


def basketball(rng: Rng) -> Made:
    tilt = between(rng, 0, 60)

    def seam(x: Array, y: Array, z: Array) -> Array:
        p = turn(turn(np.stack([x, y, z], -1)[:, None], "x", tilt), "y", 20)[:, 0]
        ring_ = np.hypot(np.abs(p[:, 0]) - 1.0, p[:, 1])
        return (np.abs(p[:, 0]) < 0.035) | (np.abs(p[:, 1]) < 0.035) | (np.abs(ring_ - 0.62) < 0.035)

    return named("basketball", "orange", "with black lines"), assemble(paint(_globe(), jitter(rng, (0.88, 0.42, 0.13)), (seam, BLACK), levels=2))


def beach_ball(rng: Rng) -> Made:
    words = [str(w) for w in rng.choice(BRIGHT, 3, replace=False)]

    def slice_(k: int) -> tuple:
        return (lambda x, y, z: np.floor(np.mod(np.arctan2(x, z) * 3 / np.pi, 6)) == 2 * k, COLOURS[words[k]])

    parts = paint(_globe(48), WHITE, *(slice_(k) for k in range(3)))
    tilt = between(rng, 15, 45)
    return named("beach ball", f"{words[0]} and {words[1]}", "with white stripes", ("ball",)), assemble([Part(turn(p.shape, "z", tilt), p.rgb) for p in parts])


def ball_(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    kind = int(rng.integers(3))
    seeds = _ICOSAHEDRON
    rules = [
        (lambda x, y, z: np.abs(y) < 0.22, c),
        (lambda x, y, z: (np.stack([x, y, z], -1) @ seeds.T > 0.95).any(1), c),
    ]
    parts = paint(_globe(), rgb, *(() if kind == 2 else (rules[kind],)), levels=2)
    extra = ("with " + with_article(other) + " stripe", f"with {other} dots", "")[kind]
    return named("ball", word, extra, ("toy ball",)), assemble([Part(turn(p.shape, "z", 18), p.rgb) for p in parts])


def tennis_ball(rng: Rng) -> Made:
    def seam(x: Array, y: Array, z: Array) -> Array:
        a = np.arctan2(z, x)
        return np.abs(y - 0.5 * np.sin(2 * a) * np.sqrt(np.maximum(1 - y * y, 0))) < 0.06

    parts = paint(_globe(), jitter(rng, (0.78, 0.90, 0.22)), (seam, WHITE), levels=2)
    tilt = between(rng, 0, 180)
    return named("tennis ball", "yellow", "with a white line"), assemble([Part(turn(turn(p.shape, "x", 50), "y", tilt), p.rgb) for p in parts])


def dice(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "white", "red", "blue", "black", "green", "yellow"))
    dot = BLACK if word in ("white", "yellow") else WHITE
    q = 0.36
    faces = [[(0, 0)], [(-q, -q), (q, q)], [(-q, -q), (0, 0), (q, q)]]
    faces += [[(x, y) for x in (-q, q) for y in (-q, q)]]
    faces += [[*faces[3], (0, 0)], [(x, y) for x in (-q, q) for y in (-q, 0, q)]]
    spins = {1: ("y", 0), 6: ("y", 180), 2: ("y", 90), 5: ("y", -90), 3: ("x", -90), 4: ("x", 90)}
    pips = [turn(ball((x, y, 0.73), (0.14, 0.14, 0.04), n=12), *spins[k + 1]) for k, face in enumerate(faces) for x, y in face]
    tilt = between(rng, -20, 20)
    cube = box((0, 0, 0), 0.74, 0.16)
    return named("dice", word, f"with {'black' if dot == BLACK else 'white'} dots", ("cube dice", "die")[:1]), assemble([Part(turn(cube, "y", tilt), rgb), Part(turn(join(*pips), "y", tilt), dot)])


def gift_box(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, (*BRIGHT, "white"), but=(word,))
    w, h = between(rng, 0.6, 0.8), between(rng, 0.4, 0.75)
    lid = box((0, h + 0.06, 0), (w + 0.05, 0.12, w + 0.05), 0.03)
    bands = join(box((0, 0, 0), (0.12, h + 0.02, w + 0.02), 0.01), box((0, 0, 0), (w + 0.02, h + 0.02, 0.12), 0.01), box((0, h + 0.07, 0), (0.13, 0.13, w + 0.07), 0.01), box((0, h + 0.07, 0), (w + 0.07, 0.13, 0.13), 0.01))
    loop = turn(torus((0.24, 0, 0), 0.2, (0.05, 0.1), "z"), "z", 30) * [1.15, 0.9, 1]
    bow = join(pair(loop), turn(pair(loop), "y", 90), ball((0, 0.02, 0), 0.12, n=12)) + np.array([0, h + 0.22, 0])
    return named("gift box", word, f"with {with_article(other)} ribbon", ("present", "gift")), assemble([Part(join(box((0, 0, 0), (w, h, w), 0.02)), rgb), Part(lid, shade(rgb, 0.12)), Part(join(bands, bow), c)])


def barrel(rng: Rng) -> Made:
    word, rgb = ("wooden", jitter(rng, shade(WOOD, -0.15), 0.04)) if chance(rng, 0.7) else pick(rng, ("red", "blue", "green", "yellow", "gray"))
    if word == "wooden":
        body = lathe([(0, -0.9), (0.5, -0.9), (0.64, -0.4), (0.68, 0), (0.64, 0.4), (0.5, 0.9), (0, 0.88)], 72, True)
        staves = (lambda x, y, z: np.mod(np.arctan2(x, z) * 9 / np.pi, 1) < 0.17, shade(rgb, -0.35))
        hoops = [torus((0, y, 0), r, (0.025, 0.075)) for y, r in ((-0.72, 0.575), (-0.3, 0.665), (0.3, 0.665), (0.72, 0.575))]
        parts = [*paint(body, rgb, staves), Part(join(*hoops), (0.33, 0.33, 0.36))]
    else:
        body = cylinder((0, 0, 0), 0.6, 0.88, sides=32)
        parts = [Part(body, rgb), Part(join(*(torus((0, y, 0), 0.6, 0.04) for y in (-0.86, -0.3, 0.3, 0.86))), shade(rgb, -0.25)), Part(cylinder((0.25, 0.9, 0), 0.1, 0.03), DARK)]
    if chance(rng, 0.25):
        parts = [Part(turn(turn(p.shape, "x", 90), "y", 35), p.rgb) for p in parts]
    return named("barrel", word, "with metal hoops" if word == "wooden" else "", ("wine barrel",) if word == "wooden" else ("oil drum",)), assemble(parts)


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
    parts = [Part(body, wood), Part(turn(lid + np.array([0, 0.36, 0]), "x", swing, pivot), shade(wood, 0.06)), Part(turn(arcs + np.array([0, 0.36, 0]), "x", swing, pivot), trim)]
    parts.append(Part(join(*straps, box((0, 0.26, 0.53), (0.14, 0.15, 0.05), 0.02), box((0, -0.34, 0), (0.87, 0.05, 0.52), 0.01)), trim))
    parts.append(Part(box((0, 0.24, 0.585), (0.035, 0.06, 0.01), 0.005), BLACK))
    if open_:
        k = np.arange(46)
        at = np.stack([rng.uniform(-0.7, 0.7, 46), 0.34 + rng.uniform(0, 0.1, 46), rng.uniform(-0.38, 0.38, 46)], -1)
        at[:, 1] += 0.14 * (1 - (at[:, 0] / 0.8) ** 2)
        parts.append(Part(join(*(turn(ball(p, (0.11, 0.035, 0.11), n=10), "x", float(25 * np.sin(i)), p) for i, p in zip(k, at, strict=True)), box((0, 0.35, 0), (0.76, 0.03, 0.42), 0.02)), (0.97, 0.78, 0.2)))
        parts += [Part(ball(p + [0, 0.06, 0], 0.09, n=8), COLOURS[c]) for p, c in zip(at[:4], ("red", "green", "blue", "purple"), strict=True)]
        return named("chest", "", "full of gold coins", ("open treasure chest", "treasure chest", "wooden chest")), assemble(parts)
    return named("chest", "wooden", "with a golden lock" if trim == GOLD else "with metal straps", ("treasure chest",)), assemble(parts)


def crate(rng: Rng) -> Made:
    rgb = jitter(rng, WOOD, 0.04)
    dark = shade(rgb, -0.28)
    edge = join(*(turn(join(*(box((s * 0.62, 0, 0.66), (0.1, 0.72, 0.06), 0.01) for s in (-1, 1)), *(box((0, s * 0.62, 0.66), (0.72, 0.1, 0.06), 0.01) for s in (-1, 1)), turn(box((0, 0, 0.66), (0.78, 0.09, 0.05), 0.01), "z", 45)), "y", q) for q in (0, 90, 180, 270)))
    top = join(*(box((s * 0.62, 0.68, 0), (0.1, 0.05, 0.72), 0.01) for s in (-1, 1)), *(box((0, 0.68, s * 0.62), (0.72, 0.05, 0.1), 0.01) for s in (-1, 1)))
    return named("crate", "wooden", "", ("wooden box", "box")), assemble([Part(box((0, 0, 0), 0.66, 0.01), rgb), Part(join(edge, top), dark)])


def lantern(rng: Rng) -> Made:
    word, rgb = pick(rng, ("black", "red", "green", "gray", "brown", "blue"))
    frame = join(*(cylinder((0.36 * s, 0, 0.36 * t), 0.04, 0.5) for s in (-1, 1) for t in (-1, 1)), box((0, -0.55, 0), (0.48, 0.08, 0.48), 0.03), box((0, 0.52, 0), (0.46, 0.05, 0.46), 0.02))
    roof = turn(lathe([(0, 0.55), (0.68, 0.55), (0.16, 0.92), (0, 0.92)], 4), "y", 45)
    parts = [Part(join(frame, roof, torus((0, 1.1, 0), 0.18, 0.04, "z")), rgb), Part(box((0, 0, 0), (0.33, 0.48, 0.33), 0.02), LAMP), Part(lathe([(0, -0.3), (0.14, -0.2), (0.1, 0.0), (0, 0.25)], 12) * 1.0 + np.array([0, 0, 0]), COLOURS["orange"])]
    return named("lantern", word, "with a yellow light", ("old lantern",)), assemble(parts)


def balloon(rng: Rng) -> Made:
    word, rgb = pick(rng, BRIGHT)
    skin = lathe([(0, -0.72), (0.06, -0.7), (0.35, -0.4), (0.62, 0.1), (0.6, 0.5), (0.35, 0.8), (0, 0.9)], 28, True)
    a = np.linspace(0, 1, 8)
    string = np.stack([0.07 * np.sin(5 * a), -0.75 - 0.85 * a, 0 * a], -1)
    parts = [Part(join(skin, lathe([(0.02, -0.7), (0.1, -0.82), (0, -0.8)], 12)), rgb), Part(sweep(string, 0.022, 6), DARK), Part(turn(ball((0.22, 0.5, 0.46), (0.1, 0.16, 0.05), n=12), "z", 25, (0.22, 0.5, 0)), shade(rgb, 0.6))]
    return named("balloon", word, "on a string", ("party balloon",)), assemble(parts)


def heart(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "pink", "purple", "blue", "yellow"))
    t = np.linspace(0, 2 * np.pi, 41)[:-1]
    outline = np.stack([16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)], -1) / 17
    layers = [(1.0, 0.0), (0.94, 0.16), (0.8, 0.26), (0.55, 0.33), (0.25, 0.37)]
    fat = between(rng, 0.8, 1.2)
    lattice = np.stack([np.column_stack([*(np.concatenate([outline, outline[:1]]) * k).T, np.full(41, s * z * fat)]) for s, (k, z) in [(-1, q) for q in [(0.0, 0.38), *layers[::-1]]] + [(1, q) for q in [*layers, (0.0, 0.38)]]])
    return named("heart", word, "", ("heart shape", "love heart")), assemble([Part(grid(lattice), rgb)])


def star(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow",) * 5 + tuple(BRIGHT))
    n = 5
    a = np.arange(2 * n + 1) * np.pi / n
    r = np.where(np.arange(2 * n + 1) % 2, between(rng, 0.42, 0.5), 1.0)
    rim = np.stack([r * np.sin(a), r * np.cos(a), 0 * a], -1)
    points = np.stack([rim * 0 + [0, 0, -0.32], rim, rim * 0 + [0, 0, 0.32]])
    parts = [Part(grid(points), rgb)]
    if chance(rng, 0.35):
        parts += [Part(pair(ball((0.14, 0.1, 0.27), (0.06, 0.1, 0.05), n=12)), BLACK), Part(sweep([(-0.14, -0.1, 0.27), (0, -0.17, 0.29), (0.14, -0.1, 0.27)], 0.03, 8), BLACK)]
        return named("star", word, "with a smiling face", ("happy star",)), assemble(parts)
    return named("star", word, "", ("five pointed star",)), assemble(parts)


def trophy(rng: Rng) -> Made:
    word, rgb = ("golden", GOLD) if chance(rng, 0.75) else ("silver", (0.76, 0.78, 0.81))
    cup = lathe([(0, -0.35), (0.1, -0.3), (0.12, -0.1), (0.35, 0.1), (0.5, 0.5), (0.52, 0.85), (0.46, 0.85), (0.42, 0.5), (0, 0.2)], 32, True)
    foot = lathe([(0, -0.62), (0.3, -0.62), (0.22, -0.52), (0.1, -0.4), (0, -0.3)])
    handles = pair(sweep([(0.48, 0.72, 0), (0.82, 0.68, 0), (0.78, 0.3, 0), (0.36, 0.12, 0)], 0.06))
    parts = [Part(join(cup, foot, handles), jitter(rng, rgb)), Part(box((0, -0.78, 0), (0.4, 0.17, 0.4), 0.03, 0.88), pick(rng, ("black", "brown", "black"))[1]), Part(box((0, -0.78, 0.37), (0.2, 0.08, 0.04), 0.01), rgb)]
    if chance(rng, 0.5):
        a = np.arange(10) * np.pi / 5
        parts.append(Part(prism([(0.2 * q * np.sin(t), 0.2 * q * np.cos(t)) for t, q in zip(a, (1, 0.42) * 5, strict=True)], 0.06) + np.array([0, 0.5, 0.5]), RED))
        return named("trophy", word, "with a red star", ("trophy cup",)), assemble(parts)
    return named("trophy", word, "", ("trophy cup",)), assemble(parts)


def backpack(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, but=(word,))
    h = between(rng, 0.7, 0.85)
    body = box((0, 0, 0), (0.58, h, 0.3), 0.25)
    pocket = box((0, -0.35, 0.32), (0.42, 0.3, 0.14), 0.1)
    strap = pair(sweep([(0.3, 0.6, -0.28), (0.36, 0.3, -0.5), (0.36, -0.3, -0.48), (0.32, -0.55, -0.28)], [(0.09, 0.04)] * 4, 10))
    zip_ = join(sweep([(-0.4, 0.35, 0.29), (-0.3, 0.55, 0.29), (0, 0.62, 0.28), (0.3, 0.55, 0.29), (0.4, 0.35, 0.29)], 0.025, 6), box((0, -0.22, 0.46), (0.34, 0.02, 0.02), 0.01))
    parts = [Part(join(body, torus((0, h, 0), 0.15, 0.045, "z")), rgb), Part(join(pocket, strap), c), Part(zip_, DARK if word != "black" else METAL), Part(pair(box((0.6, -0.4, 0), (0.06, 0.25, 0.17), 0.05)), c)]
    return named("backpack", word, f"with {with_article(other)} pocket", ("school bag",)), assemble(parts)


def bucket(rng: Rng) -> Made:
    word, rgb = pick(rng)
    body = lathe([(0, -0.7), (0.48, -0.7), (0.68, 0.55), (0.74, 0.55), (0.74, 0.62), (0.63, 0.62), (0.45, -0.6), (0, -0.6)], 32)
    handle = torus((0, 0.5, 0), 0.7, 0.04, "z", (0, 180)) if chance(rng, 0.6) else turn(torus((0, 0, 0), 0.7, 0.04, "z", (0, 180)), "x", 65) + np.array([0, 0.5, 0])
    parts = [Part(body, rgb), Part(join(handle, pair(ball((0.7, 0.5, 0), 0.07, n=10))), METAL)]
    fill = str(rng.choice(["water", "sand", "nothing"]))
    if fill != "nothing":
        parts.append(Part(ball((0, 0.42, 0), (0.62, 0.1 if fill == "water" else 0.3, 0.62)), (0.35, 0.62, 0.9) if fill == "water" else (0.92, 0.80, 0.52)))
    return named("bucket", word, f"full of {fill}" if fill != "nothing" else "", ("pail",)), assemble(parts)


def camera(rng: Rng) -> Made:
    word, rgb = pick(rng, ("black", "black", "gray", *BRIGHT))
    body = join(box((0, 0, 0), (0.85, 0.52, 0.26), 0.08), box((0, 0.58, 0), (0.28, 0.14, 0.2), 0.05))
    grip = DARK if word != "black" else GRAY
    lens = join(cylinder((0, -0.02, 0.4), 0.38, 0.18, "z", 28), torus((0, -0.02, 0.56), 0.34, 0.05, "z"))
    parts = [Part(body, rgb), Part(join(lens, box((0, -0.02, 0), (0.86, 0.26, 0.265), 0.02)), grip), Part(cylinder((0, -0.02, 0.56), 0.27, 0.04, "z", 24), (0.16, 0.26, 0.48)), Part(ball((0.08, 0.06, 0.6), (0.07, 0.06, 0.02), n=10), WHITE)]
    parts += [Part(box((-0.58, 0.36, 0.26), (0.15, 0.08, 0.03), 0.01), LAMP), Part(cylinder((0.58, 0.57, 0), 0.11, 0.06), RED), Part(box((0, -0.02, -0.27), (0.45, 0.3, 0.02), 0.01), (0.3, 0.45, 0.6))]
    return named("camera", word, "", ("photo camera",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "soccer ball": soccer_ball, "basketball": basketball, "beach ball": beach_ball, "ball": ball_, "tennis ball": tennis_ball, "dice": dice,
    "gift box": gift_box, "barrel": barrel, "chest": chest, "crate": crate, "lantern": lantern, "balloon": balloon, "heart": heart,
    "star": star, "trophy": trophy, "backpack": backpack, "bucket": bucket, "camera": camera,
}  # fmt: skip
FRONTED = frozenset({"chest", "backpack", "camera"})
