"""What only some four-legged animals have (mane, horn, trunk, wool) and what any of them may wear."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_beast import Beast, Coat, joints
from sds3d.embedded.corpus.procedural_ears import PINK
from sds3d.embedded.corpus.procedural_kit import (
    BRIGHT,
    COLOURS,
    GOLD,
    WHITE,
    Part,
    Rgb,
    Rng,
    chance,
    pick,
    shade,
)
from sds3d.embedded.corpus.shapes import ball, box, join, move, pair, sweep, torus, turn

IVORY: Rgb = (0.93, 0.89, 0.76)


# --- what some have ------------------------------------------------------------------------------------------------


def crest(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    """A mane of locks down the back of the neck and a forelock."""
    j = joints(b)
    down = np.linspace(0, 1, 6)[:, None]
    line = j.head + [0, 0.75 * b.head_h, -0.55 * b.head_d] + down * (j.withers - j.head + [0, 0.0, -0.1])
    locks = [ball(p, (0.06, 0.13, 0.12), n=12) for p in line]
    fore = ball(j.head + [0, 0.9 * b.head_h, 0.3 * b.head_d], (0.06, 0.06, 0.14), n=10)
    return [Part(join(*locks, fore), coat.marking)]


def unicorn(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    head = joints(b).head + [0, 0.8 * b.head_h, 0.45 * b.head_d]
    horn = sweep([head, head + [0, 0.42, 0.22]], [0.06, 0.004], 10)
    return [*crest(rng, b, coat), Part(horn, GOLD)]


def lion(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0, -0.02, -0.14]
    n = 13
    lobes = [turn(ball((0, 0.27, 0), (0.12, 0.15, 0.14), n=12), "z", 360 * k / n) for k in range(n)]
    return [Part(move(join(ball((0, 0, -0.06), (0.33, 0.33, 0.17)), *lobes), at), coat.marking)]


def trunk(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0, -0.3 * b.head_h, 0.7 * b.head_d]
    path = at + np.array([(0, 0.05, -0.1), (0, -0.08, 0.16), (0, -0.42, 0.22), (0, -0.66, 0.26), (0, -0.66, 0.44)])
    tusk = pair(
        sweep(at + np.array([(0.14, -0.12, 0), (0.17, -0.24, 0.16), (0.15, -0.2, 0.32)]), [0.045, 0.04, 0.01], 10)
    )
    return [Part(sweep(path, [0.16, 0.13, 0.10, 0.08, 0.07]), coat.main), Part(tusk, IVORY)]


def horns(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0, 0.75 * b.head_h, -0.2 * b.head_d]
    path = at + np.array(
        [(0.6 * b.head_w, 0, 0), (0.6 * b.head_w + 0.13, 0.05, 0), (0.6 * b.head_w + 0.16, 0.19, 0.03)]
    )
    return [Part(pair(sweep(path, [0.05, 0.045, 0.008], 10)), IVORY)]


def cow(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    return [*horns(rng, b, coat), Part(ball((0, b.leg - 0.02, -0.25 * b.length), (0.12, 0.1, 0.13), n=12), PINK)]


def goat(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head
    path = at + np.array([(0.1, 0.15, -0.05), (0.13, 0.35, -0.14), (0.17, 0.42, -0.34)])
    beard = sweep(at + np.array([(0, -0.22, 0.25), (0, -0.42, 0.24)]), [0.06, 0.01], 8)
    return [
        Part(pair(sweep(path, [0.055, 0.045, 0.01], 10)), shade(COLOURS["gray"], -0.3)),
        Part(beard, shade(coat.main, -0.15)),
    ]


def wool(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    j = joints(b)
    k = np.arange(64)
    y = 1 - 2 * (k + 0.5) / 64
    a = k * 2.39996
    flat = np.sqrt(1 - y * y)
    at = np.stack([flat * np.cos(a), y, flat * np.sin(a)], -1) * (b.wide * 1.12, b.deep * 1.15, b.length * 0.5)
    tufts = [ball(p + [0, j.body_y + 0.04, -0.02], 0.13, n=9) for p in at]
    cap = [ball(j.head + p, 0.11, n=9) for p in ([0, 0.2, -0.04], [0.11, 0.16, -0.08], [-0.11, 0.16, -0.08])]
    return [Part(join(*tufts, *cap), coat.light)]


def antlers(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0, 0.7 * b.head_h, -0.15]
    beam = sweep(at + np.array([(0.08, 0, 0), (0.24, 0.22, -0.06), (0.26, 0.5, 0.02)]), [0.045, 0.04, 0.015], 8)
    tines = [
        sweep(at + np.array([p, q]), [0.035, 0.01], 8)
        for p, q in (((0.18, 0.14, -0.03), (0.14, 0.34, 0.1)), ((0.25, 0.3, -0.05), (0.42, 0.46, 0)))
    ]
    return [Part(pair(join(beam, *tines)), shade(COLOURS["brown"], 0.25))]


def ossicones(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0.07, 0.7 * b.head_h, -0.05]
    stalk = pair(sweep([at, at + [0.02, 0.18, 0]], 0.028, 8))
    return [Part(stalk, coat.main), Part(pair(ball(at + [0.02, 0.2, 0], 0.05, n=8)), coat.marking)]


def hump(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    y = joints(b).body_y + b.deep
    where = (0.0,) if chance(rng, 0.5) else (-0.24, 0.22)
    size = 0.3 if len(where) == 1 else 0.2
    return [Part(join(*(ball((0, y - 0.04, z), (0.17, 0.3, size)) for z in where)), coat.main)]


def whiskers(rng: Rng, b: Beast, coat: Coat) -> list[Part]:
    at = joints(b).head + [0.6 * b.snout_r, -0.35 * b.head_h, b.head_d + 0.4 * b.snout]
    hairs = [sweep([at, at + [0.2, dy, -0.02]], 0.009, 5) for dy in (0.06, 0.0, -0.06)]
    return [
        Part(pair(join(*hairs)), WHITE if coat.word in ("black", "gray", "orange", "brown") else shade(WHITE, -0.5))
    ]


# --- what any may wear ---------------------------------------------------------------------------------------------


def worn(rng: Rng, b: Beast, avoid: str) -> tuple[str, list[Part]]:
    word, rgb = pick(rng, BRIGHT, but=(avoid,))
    j = joints(b)
    kind = str(rng.choice(["collar", "scarf", "party hat"]))
    if kind == "party hat":
        top = j.head + [0, 0.85 * b.head_h, 0]
        hat = sweep([top, top + [0, 0.36, -0.03]], [0.15, 0.005], 16, caps="flat")
        return f"with {with_article(word)} party hat", [
            Part(hat, rgb),
            Part(ball(top + [0, 0.37, -0.03], 0.05, n=8), WHITE),
        ]
    along = (j.head - j.withers) / np.linalg.norm(j.head - j.withers)
    mid = j.withers + 0.52 * (j.head - j.withers)
    r = 0.45 * b.wide + 0.62 * b.neck_r
    lean = 90 - np.rad2deg(np.arctan2(along[1], along[2]))
    thick = 0.045 if kind == "collar" else 0.085
    band = [Part(move(turn(torus((0, 0, 0), r, thick), "x", lean), mid), rgb)]
    if kind == "collar":
        return f"with {with_article(word)} collar", [*band, Part(ball(mid + [0, -0.08, r + 0.06], 0.06, n=8), GOLD)]
    ends = [
        box(mid + [0.07, -0.2, r + 0.03], (0.06, 0.17, 0.03), 0.02),
        box(mid + [-0.05, -0.15, r + 0.05], (0.06, 0.14, 0.03), 0.02),
    ]
    return f"wearing {with_article(word)} scarf", [*band, Part(join(*ends), rgb)]
