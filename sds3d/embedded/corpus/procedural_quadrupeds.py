"""One parametric four-legged animal: the body, legs, head, ears, tail and coat that every species is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike

from sds3d.embedded.corpus.procedural_kit import BLACK, WHITE, Mask, Part, Rgb, Rng, between, eyes, paint, shade
from sds3d.embedded.corpus.shapes import Array, ball, join, move, pair, sweep, turn

PINK: Rgb = (0.93, 0.66, 0.66)
NOSE: Rgb = (0.10, 0.08, 0.08)


@dataclass(frozen=True)
class Beast:
    """Proportions of a four-legged animal that looks along +Z and stands on y = 0; lengths in units of a dog's body."""

    length: float = 1.15  # of the body
    wide: float = 0.25  # half-width of the body
    deep: float = 0.27  # half-height of the body
    leg: float = 0.42  # free length below the belly
    leg_r: float = 0.095
    neck: float = 0.34
    tilt: float = 50.0  # of the neck over the horizon, degrees
    neck_r: float = 0.17
    head_w: float = 0.23  # half-axes of the skull
    head_h: float = 0.22
    head_d: float = 0.24
    snout: float = 0.20
    snout_r: float = 0.115
    droop: float = 0.10  # how far the snout's tip hangs below its root
    ear: float = 0.22
    ears: str = "pointy"  # pointy | floppy | round | side | long | big | none
    tail: str = "up"  # up | curl | long | bushy | tuft | hair | stub | pig | none
    eye: float = 0.052
    eye_side: float = 28.0  # degrees away from straight ahead
    hoof: bool = False
    mark: str = "none"  # none | spots | stripes | rosettes | panda | saddle: where `marking` goes
    lights: str = "none"  # none | belly | corgi | muzzle: where `light` goes


@dataclass(frozen=True)
class Coat:
    """Colours of one animal."""

    word: str
    main: Rgb
    light: Rgb = WHITE
    marking: Rgb = BLACK
    paw: Rgb | None = None
    nose: Rgb = NOSE
    muzzle: Rgb | None = None


def vary(rng: Rng, beast: Beast, amount: float = 0.12) -> Beast:
    """The same species with every length scaled by its own random factor."""
    lengths = [f.name for f in fields(beast) if isinstance(getattr(beast, f.name), float)]
    return replace(beast, **{k: getattr(beast, k) * between(rng, 1 - amount, 1 + amount) for k in lengths})


@dataclass(frozen=True)
class Joints:
    """Where things attach."""

    body_y: float
    back: Array  # top of the rump
    withers: Array  # root of the neck
    head: Array  # centre of the skull


def joints(b: Beast) -> Joints:
    y = b.leg + 0.8 * b.deep
    withers = np.array([0, y + 0.35 * b.deep, b.length / 2 - 0.75 * b.wide])
    a = np.deg2rad(b.tilt)
    head = withers + (b.neck + 0.1) * np.array([0, np.sin(a), np.cos(a)])
    return Joints(y, np.array([0, y + 0.45 * b.deep, -b.length / 2 + 0.1]), withers, head)


def _marks(b: Beast, coat: Coat, rng: Rng) -> list:
    """Paint rules in world coordinates for the coat's pattern and its light parts."""
    j = joints(b)
    rules: list = []
    if b.lights in ("belly", "corgi"):
        rules.append((lambda x, y, z: (y < j.body_y - 0.45 * b.deep) & (z < j.withers[2] + 0.3), coat.light))
    if b.lights == "corgi":
        rules.append((lambda x, y, z: (z > j.withers[2] + 0.02) & (y < j.head[1] - 0.45 * b.head_h), coat.light))
    if b.mark == "spots":
        at = rng.uniform((-1, 0.3, -1), (1, 1, 1), (9, 3)) * (b.wide, 2 * b.leg + b.deep, b.length / 1.8)
        size = rng.uniform(0.14, 0.24, 9) * b.length / 1.2

        def spotted(x: Array, y: Array, z: Array) -> Mask:
            p = np.stack([x, y, z], -1)[:, None]
            return (np.linalg.norm(p - at, axis=-1) < size).any(1) & (y > 0.7 * b.leg)

        rules.append((spotted, coat.marking))
    if b.mark == "stripes":
        n = between(rng, 30, 36) / b.length

        def striped(x: Array, y: Array, z: Array) -> Mask:
            wave = np.sin(n * (z + 0.25 * np.abs(x)) + 1.5 * np.sin(5 * y))
            high = np.sin(n * 1.1 * y)
            return np.where((y < b.leg) | (z > j.withers[2] + 0.12), high, wave) > 0.3

        rules.append((striped, coat.marking))
    if b.mark == "rosettes":
        seeds = rng.uniform((-1.2, 0, -1), (1.2, 1, 1), (180, 3)) * (b.wide, j.head[1] + 0.2, j.head[2] + 0.2)

        def patchy(x: Array, y: Array, z: Array) -> Mask:
            p = np.stack([x, y, z], -1)
            square = (p * p).sum(1)[:, None] - 2 * p @ seeds.T + (seeds * seeds).sum(1)
            d = np.sqrt(np.maximum(np.partition(square, 1, axis=1)[:, :2], 0))
            return (d[:, 1] - d[:, 0] > 0.022) & (y > 0.5 * b.leg)

        rules.append((patchy, coat.marking))
    if b.mark == "panda":
        rules.append((lambda x, y, z: (np.abs(z - j.withers[2] + 0.05) < 0.16) & (y < j.head[1]), coat.marking))
        rules.append((lambda x, y, z: y < b.leg, coat.marking))
    if b.mark == "saddle":
        top = j.body_y + 0.1 * b.deep
        rules.append((lambda x, y, z: (y > top) & (z < j.withers[2] + 0.1), coat.marking))
    return rules


def beast(b: Beast, coat: Coat, rng: Rng) -> list[Part]:
    """All parts of the animal."""
    j = joints(b)
    end = b.length / 2 - 0.6 * b.wide
    body = sweep(
        [(0, j.body_y, -end), (0, j.body_y + 0.02, -0.3 * end), (0, j.body_y, 0.4 * end), (0, j.body_y + 0.03, end)],
        np.array([(0.92, 0.96), (0.95, 0.93), (1.05, 1.05), (0.88, 0.92)]) * (b.wide, b.deep),
        sides=28,
        steps=8,
    )
    neck = sweep([j.withers, j.head], [(0.8 * b.wide, 0.8 * b.deep), (b.neck_r, b.neck_r)], sides=20, steps=5)
    neck_fine = sweep(
        [j.withers, (j.withers + j.head) / 2, j.head],
        [(0.8 * b.wide, 0.75 * b.deep), ((0.4 * b.wide + 0.5 * b.neck_r), 1.15 * b.neck_r), (b.neck_r, b.neck_r)],
        sides=20,
        steps=8,
    )
    legs = join(*(_leg(b, j, z) for z in (end - 0.1 * b.wide, -end + 0.1 * b.wide)))
    rules = _marks(b, coat, rng)
    parts = [p for s in (body, neck_fine if b.neck > 0.2 else neck, legs) for p in paint(s, coat.main, *rules)]
    paw = coat.paw or (shade(coat.main, -0.1) if not b.hoof else shade(BLACK, 0.1))
    if b.mark == "panda":
        paw = coat.marking
    for z in (end - 0.1 * b.wide, -end + 0.1 * b.wide):
        parts.append(Part(pair(_foot(b, z)), paw))
    return parts + _head(b, coat, j.head, rules if b.mark in ("stripes", "rosettes") else []) + tail(b, coat, j)


def _leg(b: Beast, j: Joints, z: float) -> Array:
    x, bend = 0.68 * b.wide, (-0.10 if z < 0 else 0.02) * b.leg
    path = [(x * 0.9, j.body_y - 0.2 * b.deep, z), (x, 0.55 * b.leg, z + bend), (x, b.leg_r * 0.7, z + 0.2 * bend)]
    return pair(sweep(path, np.array([1.45, 1.02, 0.92]) * b.leg_r, sides=14, steps=8))


def _foot(b: Beast, z: float) -> Array:
    x, r = 0.68 * b.wide, b.leg_r
    if b.hoof:
        return sweep([(x, 0.0, z + 0.02), (x, 1.1 * r, z)], [1.15 * r, 0.95 * r], sides=14, caps="flat")
    return ball((x, 0.72 * r, z + 0.4 * r), (1.18 * r, 0.78 * r, 1.5 * r), n=14)


def _head(b: Beast, coat: Coat, at: Array, rules: list) -> list[Part]:
    w, h, d = b.head_w, b.head_h, b.head_d
    skull = move(ball((0, 0, 0), (w, h, d), n=26), at)
    light = coat.muzzle or (coat.light if b.lights != "none" else None)
    local = list(rules)
    if b.lights == "corgi":
        local.append((lambda x, y, z: (z > at[2]) & ((np.abs(x) < 0.2 * w) | (y < at[1] - 0.25 * h)), coat.light))
    elif b.lights in ("belly", "muzzle"):
        local.append((lambda x, y, z: (z > at[2]) & (y < at[1] - 0.35 * h), coat.light))
    parts = paint(skull, coat.main, *local)
    root, tip = at + [0, -0.28 * h, 0.55 * d], at + [0, -0.28 * h - b.droop, d + b.snout]
    parts.append(Part(sweep([root, tip], [1.25 * b.snout_r, 0.85 * b.snout_r], 16), light or coat.main))
    forward = (tip - root) / np.linalg.norm(tip - root)
    if b.hoof or b.tail == "pig":
        holes = pair(
            ball(tip + 0.75 * b.snout_r * forward + [0.4 * b.snout_r, 0.1 * b.snout_r, 0], 0.2 * b.snout_r, n=8)
        )
        parts.append(Part(holes, shade(coat.nose, -0.2)))
    else:
        nose = tip + 0.55 * b.snout_r * forward + [0, 0.5 * b.snout_r, 0]
        parts.append(Part(ball(nose, np.array([0.55, 0.42, 0.42]) * b.snout_r, n=12), coat.nose))
    a = np.deg2rad(b.eye_side)
    look = np.array([np.sin(a), 0.32, np.cos(a)])
    look /= np.linalg.norm(look)
    spot = at + look * (w, h, d) * 0.97
    if b.mark == "panda":
        parts.append(
            Part(pair(ball(spot - [0, 0.2 * b.eye, 0.2 * b.eye], np.array([1.7, 2.0, 1.0]) * b.eye, n=12)), BLACK)
        )
        return parts + eyes(spot + [0, 0, 0.7 * b.eye], 0.7 * b.eye, "wide") + ears(b, coat, at)
    return parts + eyes(spot, b.eye) + ears(b, coat, at)


def ears(b: Beast, coat: Coat, at: Array) -> list[Part]:
    w, h, e = b.head_w, b.head_h, b.ear
    inner = PINK if coat.word not in ("black",) else shade(PINK, -0.3)
    dark = coat.marking if b.mark == "panda" else shade(coat.main, -0.18)
    if b.ears == "pointy":
        root, tip = np.array([0.58 * w, 0.62 * h, -0.05]), np.array([0.80 * w, 0.7 * h + e, -0.04])
        cone = sweep([root, tip], [(0.42 * e, 0.2 * e), (0.03 * e, 0.03 * e)], 12)
        inside = sweep(
            [root + [0, 0, 0.13 * e], tip + [0, -0.22 * e, 0.05 * e]], [(0.26 * e, 0.12 * e), (0.02 * e, 0.02 * e)], 10
        )
        return [Part(move(pair(cone), at), coat.main), Part(move(pair(inside), at), inner)]
    if b.ears == "floppy":
        flap = turn(ball((0, -0.55 * e, 0), (0.24 * e, 0.75 * e, 0.42 * e), n=14), "z", 16)
        return [Part(move(pair(move(flap, (0.88 * w, 0.55 * h, -0.1 * b.head_d))), at), dark)]
    if b.ears == "round":
        disc = pair(ball((0.72 * w, 0.85 * h, -0.02), (e, e, 0.45 * e), n=14))
        inside = pair(ball((0.72 * w, 0.85 * h, 0.02 + 0.25 * e), (0.6 * e, 0.6 * e, 0.25 * e), n=12))
        rgb = coat.marking if b.mark == "panda" else coat.main
        return [Part(move(disc, at), rgb), Part(move(inside, at), dark if b.mark == "panda" else inner)]
    if b.ears == "side":
        leaf = turn(ball((0.55 * e, 0, 0), (0.6 * e, 0.27 * e, 0.2 * e), n=12), "z", -8)
        return [Part(move(pair(move(leaf, (0.75 * w, 0.5 * h, -0.3 * b.head_d))), at), dark)]
    if b.ears == "long":
        tall = turn(ball((0, 0.9 * e, 0), (0.22 * e, e, 0.14 * e), n=14), "z", -9)
        inside = turn(ball((0, 0.9 * e, 0.07 * e), (0.12 * e, 0.78 * e, 0.1 * e), n=12), "z", -9)
        lift = (0.38 * w, 0.65 * h, -0.05)
        return [Part(move(pair(move(tall, lift)), at), coat.main), Part(move(pair(move(inside, lift)), at), inner)]
    if b.ears == "big":
        sail = turn(ball((0.62 * e, -0.15 * e, 0), (0.68 * e, 0.85 * e, 0.07), n=18), "y", 25)
        return [Part(move(pair(move(sail, (0.7 * w, 0.2 * h, -0.2 * b.head_d))), at), shade(coat.main, -0.12))]
    return []


def tail(b: Beast, coat: Coat, j: Joints) -> list[Part]:
    def path(points: ArrayLike) -> Array:
        return j.back + np.asarray(points, float)

    r = 0.05
    if b.tail == "up":
        return [Part(sweep(path([(0, 0, 0.1), (0, 0.12, -0.14), (0, 0.38, -0.22)]), [0.07, 0.06, 0.03]), coat.main)]
    if b.tail == "curl":
        a = np.linspace(-0.4, 4.6, 8)
        loop = np.stack([0 * a, 0.16 - 0.15 * np.cos(a), -0.02 - 0.13 * np.sin(a)], -1)
        return [Part(sweep(path(loop), np.linspace(0.09, 0.06, 8)), coat.main)]
    if b.tail == "long":
        points = [(0, 0, 0.1), (0, -0.02, -0.18), (0.04, 0.18, -0.36), (0.06, 0.46, -0.34), (0.02, 0.62, -0.44)]
        parts = paint(sweep(path(points), [r, r, r, r, 0.8 * r], 12, 7), coat.main)
        return parts + (
            [Part(ball(path((0.02, 0.62, -0.44)), 1.15 * r, n=10), coat.light)] if b.lights != "none" else []
        )
    if b.tail == "bushy":
        points = [(0, 0, 0.1), (0, -0.02, -0.2), (0, 0.10, -0.46), (0, 0.32, -0.64)]
        brush = sweep(path(points), [0.05, 0.12, 0.15, 0.03], 14, 7)
        z = j.back[2] - 0.50
        return paint(brush, coat.main, (lambda x, y, zz: zz < z, coat.light))
    if b.tail == "tuft":
        drop = -0.75 * (b.leg + b.deep)
        rope = sweep(path([(0, 0, 0.1), (0, -0.02, -0.12), (0, 0.6 * drop, -0.2), (0, drop, -0.18)]), 0.032, 8)
        return [Part(rope, coat.main), Part(ball(path((0, drop, -0.18)), (0.06, 0.11, 0.06), n=10), coat.marking)]
    if b.tail == "hair":
        points = [(0, 0.0, 0.12), (0, 0.04, -0.14), (0, -0.25, -0.26), (0, -0.62, -0.24)]
        return [Part(sweep(path(points), [0.05, 0.08, 0.11, 0.03], 12), coat.marking)]
    if b.tail == "pig":
        a = np.linspace(0, 9, 12)
        loop = np.stack([0.06 * np.sin(a), 0.06 * np.cos(a) - 0.1, -0.08 - 0.018 * a], -1)
        return [Part(sweep(path(loop), 0.026, 8, 3), coat.main)]
    if b.tail == "stub":
        return [
            Part(ball(path((0, 0.0, -0.16)), (0.1, 0.1, 0.12), n=12), coat.light if b.lights == "belly" else coat.main)
        ]
    return []
