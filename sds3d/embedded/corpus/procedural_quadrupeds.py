"""One parametric four-legged animal: the body, legs and head that every species is made of."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.procedural_beast import Beast, Coat, Joints, joints
from sds3d.embedded.corpus.procedural_coats import pattern
from sds3d.embedded.corpus.procedural_ears import EARS, TAILS
from sds3d.embedded.corpus.procedural_kit import BLACK, Part, Rng, Rule, between, eyes, paint, shade
from sds3d.embedded.corpus.shapes import Array, ball, join, move, pair, sweep


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
    neck = sweep(
        [j.withers, (j.withers + j.head) / 2, j.head],
        [(0.8 * b.wide, 0.75 * b.deep), (0.4 * b.wide + 0.5 * b.neck_r, 1.15 * b.neck_r), (b.neck_r, b.neck_r)],
        sides=20,
        steps=8,
    )
    step = _steps(b, end, rng)
    legs = join(*(_leg(b, j, *foot) for foot in step))
    rules = pattern(b, coat, rng)
    parts = [p for s in (body, neck, legs) for p in paint(s, coat.main, *rules)]
    paw = coat.paw or (shade(coat.main, -0.1) if not b.hoof else shade(BLACK, 0.1))
    if b.mark == "panda":
        paw = coat.marking
    parts.append(Part(join(*(_foot(b, side, z + ahead) for side, z, ahead in step)), paw))
    return parts + _head(b, coat, j.head, rules if b.mark in ("stripes", "rosettes") else []) + TAILS[b.tail](b, coat)


def _steps(b: Beast, end: float, rng: Rng) -> list[tuple[float, float, float]]:
    """(side, z of the hip, how far ahead of it the foot stands) of four legs at a walk: diagonal pairs move alike."""
    phase = between(rng, -1, 1) * b.stride * b.leg
    hip = end - 0.1 * b.wide
    return [(side, z, phase * side * float(np.sign(z))) for z in (hip, -hip) for side in (-1.0, 1.0)]


def _leg(b: Beast, j: Joints, side: float, z: float, ahead: float) -> Array:
    x, bend = 0.7 * side * b.wide, (-0.10 if z < 0 else 0.02) * b.leg
    path = [
        (x * 0.9, j.body_y - 0.2 * b.deep, z),
        (x, 0.55 * b.leg, z + bend + 0.45 * ahead),
        (x, b.leg_r * 0.7, z + 0.2 * bend + ahead),
    ]
    return sweep(path, np.array([1.45, 1.06, 0.98]) * b.leg_r, sides=14, steps=8)


def _foot(b: Beast, side: float, z: float) -> Array:
    x, r = 0.7 * side * b.wide, b.leg_r
    if b.hoof:
        return sweep([(x, 0.0, z + 0.02), (x, 1.1 * r, z)], [1.2 * r, 1.0 * r], sides=14, caps="flat")
    return ball((x, 0.72 * r, z + 0.4 * r), (1.18 * r, 0.78 * r, 1.5 * r), n=14)


def _head(b: Beast, coat: Coat, at: Array, rules: list[Rule]) -> list[Part]:
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
        return parts + eyes(spot + [0, 0, 0.7 * b.eye], 0.7 * b.eye, "wide") + _ears(b, coat, at)
    return parts + eyes(spot, b.eye) + _ears(b, coat, at)


def _ears(b: Beast, coat: Coat, at: Array) -> list[Part]:
    return [Part(move(p.shape, at), p.rgb) for p in EARS[b.ears](b, coat)]
