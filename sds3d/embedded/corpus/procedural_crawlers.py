"""Insects and reptiles: snail, bee, ladybug, butterfly, snake, dinosaur, dragon."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    COLOURS,
    DARK,
    RED,
    WHITE,
    Generator,
    Made,
    Mask,
    Part,
    Rng,
    assemble,
    between,
    chance,
    eyes,
    jitter,
    named,
    paint,
    pick,
    shade,
)
from sds3d.embedded.corpus.shapes import (
    Array,
    ball,
    cylinder,
    join,
    pair,
    prism,
    side_prism,
    sweep,
    turn,
)


def snail(rng: Rng) -> Made:
    word, rgb = pick(rng, ("brown", "brown", *BRIGHT))
    skin = jitter(rng, (0.85, 0.74, 0.50))
    body = sweep(
        [(0, -0.42, -0.95), (0, -0.38, -0.4), (0, -0.36, 0.3), (0, -0.2, 0.68), (0, 0.1, 0.78)],
        [(0.06, 0.04), (0.22, 0.12), (0.25, 0.16), (0.2, 0.17), (0.19, 0.19)],
        16,
        7,
    )
    t = np.linspace(0, 1, 60)
    a = 2.6 * 2 * np.pi * t
    r = 0.5 * (1 - t) ** 0.9
    spiral = np.stack([0.16 * t, 0.12 + r * np.sin(a - 1.2), -0.22 + r * np.cos(a - 1.2)], -1)
    coil = sweep(spiral, 0.24 * (1 - t) + 0.07, 14, 1)
    stalks = pair(join(sweep([(0.07, 0.22, 0.8), (0.16, 0.55, 0.88)], 0.035, 8)))
    parts = [
        Part(body, skin),
        Part(join(coil, coil * [-1, 1, 1]), rgb),
        Part(ball((0, 0.12, -0.22), (0.2, 0.44, 0.44)), shade(rgb, -0.3)),
        Part(stalks, skin),
    ]
    parts += [
        Part(pair(ball((0.16, 0.58, 0.88), 0.075, n=12)), WHITE),
        Part(pair(ball((0.16, 0.58, 0.94), 0.045, n=10)), BLACK),
        Part(sweep([(-0.08, 0.04, 0.94), (0, 0.0, 0.97), (0.08, 0.04, 0.94)], 0.018, 6), DARK),
    ]
    return named("snail", "", f"with {with_article(word)} shell", (f"{word} snail",)), assemble(parts)


def bee(rng: Rng) -> Made:
    fat = between(rng, 0.85, 1.1)
    body = sweep(
        [(0, 0, 0.4), (0, 0, 0.0), (0, -0.02, -0.4), (0, -0.04, -0.72)],
        np.array([0.34, 0.42, 0.36, 0.06]) * fat,
        24,
        10,
    )
    bands = (lambda x, y, z: (np.mod(z * 3.2 + 0.3, 1) < 0.48) & (z < 0.25), BLACK)
    head = ball((0, 0.04, 0.66), 0.3)
    wings = pair(
        turn(turn(ball((0.36, 0, 0), (0.38, 0.035, 0.2), n=18), "z", 38), "y", 18) + np.array([0.08, 0.36, -0.02])
    )
    feelers = pair(join(sweep([(0.1, 0.28, 0.75), (0.18, 0.48, 0.9)], 0.025, 6), ball((0.18, 0.5, 0.91), 0.05, n=8)))
    legs = pair(join(*(sweep([(0.2, -0.3, z), (0.34, -0.52, z + 0.05)], 0.03, 6) for z in (-0.15, 0.1, 0.32))))
    parts = [
        *paint(body, COLOURS["yellow"], bands),
        Part(head, COLOURS["yellow"]),
        Part(wings, (0.86, 0.93, 0.98)),
        Part(join(feelers, legs, sweep([(0, -0.04, -0.7), (0, -0.05, -0.98)], [0.07, 0.005], 8)), BLACK),
        *eyes((0.14, 0.1, 0.87), 0.075),
    ]
    return named("bee", "yellow and black", "with stripes", ("bumblebee",)), assemble(parts)


def ladybug(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "red", "red", "yellow", "orange"))
    shell = ball((0, -0.1, -0.05), (0.62, 0.6, 0.72), n=32, low=0)
    dots = np.array([(0.28, 0.36, 0.22), (0.42, 0.28, -0.16), (0.2, 0.4, -0.38)]) + rng.normal(0, 0.03, (3, 3))

    def spots(x: Array, y: Array, z: Array) -> Mask:
        p = np.stack([np.abs(x), y, z], -1)[:, None]
        return (np.linalg.norm(p - dots, axis=-1) < 0.15).any(1) | (np.abs(x) < 0.03)

    legs = pair(
        join(
            *(
                sweep([(0.4, -0.12, z), (0.75, -0.05, z * 1.3), (0.82, -0.3, z * 1.4)], 0.04, 8)
                for z in (-0.4, 0.0, 0.4)
            )
        )
    )
    feelers = pair(sweep([(0.1, 0.2, 0.85), (0.22, 0.42, 1.02)], 0.03, 6))
    parts = [
        *paint(shell, rgb, (spots, BLACK)),
        Part(
            join(ball((0, -0.1, -0.05), (0.58, 0.1, 0.68)), ball((0, 0.0, 0.68), (0.36, 0.29, 0.28)), legs, feelers),
            BLACK,
        ),
        *eyes((0.18, 0.1, 0.88), 0.09, "wide"),
    ]
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
    dots = join(
        *(
            cylinder((x, y, 0), r, 0.038, "z", 16)
            for x, y, r in ((0.78, 0.62, 0.09), (0.55, 0.42, 0.07), (0.45, -0.4, 0.08))
        )
    )
    rim = BLACK if word not in ("black",) and other != "black" else shade(rgb, -0.5)
    parts = [Part(pair(turn(s, "y", -lift)), k) for s, k in ((edge, rim), (inner, rgb), (dots, c))]
    body = sweep([(0, -0.45, 0), (0, 0.0, 0), (0, 0.35, 0)], [0.05, 0.08, 0.09], 12)
    feelers = pair(
        join(
            sweep([(0.03, 0.4, 0.04), (0.1, 0.65, 0.06), (0.22, 0.78, 0.06)], 0.018, 6),
            ball((0.22, 0.79, 0.06), 0.04, n=8),
        )
    )
    parts.append(Part(join(body, ball((0, 0.38, 0.02), 0.11, n=12), feelers), (0.15, 0.11, 0.10)))
    return named("butterfly", word, f"with {other} dots"), assemble(parts)


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
    parts = [
        *paint(body, rgb, ringed),
        Part(ball((0, 0.98, 0.38), (0.2, 0.15, 0.28)), rgb),
        *eyes((0.13, 1.06, 0.5), 0.06, "wide"),
    ]
    tongue = join(
        sweep([(0, 0.94, 0.62), (0, 0.93, 0.82)], 0.022, 6), pair(sweep([(0, 0.93, 0.8), (0.06, 0.96, 0.92)], 0.018, 6))
    )
    return named("snake", word, f"with {other} stripes", ("coiled snake",)), assemble([*parts, Part(tongue, RED)])


def dinosaur(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green", "green", "green", "orange", "purple", "blue", "brown"))
    rgb = jitter(rng, (0.36, 0.62, 0.26)) if word == "green" else rgb
    light = shade(rgb, 0.5)
    if chance(rng, 0.5):  # on two legs
        spine = [(0, -0.62, -1.15), (0, -0.45, -0.7), (0, -0.1, -0.25), (0, 0.25, 0.08), (0, 0.6, 0.2)]
        body = sweep(spine, [0.03, 0.17, 0.36, 0.32, 0.22], 24, 8)
        head = join(ball((0, 0.78, 0.3), (0.28, 0.27, 0.34)), ball((0, 0.72, 0.6), (0.22, 0.17, 0.26)))
        jaw = ball((0, 0.58, 0.52), (0.19, 0.08, 0.28), n=14)
        legs = pair(
            join(
                sweep([(0.24, -0.15, -0.15), (0.32, -0.5, 0.02), (0.3, -0.8, -0.1)], [0.22, 0.17, 0.11], 12),
                ball((0.3, -0.86, 0.06), (0.15, 0.09, 0.24), n=12),
            )
        )
        arms = pair(sweep([(0.25, 0.25, 0.25), (0.36, 0.08, 0.42), (0.3, 0.06, 0.56)], [0.085, 0.07, 0.05], 10))
        teeth = join(
            *(
                ball((0.17 * np.sin(a), 0.63, 0.58 + 0.26 * np.cos(a)), (0.03, 0.05, 0.03), n=6)
                for a in np.linspace(-1.5, 1.5, 9)
            )
        )
        belly = (lambda x, y, z: (z > 0.12 + 0.15 * y) & (y > -0.5) & (np.abs(x) < 0.24), light)
        parts = [
            *paint(body, rgb, belly),
            Part(join(head, legs, arms), rgb),
            Part(jaw, shade(rgb, -0.2)),
            Part(teeth, WHITE),
            *eyes((0.2, 0.88, 0.5), 0.06),
        ]
        ridge, also = spine, ("t rex", "tyrannosaurus")
    else:  # long neck, four legs
        spine = [
            (0, -0.3, -1.35),
            (0, -0.25, -0.85),
            (0, -0.02, -0.3),
            (0, 0.0, 0.25),
            (0, 0.42, 0.62),
            (0, 0.95, 0.85),
        ]
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
        parts.append(
            Part(
                join(
                    *(
                        sweep([q + away * (r - 0.04), q + away * (r + 0.2)], [(0.03, 0.1), (0.005, 0.005)], 8)
                        for q, r in zip(back, lift, strict=True)
                    )
                ),
                c,
            )
        )
        extra = f"with {spike_word} spikes"
    return named("dinosaur", word, extra, also), assemble(parts)


def dragon(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "green", "blue", "purple", "black", "orange"))
    other, c = pick(rng, ("yellow", "orange", "purple", "red", "blue"), but=(word,))
    spine = [(0, -0.55, -1.2), (0, -0.5, -0.7), (0, -0.15, -0.25), (0, 0.1, 0.1), (0, 0.55, 0.3), (0, 0.78, 0.4)]
    body = sweep(spine, [0.03, 0.14, 0.33, 0.3, 0.16, 0.16], 24, 8)
    head = join(ball((0, 0.86, 0.45), (0.24, 0.22, 0.26)), sweep([(0, 0.82, 0.6), (0, 0.76, 0.88)], [0.16, 0.12], 12))
    legs = pair(
        join(
            sweep([(0.24, -0.25, -0.2), (0.32, -0.7, -0.1)], [0.2, 0.13], 12),
            ball((0.32, -0.78, 0.02), (0.15, 0.09, 0.22), n=12),
            sweep([(0.24, 0.1, 0.22), (0.34, -0.15, 0.4), (0.3, -0.3, 0.46)], [0.1, 0.08, 0.07], 10),
        )
    )
    wing = prism(
        [(0.0, 0.0), (0.45, 0.62), (1.15, 0.68), (0.98, 0.32), (0.8, 0.4), (0.66, 0.05), (0.45, 0.2), (0.25, -0.18)],
        0.025,
    )
    wings = pair(turn(wing, "y", 24) + np.array([0.12, 0.2, -0.15]))
    horns = pair(sweep([(0.12, 1.02, 0.36), (0.2, 1.3, 0.18)], [0.06, 0.01], 8))
    tip = side_prism([(-1.15, -0.55), (-1.42, -0.35), (-1.32, -0.58), (-1.45, -0.75)], 0.03)
    belly = (lambda x, y, z: (z > 0.02 + 0.3 * y) & (y > -0.5) & (np.abs(x) < 0.22), c)
    parts = [
        *paint(body, rgb, belly),
        Part(join(head, legs), rgb),
        Part(join(wings, tip), c),
        Part(horns, (0.93, 0.88, 0.72)),
        *eyes((0.16, 0.96, 0.62), 0.06, "wide"),
    ]
    parts.append(Part(pair(ball((0.06, 0.82, 0.98), 0.03, n=8)), shade(rgb, -0.6)))
    return named("dragon", word, f"with {other} wings", ("baby dragon",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "snail": snail,
    "bee": bee,
    "ladybug": ladybug,
    "butterfly": butterfly,
    "dinosaur": dinosaur,
    "dragon": dragon,
    "snake": snake,
}
FRONTED = frozenset(GENERATORS)
