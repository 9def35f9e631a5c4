"""What floats or dives: sailboat, pirate ship, boat, submarine."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_aircraft import wing
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    BRIGHT,
    BROWN,
    COLOURS,
    DARK,
    GLASS,
    METAL,
    RED,
    WHITE,
    WINDOW,
    WOOD,
    Generator,
    Made,
    Part,
    Rng,
    assemble,
    between,
    chance,
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
    move,
    pair,
    side_prism,
    sweep,
    torus,
    turn,
)


def _hull(length: float, beam: float, depth: float, bow: float) -> Array:
    """A boat's hull: bow at +z, deck at y = 0 curving up by `bow`."""
    z = np.linspace(-1, 1, 15)
    wide = beam * np.clip(1 - np.clip(z, 0, 1) ** 2.2, 0.02, 1) * (0.86 + 0.14 * np.clip(z + 1, 0, 1))
    deck = bow * np.clip(z, -0.4, 1) ** 2
    a = np.linspace(-np.pi / 2, np.pi / 2, 13)
    x, y = np.sin(a)[None] * np.ones((15, 1)), -(np.cos(a)[None] ** 0.8) * depth
    rows = np.stack(
        [
            x * wide[:, None],
            deck[:, None] + y * (1 - 0.35 * np.clip(z, 0, 1) ** 3)[:, None],
            z[:, None] * length + 0 * x,
        ],
        -1,
    )
    lid = np.stack([rows[:, 0], rows[:, -1]], 1)
    stern = np.stack([rows[0], np.tile([0.0, 0.0, -length], (13, 1))])
    return join(grid(rows), grid(lid), grid(stern))


def sailboat(rng: Rng) -> Made:
    word, rgb = pick(rng)
    sail, c = pick(rng, ("white", "white", "white", *BRIGHT), but=(word,))
    h = between(rng, 1.35, 1.75)
    main = side_prism([(0.02, 0.2), (-0.78, 0.2), (0.02, h)], 0.025)
    jib = side_prism([(0.14, 0.2), (0.85, 0.16), (0.14, 0.8 * h)], 0.025)
    lean = between(rng, -8, 8)
    mast = join(
        sweep([(0, -0.05, 0.08), (0, h + 0.1, 0.08)], 0.035, 8), sweep([(0, 0.16, 0.05), (0, 0.16, -0.8)], 0.028, 8)
    )
    hull = paint(
        _hull(0.95, 0.36, 0.34, 0.16), rgb, (lambda x, y, z: (y < 0.0) & (y > -0.07), WHITE if word != "white" else RED)
    )
    parts = [
        *hull,
        Part(turn(main, "y", lean), c),
        Part(jib, c),
        Part(mast, BROWN),
        Part(box((0, 0.0, -0.3), (0.24, 0.06, 0.4), 0.03), WOOD),
    ]
    if chance(rng, 0.5):
        parts += [Part(side_prism([(0.08, h + 0.12), (-0.2, h + 0.05), (0.08, h - 0.02)], 0.02), RED)]
    return named("sailboat", word, f"with {sail} sails", ("sailing boat", "yacht")), assemble(parts)


def pirate_ship(rng: Rng) -> Made:
    sail, c = pick(rng, ("white", "white", "black", "red"))
    hull = paint(_hull(1.2, 0.4, 0.48, 0.25), BROWN, (lambda x, y, z: np.mod(y * 7, 1) < 0.25, shade(WOOD, -0.1)))
    aft = join(box((0, 0.18, -0.95), (0.34, 0.22, 0.25), 0.02), box((0, 0.42, -0.95), (0.37, 0.03, 0.28), 0.01))
    parts = [
        *hull,
        Part(aft, shade(BROWN, 0.12)),
        Part(join(*(box((x, 0.2, -1.2), (0.07, 0.08, 0.02), 0.01) for x in (-0.17, 0.17))), (0.95, 0.85, 0.4)),
    ]
    for z, h in ((0.45, 1.3), (-0.2, 1.55)):
        parts.append(Part(sweep([(0, -0.1, z), (0, h, z)], 0.045, 8), BROWN))
        for y, w in ((0.55, 0.62), (1.05, 0.5)):
            sheet = cylinder((0, 0, 0), 0.35, w, "x", 24)
            sheet = sheet[sheet[..., 2].mean(1) > 0.2]
            parts.append(Part(move(sheet * [1, 0.68, 0.8], (0, y, z - 0.06)), c))
    cloth = side_prism([(0, 0), (-0.3, -0.02), (-0.3, -0.22), (0, -0.2)], 0.02)
    parts += [Part(move(cloth, (0, 1.75, -0.2)), BLACK), Part(sweep([(0, 0.15, 1.1), (0, 0.4, 1.6)], 0.04, 8), BROWN)]
    parts.append(Part(pair(join(*(cylinder((0.38, -0.1, z), 0.05, 0.06, "x", 10) for z in (-0.5, -0.1, 0.3)))), DARK))
    return named("pirate ship", "", f"with {sail} sails", ("wooden ship", "sailing ship")), assemble(parts)


def boat(rng: Rng) -> Made:
    word, rgb = pick(rng)
    other, c = pick(rng, (*BRIGHT, "black"), but=(word,))
    hull = paint(
        _hull(1.1, 0.42, 0.4, 0.2), rgb, (lambda x, y, z: y < -0.24, shade(RED, -0.25) if word != "red" else DARK)
    )
    cabin = box((0, 0.26, -0.1), (0.28, 0.26, 0.36), 0.04)
    panes = join(
        pair(join(*(box((0.28, 0.34, z), (0.02, 0.09, 0.09), 0.01) for z in (-0.3, 0.05)))),
        box((0, 0.34, 0.26), (0.2, 0.09, 0.02), 0.01),
    )
    stack = cylinder((0, 0.75, -0.25), 0.12, 0.22)
    parts = [
        *hull,
        Part(cabin, WHITE),
        Part(panes, WINDOW),
        Part(stack, c),
        Part(box((0, 0.54, -0.08), (0.33, 0.03, 0.42), 0.01), c),
    ]
    ringbuoy = torus((0.3, 0.12, -0.35), 0.1, 0.035, "x")
    parts.append(Part(pair(ringbuoy), COLOURS["orange"]))
    return named("boat", word, f"with {with_article(other)} funnel", ("tugboat", "ship")), assemble(parts)


def submarine(rng: Rng) -> Made:
    word, rgb = pick(rng, ("yellow", "yellow", *BRIGHT, "gray", "black"))
    other, c = pick(rng, BRIGHT, but=(word,))
    body = ball((0, 0, 0), (0.42, 0.42, 1.05), 0.9, n=26)
    tower = join(
        box((0, 0.5, 0.1), (0.17, 0.2, 0.3), 0.1),
        sweep([(0, 0.6, 0.15), (0, 0.95, 0.15), (0, 0.97, 0.32)], 0.045, 10, 3),
    )
    fins = join(
        pair(move(wing(0.25, 0.18, 0.3, 0.08), (0.2, 0, -0.7))),
        side_prism([(-0.7, -0.45), (-0.9, -0.45), (-0.95, 0.45), (-0.75, 0.45)], 0.03),
    )
    prop = join(*(turn(ball((0, 0.16, 0), (0.07, 0.16, 0.025), n=10), "z", 45 + 90 * k) for k in range(4)))
    ports = [torus((0.41, 0.05, z), 0.1, 0.03, "x") for z in (-0.35, 0.05, 0.45)]
    glass = [ball((0.39, 0.05, z), (0.05, 0.09, 0.09), n=10) for z in (-0.35, 0.05, 0.45)]
    parts = [
        Part(body, rgb),
        Part(tower, rgb),
        Part(fins, c),
        Part(join(move(prop, (0, 0, -1.15)), pair(join(*ports)), sweep([(0, 0, -1), (0, 0, -1.18)], 0.05, 8)), METAL),
    ]
    parts += [
        Part(join(pair(join(*glass)), ball((0, 0.06, 0.86), (0.22, 0.2, 0.2))), GLASS),
        Part(torus((0, 0.06, 0.92), 0.22, 0.035, "z"), METAL),
    ]
    return named("submarine", word, f"with {other} fins"), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "sailboat": sailboat,
    "pirate ship": pirate_ship,
    "boat": boat,
    "submarine": submarine,
}
FRONTED = frozenset(GENERATORS)
