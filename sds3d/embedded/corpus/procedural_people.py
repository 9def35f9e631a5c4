"""People of tales: knight, wizard, astronaut, pirate, princess."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BROWN,
    DARK,
    GOLD,
    GRAY,
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
    prism,
    ring,
    sweep,
    torus,
)


def _person(
    rng: Rng, shirt: Rgb, legs: Rgb, shoes: Rgb = DARK, sleeves: Rgb | None = None, hands: Rgb = SKIN, head: Rgb = SKIN
) -> list[Part]:
    """A stocky figure 2 high: head centre at y 0.62, shoulders at 0.25, feet at -1."""
    pose = between(rng, -0.12, 0.3)
    torso = sweep([(0, -0.35, 0), (0, 0.0, 0), (0, 0.2, 0)], [(0.25, 0.19), (0.27, 0.19), (0.24, 0.16)], 16)
    arm = sweep(
        [(0.26, 0.2, 0), (0.42 + pose * 0.3, -0.08, 0.02), (0.45 + pose * 0.5, -0.32, 0.12)], [0.1, 0.09, 0.08], 12
    )
    leg = sweep([(0.14, -0.4, 0), (0.16, -0.88, 0)], [0.14, 0.11], 12)
    return [
        Part(torso, shirt), Part(pair(arm), sleeves or shirt), Part(pair(leg), legs),
        Part(pair(ball((0.45 + pose * 0.5, -0.38, 0.14), 0.095, n=12)), hands),
        Part(pair(ball((0.16, -0.94, 0.06), (0.12, 0.09, 0.2), n=14)), shoes),
        Part(ball((0, 0.62, 0), (0.29, 0.3, 0.28)), head),
    ]  # fmt: skip


def _face(y: float = 0.64, z: float = 0.25) -> list[Part]:
    smile = sweep([(-0.09, y - 0.12, z + 0.0), (0, y - 0.155, z + 0.03), (0.09, y - 0.12, z + 0.0)], 0.017, 6)
    return [
        *eyes((0.1, y + 0.03, z), 0.045),
        Part(smile, (0.65, 0.2, 0.2)),
        Part(ball((0, y - 0.04, z + 0.04), 0.04, n=8), shade(SKIN, -0.12)),
    ]


def sword_part(at: tuple[float, float, float], blade: Rgb = METAL, hilt: Rgb = GOLD) -> list[Part]:
    """An upright sword held at `at`."""
    edge = prism([(-0.05, 0.1), (0.05, 0.1), (0.05, 0.85), (0, 1.0), (-0.05, 0.85)], 0.025, 0.05)
    guard = join(
        box((0, 0.09, 0), (0.15, 0.03, 0.04), 0.02),
        cylinder((0, -0.03, 0), 0.035, 0.12),
        ball((0, -0.16, 0), 0.055, n=10),
    )
    return [Part(move(edge, at), blade), Part(move(guard, at), hilt)]


def knight(rng: Rng) -> Made:
    word, c = pick(rng, ("red", "blue", "green", "purple", "yellow"))
    steel = jitter(rng, METAL)
    dark = shade(steel, -0.25)
    parts = _person(rng, steel, dark, steel, steel, dark, steel)
    helmet = join(ball((0, 0.64, 0), (0.32, 0.33, 0.31)), sweep([(0, 0.4, 0.0), (0, 0.5, 0)], [0.3, 0.32], 16))
    parts += [
        Part(helmet, shade(steel, 0.1)),
        Part(box((0, 0.68, 0.28), (0.19, 0.035, 0.05), 0.02), BLACK),
        Part(join(*(box((x, 0.53, 0.29), (0.015, 0.06, 0.03), 0.005) for x in (-0.1, 0, 0.1))), BLACK),
    ]
    parts.append(Part(sweep([(0, 0.95, 0.08), (0, 1.15, -0.08), (0, 1.02, -0.34)], [0.07, 0.12, 0.05], 10), c))
    parts.append(Part(prism([(-0.18, 0.18), (0.18, 0.18), (0.2, -0.5), (-0.2, -0.5)], 0.02) + np.array([0, 0, 0.2]), c))
    parts += [Part(pair(ball((0.3, 0.22, 0), (0.15, 0.13, 0.15))), shade(steel, 0.1)), *sword_part((-0.5, -0.36, 0.18))]
    badge = prism([(-0.24, 0.3), (0.24, 0.3), (0.24, -0.05), (0, -0.36), (-0.24, -0.05)], 0.035, 0.1)
    parts += [Part(move(badge, (0.5, -0.28, 0.26)), c), Part(move(badge * [0.25, 0.8, 1.3], (0.5, -0.28, 0.26)), WHITE)]
    return named(
        "knight",
        "",
        f"with {with_article(word)} plume and {with_article(word)} shield",
        ("knight in armor", "armored knight"),
    ), assemble(parts)


def wizard(rng: Rng) -> Made:
    word, rgb = pick(rng, ("blue", "purple", "red", "green", "gray", "black"))
    robe = lathe([(0, -1), (0.56, -1), (0.42, -0.5), (0.28, 0.15), (0.14, 0.36)], 24)
    arms = pair(sweep([(0.22, 0.2, 0), (0.42, -0.05, 0.12), (0.5, -0.15, 0.25)], [0.11, 0.13, 0.15], 12))
    beard = sweep([(0, 0.5, 0.16), (0, 0.2, 0.32), (0, -0.25, 0.34)], [(0.22, 0.12), (0.2, 0.09), (0.03, 0.03)], 12)
    hair = ball((0, 0.56, -0.1), (0.3, 0.3, 0.24))
    hat = join(
        lathe([(0.5, 0.78), (0.52, 0.82), (0.3, 0.86)], 28),
        sweep([(0, 0.8, 0), (0, 1.15, -0.02), (0.06, 1.6, -0.14)], [0.31, 0.19, 0.01], 20),
    )
    parts = [
        Part(join(robe, arms, hat), rgb),
        Part(join(beard, hair), WHITE),
        Part(ball((0, 0.6, 0), (0.27, 0.28, 0.26)), SKIN),
        *_face(0.62, 0.23),
    ]
    parts += [
        Part(lathe([(0.42, -0.42), (0.44, -0.4), (0.42, -0.33), (0.4, -0.31)]), GOLD),
        Part(pair(ball((0.5, -0.17, 0.32), 0.085, n=10)), SKIN),
    ]
    parts.append(
        Part(
            join(
                *(
                    ball(p, 0.05, 1.8, n=10)
                    for p in (
                        (0.1, 1.05, 0.2),
                        (-0.1, 0.95, 0.26),
                        (0.02, 1.28, 0.1),
                        (0.2, -0.6, 0.42),
                        (-0.22, -0.75, 0.46),
                    )
                )
            ),
            GOLD,
        )
    )
    gem_word, gem = pick(rng, ("red", "green", "blue", "purple"), but=(word,))
    parts += [
        Part(sweep([(-0.52, -1.0, 0.34), (-0.52, 0.7, 0.34)], 0.04, 8), BROWN),
        Part(ball((-0.52, 0.78, 0.34), 0.12, n=14), gem),
    ]
    return named(
        "wizard", word, "with a long white beard and a staff", (f"wizard with {with_article(word)} hat",)
    ), assemble(parts)


def astronaut(rng: Rng) -> Made:
    word, rgb = pick(rng, ("white", "white", "white", "orange", "blue"))
    parts = _person(rng, rgb, rgb, GRAY, rgb, GRAY, rgb)
    helmet = paint(
        ball((0, 0.64, 0), (0.38, 0.37, 0.36), n=30),
        rgb,
        (lambda x, y, z: (z > 0.17) & (y > 0.45) & (y < 0.85), (0.12, 0.16, 0.28)),
    )
    parts += [
        *helmet,
        Part(ball((0.12, 0.75, 0.31), (0.06, 0.05, 0.03), n=10), WHITE),
        Part(box((0, 0.0, -0.26), (0.24, 0.3, 0.13), 0.05), shade(GRAY, 0.4)),
    ]
    parts += [
        Part(box((0, 0.02, 0.19), (0.14, 0.1, 0.04), 0.02), GRAY),
        Part(ball((-0.06, 0.04, 0.24), 0.03, n=8), RED),
        Part(ball((0.06, 0.04, 0.24), 0.03, n=8), (0.2, 0.4, 0.9)),
    ]
    parts.append(
        Part(
            join(torus((0, 0.34, 0), 0.22, 0.06), pair(torus((0.16, -0.78, 0), 0.11, 0.035))),
            RED if word != "orange" else GRAY,
        )
    )
    return named("astronaut", word, "", ("spaceman", f"astronaut in {with_article(word)} suit")), assemble(parts)


def pirate(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "blue", "black", "purple"))
    stripes = (lambda x, y, z: np.mod(y * 8, 1) < 0.5, RED if word != "red" else (0.13, 0.3, 0.8))
    base = _person(rng, rgb, BROWN, BLACK)
    parts = paint(base[0].shape, WHITE, stripes) + base[1:]
    coat = sweep([(0, -0.5, -0.02), (0, 0.25, -0.02)], [(0.31, 0.23), (0.27, 0.2)], 16)
    parts += [Part(coat[(np.abs(coat[..., 0]).min(1) > 0.1) | (coat[..., 2].max(1) < 0.0)], rgb), *_face()]
    hat = prism([(-0.52, 0.0), (0.52, 0.0), (0.3, 0.2), (0, 0.34), (-0.3, 0.2)], 0.12, 0.1)
    parts.append(Part(ball((0, 0.62, -0.07), (0.31, 0.32, 0.25)), (0.25, 0.14, 0.08)))
    parts += [
        Part(move(hat, (0, 0.82, 0.05)), BLACK),
        Part(
            join(ball((0, 0.98, 0.19), (0.08, 0.08, 0.03), n=10), box((0, 0.89, 0.18), (0.12, 0.02, 0.02), 0.01)), WHITE
        ),
    ]
    parts += [
        Part(ball((0.1, 0.67, 0.26), (0.09, 0.08, 0.05), n=12), BLACK),
        Part(sweep([(0, 0.45, 0.2), (0, 0.3, 0.24)], [(0.17, 0.1), (0.04, 0.04)], 10), BLACK),
    ]
    return named("pirate", "", f"with a black hat and {with_article(word)} coat", ("pirate captain",)), assemble(
        parts + sword_part((-0.5, -0.36, 0.18))
    )


def princess(rng: Rng) -> Made:
    word, rgb = pick(rng, ("pink", "blue", "purple", "yellow", "red", "white", "green"))
    hair_word, hair = ("blonde", (0.93, 0.78, 0.35)) if chance(rng, 0.5) else ("brown", (0.38, 0.22, 0.1))
    dress = lathe(
        [(0, -1), (0.68, -1), (0.62, -0.75), (0.35, -0.3), (0.2, -0.1), (0.24, 0.2), (0.12, 0.32)],
        28,
        True,
        lambda a, y: 1 + 0.05 * np.cos(10 * a) * (y < -0.4),
    )
    arms = pair(sweep([(0.22, 0.2, 0), (0.38, -0.05, 0.05), (0.42, -0.28, 0.16)], 0.065, 10))
    parts = [
        Part(dress, rgb),
        Part(pair(ball((0.25, 0.2, 0), 0.13)), shade(rgb, 0.3)),
        Part(join(arms, ball((0, 0.6, 0), (0.27, 0.28, 0.26)), cylinder((0, 0.34, 0), 0.08, 0.08)), SKIN),
    ]
    locks = sweep([(0, 0.7, -0.1), (0, 0.3, -0.22), (0, -0.15, -0.22)], [(0.31, 0.22), (0.32, 0.15), (0.2, 0.08)], 16)
    fringe = ball((0, 0.74, 0.0), (0.3, 0.2, 0.27))
    crown = join(
        lathe([(0.18, 0.9), (0.22, 1.0), (0.18, 1.0)], 20),
        ring(sweep([(0, 0.97, 0.2), (0, 1.14, 0.23)], [0.07, 0.01], 8), 6),
    )
    parts += [Part(join(locks, fringe), hair), Part(crown, GOLD), *_face(0.58, 0.24)]
    parts.append(Part(lathe([(0.21, -0.14), (0.23, -0.12), (0.22, -0.05), (0.2, -0.04)]), GOLD))
    return named("princess", "", f"in {with_article(word)} dress", (f"princess with {hair_word} hair",)), assemble(
        parts
    )


GENERATORS: dict[str, Generator] = {
    "knight": knight,
    "wizard": wizard,
    "astronaut": astronaut,
    "pirate": pirate,
    "princess": princess,
}
FRONTED = frozenset(GENERATORS)
