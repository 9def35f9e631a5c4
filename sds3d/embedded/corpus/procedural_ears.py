"""Ears and tails of four-legged animals, by the names that `Beast.ears` and `Beast.tail` use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from sds3d.embedded.corpus.procedural_beast import Beast, Coat, joints
from sds3d.embedded.corpus.procedural_kit import Part, Rgb, paint, shade
from sds3d.embedded.corpus.shapes import Array, ball, move, pair, sweep, turn

PINK: Rgb = (0.93, 0.66, 0.66)

Maker = Callable[[Beast, Coat], list[Part]]


def _inner(coat: Coat) -> Rgb:
    return shade(PINK, -0.3) if coat.word == "black" else PINK


# --- ears: made around a skull centred at the origin -----------------------------------------------------------------


def _pointy(b: Beast, coat: Coat) -> list[Part]:
    w, h, e = b.head_w, b.head_h, b.ear
    root, tip = np.array([0.58 * w, 0.62 * h, -0.05]), np.array([0.80 * w, 0.7 * h + e, -0.04])
    cone = sweep([root, tip], [(0.42 * e, 0.2 * e), (0.03 * e, 0.03 * e)], 12)
    lining = [root + [0, 0, 0.13 * e], tip + [0, -0.22 * e, 0.05 * e]]
    inside = sweep(lining, [(0.26 * e, 0.12 * e), (0.02 * e, 0.02 * e)], 10)
    return [Part(pair(cone), coat.main), Part(pair(inside), _inner(coat))]


def _floppy(b: Beast, coat: Coat) -> list[Part]:
    e = b.ear
    flap = turn(ball((0, -0.55 * e, 0), (0.24 * e, 0.75 * e, 0.42 * e), n=14), "z", 16)
    return [Part(pair(move(flap, (0.88 * b.head_w, 0.55 * b.head_h, -0.1 * b.head_d))), shade(coat.main, -0.18))]


def _round(b: Beast, coat: Coat) -> list[Part]:
    x, y, e = 0.72 * b.head_w, 0.85 * b.head_h, b.ear
    disc = pair(ball((x, y, -0.02), (e, e, 0.45 * e), n=14))
    inside = pair(ball((x, y, 0.02 + 0.25 * e), (0.6 * e, 0.6 * e, 0.25 * e), n=12))
    if b.mark == "panda":
        return [Part(disc, coat.marking)]
    return [Part(disc, coat.main), Part(inside, _inner(coat))]


def _side(b: Beast, coat: Coat) -> list[Part]:
    e = b.ear
    leaf = turn(ball((0.55 * e, 0, 0), (0.6 * e, 0.27 * e, 0.2 * e), n=12), "z", -8)
    return [Part(pair(move(leaf, (0.75 * b.head_w, 0.5 * b.head_h, -0.3 * b.head_d))), shade(coat.main, -0.18))]


def _long(b: Beast, coat: Coat) -> list[Part]:
    e, lift = b.ear, (0.38 * b.head_w, 0.65 * b.head_h, -0.05)
    tall = turn(ball((0, 0.9 * e, 0), (0.22 * e, e, 0.14 * e), n=14), "z", -9)
    inside = turn(ball((0, 0.9 * e, 0.07 * e), (0.12 * e, 0.78 * e, 0.1 * e), n=12), "z", -9)
    return [Part(pair(move(tall, lift)), coat.main), Part(pair(move(inside, lift)), _inner(coat))]


def _big(b: Beast, coat: Coat) -> list[Part]:
    e = b.ear
    sail = turn(ball((0.62 * e, -0.15 * e, 0), (0.68 * e, 0.85 * e, 0.07), n=18), "y", 25)
    return [Part(pair(move(sail, (0.7 * b.head_w, 0.2 * b.head_h, -0.2 * b.head_d))), shade(coat.main, -0.12))]


EARS: dict[str, Maker] = {
    "pointy": _pointy,
    "floppy": _floppy,
    "round": _round,
    "side": _side,
    "long": _long,
    "big": _big,
}


# --- tails: in world coordinates --------------------------------------------------------------------------------------


def _tail(b: Beast, points: ArrayLike, radii: ArrayLike, sides: int = 12, steps: int = 5) -> Array:
    """A sweep whose points are relative to the top of the rump."""
    return sweep(joints(b).back + np.asarray(points, float), radii, sides, steps)


def _up(b: Beast, coat: Coat) -> list[Part]:
    return [Part(_tail(b, [(0, 0, 0.1), (0, 0.12, -0.14), (0, 0.38, -0.22)], [0.07, 0.06, 0.03]), coat.main)]


def _long_tail(b: Beast, coat: Coat) -> list[Part]:
    points = [(0, 0, 0.1), (0, -0.02, -0.18), (0.04, 0.18, -0.36), (0.06, 0.46, -0.34), (0.02, 0.62, -0.44)]
    parts = [Part(_tail(b, points, [0.05, 0.05, 0.05, 0.05, 0.04], steps=7), coat.main)]
    if b.lights != "none":
        parts.append(Part(ball(joints(b).back + points[-1], 0.058, n=10), coat.light))
    return parts


def _bushy(b: Beast, coat: Coat) -> list[Part]:
    points = [(0, 0, 0.1), (0, -0.02, -0.2), (0, 0.10, -0.46), (0, 0.32, -0.64)]
    tip = joints(b).back[2] - 0.50
    brush = _tail(b, points, [0.05, 0.12, 0.15, 0.03], 14, 7)
    return paint(brush, coat.main, (lambda x, y, z: z < tip, coat.light))


def _plume(b: Beast, coat: Coat) -> list[Part]:
    points = [(0, -0.03, 0.1), (0, 0.06, -0.14), (0, 0.26, -0.27), (0, 0.46, -0.24)]
    return [Part(_tail(b, points, [0.07, 0.1, 0.11, 0.03], 14, 7), coat.main)]


def _tuft(b: Beast, coat: Coat) -> list[Part]:
    drop = -0.75 * (b.leg + b.deep)
    rope = _tail(b, [(0, 0, 0.1), (0, -0.02, -0.12), (0, 0.6 * drop, -0.2), (0, drop, -0.18)], 0.032, 8)
    return [
        Part(rope, coat.main),
        Part(ball(joints(b).back + [0, drop, -0.18], (0.06, 0.11, 0.06), n=10), coat.marking),
    ]


def _hair(b: Beast, coat: Coat) -> list[Part]:
    points = [(0, 0.0, 0.12), (0, 0.04, -0.14), (0, -0.25, -0.26), (0, -0.62, -0.24)]
    return [Part(_tail(b, points, [0.05, 0.08, 0.11, 0.03]), coat.marking)]


def _pig(b: Beast, coat: Coat) -> list[Part]:
    a = np.linspace(0, 9, 12)
    loop = np.stack([0.06 * np.sin(a), 0.06 * np.cos(a) - 0.1, -0.08 - 0.018 * a], -1)
    return [Part(_tail(b, loop, 0.026, 8, 3), coat.main)]


def _stub(b: Beast, coat: Coat) -> list[Part]:
    bob = ball(joints(b).back + [0, 0, -0.16], (0.1, 0.1, 0.12), n=12)
    return [Part(bob, coat.light if b.lights == "belly" else coat.main)]


TAILS: dict[str, Maker] = {
    "up": _up,
    "long": _long_tail,
    "bushy": _bushy,
    "plume": _plume,
    "tuft": _tuft,
    "hair": _hair,
    "pig": _pig,
    "stub": _stub,
}
