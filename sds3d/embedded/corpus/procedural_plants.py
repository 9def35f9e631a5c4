"""Plants: tree, pine tree, palm tree, mushroom, flower, sunflower, cactus, bush."""

from __future__ import annotations

import numpy as np

from sds3d.embedded.corpus.names import with_article
from sds3d.embedded.corpus.procedural_kit import (
    BARK,
    COLOURS,
    GOLD,
    LEAF,
    WHITE,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    Rule,
    assemble,
    between,
    chance,
    jitter,
    named,
    natural,
    paint,
    pick,
)
from sds3d.embedded.corpus.shapes import Array, ball, cylinder, join, lathe, move, prism, ring, sweep, torus, turn

POT: Rgb = (0.76, 0.42, 0.26)


def pot(y: float, r: float, h: float) -> Array:
    """A flower pot whose rim is at height y."""
    return lathe(
        [
            (0, y - h),
            (0.72 * r, y - h),
            (0.95 * r, y - 0.12),
            (1.08 * r, y - 0.12),
            (1.08 * r, y),
            (0.9 * r, y),
            (0.85 * r, y - 0.06),
            (0, y - 0.06),
        ]
    )


def _crown(rng: Rng, at: Array, r: float, n: int) -> Array:
    """A cloud of balls: leaves of a round tree or a bush."""
    around = rng.normal(size=(n, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    lobes = [ball(at + 0.62 * r * d * (1, 0.8, 1), r * between(rng, 0.42, 0.56), n=14) for d in around]
    return join(ball(at, 0.78 * r, n=18), *lobes)


def tree(rng: Rng) -> Made:
    word, rgb = pick(rng, ("green",) * 8 + ("orange", "red", "yellow", "pink", "white", "purple"))
    rgb = jitter(rng, LEAF, 0.05) if word == "green" else rgb
    h, r, w = between(rng, 0.6, 1.0), between(rng, 0.6, 0.85), between(rng, 0.13, 0.19)
    top = np.array([0, h + 0.6 * r, 0])
    trunk = sweep([(0, 0, 0), (between(rng, -0.08, 0.08), 0.5 * h, 0), top], [1.4 * w, w, 0.7 * w], 12, caps="flat")
    crown = _crown(rng, top + [0, 0.15, 0], r, int(rng.integers(8, 14))) * [1, between(rng, 0.85, 1.15), 1]
    parts = [Part(trunk, jitter(rng, BARK)), Part(crown, rgb)]
    extra = ""
    if word == "green" and chance(rng, 0.3):
        fruit, c = pick(rng, ("red", "orange", "yellow"))
        d = rng.normal(size=(22, 3))
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        middle = crown.reshape(-1, 3).mean(0)
        parts.append(Part(join(*(ball(middle + r * 1.02 * k, 0.09, n=9) for k in d)), c))
        extra = "with red apples" if fruit == "red" else f"with {fruit} fruit"
    kind = {"green": "round", "orange": "autumn", "red": "autumn", "yellow": "autumn"}.get(word, "blossoming")
    return named("tree", word, extra, (f"{kind} tree",), plain=word == "green"), assemble(parts)


def _pine(rng: Rng) -> tuple[list[Part], list[Part], Array]:
    """A fir: its parts, the snow that may lie on its tiers, and points on its outside; 2 or so high."""
    rgb = jitter(rng, (0.12, 0.42, 0.2), 0.035)
    n, r, h = int(rng.integers(3, 6)), between(rng, 0.55, 0.75), between(rng, 1.5, 1.9)
    step = h / (n + 0.6)
    tiers, snow = [], []
    for k in range(n):
        y, s, tall = 0.4 + step * k, r * (1 - 0.85 * k / n), 1.6 * h / n

        def frill(a: Array, y: Array) -> Array:
            return 1 + 0.08 * np.cos(9 * a)

        tiers.append(
            lathe(
                [(0, y + 0.06), (s, y), (0.55 * s, y + 0.2 * tall), (0.08 * s, y + tall), (0, y + tall)],
                18,
                wobble=frill,
            )
        )
        white = [
            (0.62 * s, y + 0.14 * tall),
            (0.6 * s, y + 0.24 * tall),
            (0.1 * s, y + tall + 0.03),
            (0, y + tall + 0.03),
        ]
        snow.append(lathe(white, 18, wobble=lambda a, y: 1.05 + 0.1 * np.cos(9 * a)))
    t = np.linspace(0.02, 0.86, 28)
    a = np.arange(28) * 2.4
    radius = r * (1 - 0.85 * t) * 0.9
    outside = np.stack([radius * np.sin(a), 0.42 + t * h, radius * np.cos(a)], -1)
    parts = [Part(join(*tiers), rgb), Part(cylinder((0, 0.22, 0), 0.13, 0.24), jitter(rng, BARK))]
    return parts, [Part(join(*snow), WHITE)], outside


def pine_tree(rng: Rng) -> Made:
    parts, snow, _ = _pine(rng)
    if chance(rng, 0.25):
        return named("pine tree", "", "covered in snow", ("snowy pine tree", "fir tree")), assemble(parts + snow)
    return named("pine tree", "green", "", ("fir tree", "evergreen tree")), assemble(parts)


def christmas_tree(rng: Rng) -> Made:
    parts, snow, outside = _pine(rng)
    words = [str(w) for w in rng.choice(("red", "yellow", "blue", "purple", "pink", "white"), 2, replace=False)]
    for k, word in enumerate(words):
        parts.append(Part(join(*(ball(p, 0.08, n=10) for p in outside[k::2])), COLOURS[word]))
    top = parts[0].shape[..., 1].max()
    star = [
        (0.2 * np.sin(a), 0.2 * np.cos(a)) if k % 2 == 0 else (0.085 * np.sin(a), 0.085 * np.cos(a))
        for k, a in enumerate(np.arange(10) * np.pi / 5)
    ]
    parts.append(Part(move(prism(star, 0.05, 0.1), (0, top + 0.1, 0)), GOLD))
    if chance(rng, 0.4):
        parts += snow
    balls = f"with {words[0]} and {words[1]} balls"
    return named("christmas tree", "green", balls, ("decorated christmas tree",)), assemble(parts)


def palm_tree(rng: Rng) -> Made:
    lean, h = between(rng, -0.4, 0.4), between(rng, 1.3, 1.8)
    trunk = sweep([(0, 0, 0), (0.3 * lean, 0.5 * h, 0), (lean, h, 0)], [0.14, 0.1, 0.085], 12, 8)
    n = int(rng.integers(7, 10))
    rgb = jitter(rng, LEAF, 0.03)
    frond = sweep(
        [(0, 0, 0), (0, 0.22, 0.4), (0, 0.08, 0.8), (0, -0.3, 1.0)],
        [(0.06, 0.03), (0.19, 0.03), (0.16, 0.03), (0.01, 0.01)],
        8,
    )
    crown = move(
        join(*(turn(turn(frond, "x", between(rng, -12, 14)), "y", 360 * k / n) for k in range(n))), (lean, h, 0)
    )
    nuts = move(ring(ball((0, -0.08, 0.12), 0.1, n=10), 3), (lean, h, 0))
    rings = [torus((lean * (t**1.5), h * t, 0), 0.125 - 0.03 * t, 0.025) for t in np.linspace(0.12, 0.9, 7)]
    parts = [
        Part(trunk, (0.62, 0.45, 0.28)),
        Part(join(*rings), (0.45, 0.31, 0.18)),
        Part(crown, rgb),
        Part(nuts, COLOURS["brown"]),
    ]
    return named("palm tree", "green", "with coconuts"), assemble(parts)


def mushroom(rng: Rng) -> Made:
    word, rgb, _ = natural(rng, ("red",) * 6 + ("brown", "brown", "orange", "white"), 0.2)
    h, w, tall = between(rng, 0.7, 1.0), between(rng, 0.8, 1.0), between(rng, 0.6, 0.85)
    stem = lathe([(0, -h), (0.38, -h), (0.34, -0.7 * h), (0.27, -0.3), (0.28, 0.1), (0, 0.1)], smooth=True)
    profile = np.array([(0.0, 0.04), (0.6, 0.02), (0.92, -0.02), (1.0, 0.1), (0.85, 0.45), (0.5, 0.82), (0.0, 1.0)]) * (
        w,
        tall,
    )
    gills: Rule = (lambda x, y, z: (y < 0.06 * tall) & (np.hypot(x, z) < 0.84 * w), (0.93, 0.86, 0.72))
    cap = paint(lathe(profile.tolist(), 30, smooth=True), rgb, gills)
    parts = [Part(stem, (0.94, 0.90, 0.80)), *cap]
    extra = ""
    if word in ("red", "orange", "blue", "purple", "pink", "green") and chance(rng, 0.9):
        spots = []
        for n, y, size in ((1, 0.98, 0.16), (5, 0.76, 0.14), (8, 0.38, 0.13)):
            r = np.interp(y, profile[3:, 1] / tall, profile[3:, 0])
            flat = (1.0, 0.4, 1.0) if y > 0.9 else (1.0, 0.9, 1.0)
            spots.append(
                ring(
                    ball((0, y * tall, r * 0.95), np.array(flat) * size * between(rng, 0.85, 1.1), n=12),
                    n,
                    between(rng, 0, 90),
                )
            )
        parts.append(Part(join(*spots), WHITE))
        extra = "with white spots"
    also = ("toadstool",) if extra else ()
    return named("mushroom", word, extra, also, plain=word == "red" and bool(extra)), assemble(parts)


def flower(rng: Rng) -> Made:
    word, rgb = pick(rng, ("red", "yellow", "pink", "purple", "white", "blue", "orange"))
    n, size = int(rng.integers(5, 9)), between(rng, 0.8, 1.1)
    at = np.array([0, 0.75, 0.08])
    petals = [turn(ball((0, 0.36 * size, 0), (1.25 / n * size, 0.3 * size, 0.07)), "z", 360 * k / n) for k in range(n)]
    heart = COLOURS["yellow"] if word not in ("yellow", "orange") else COLOURS["brown"]
    tilt = -between(rng, 5, 25)
    face = [Part(join(*petals), rgb), Part(ball((0, 0, 0.05), (0.2 * size, 0.2 * size, 0.13)), heart)]
    parts = [Part(move(turn(p.shape, "x", tilt), at), p.rgb) for p in face]
    leaf = turn(ball((0.32, 0, 0), (0.32, 0.12, 0.04), (1, 1.3)), "z", 32)
    parts.append(
        Part(
            join(
                sweep([at, (0, 0.2, 0), (0, -1, 0)], 0.05, 10),
                move(leaf, (0, -0.55, 0)),
                move(leaf * [-1, 1, 1], (0, -0.3, 0)),
            ),
            jitter(rng, LEAF),
        )
    )
    extra = ""
    if chance(rng, 0.4):
        parts.append(Part(pot(-0.75, 0.36, 0.5), POT))
        extra = "in a pot"
    return named("flower", word, extra, ("daisy",) if word == "white" else ()), assemble(parts)


def sunflower(rng: Rng) -> Made:
    n = int(rng.integers(13, 18))
    petals = [
        turn(ball((0, 0.5, 0.02 * (k % 2)), (0.1, 0.25, 0.05), (1, 1.3), n=12), "z", 360 * k / n) for k in range(n)
    ]
    head = [Part(join(*petals), (0.97, 0.76, 0.1)), Part(ball((0, 0, 0.03), (0.36, 0.36, 0.11)), (0.30, 0.18, 0.09))]
    head.append(Part(ball((0, 0, -0.05), (0.34, 0.34, 0.1)), LEAF))
    parts = [Part(move(turn(p.shape, "x", -8), (0, 0.65, 0.1)), p.rgb) for p in head]
    leaf = turn(ball((0.36, 0, 0), (0.36, 0.17, 0.04)), "z", 28)
    parts.append(
        Part(
            join(
                sweep([(0, 0.65, 0), (0, 0, 0), (0, -1.1, 0)], 0.06),
                move(leaf, (0, -0.7, 0)),
                move(leaf * [-1, 1, 1], (0, -0.4, 0)),
            ),
            jitter(rng, LEAF),
        )
    )
    return named("sunflower", "yellow"), assemble(parts)


def cactus(rng: Rng) -> Made:
    rgb = jitter(rng, (0.25, 0.56, 0.28), 0.04)
    h, r = between(rng, 0.8, 1.15), between(rng, 0.2, 0.27)

    def ribs(a: Array, y: Array) -> Array:
        return 1 + 0.09 * np.cos(9 * a)

    top = [(r * np.cos(t), h - r + r * np.sin(t)) for t in np.linspace(0, np.pi / 2, 6)]
    body = [lathe([(0, -0.6), (0.9 * r, -0.6), (r, -0.2), *top], 54, wobble=ribs)]
    arms = int(rng.integers(1, 4)) if chance(rng, 0.85) else 0
    for k in range(arms):
        s, y, up = (-1) ** k, between(rng, -0.2, 0.3), between(rng, 0.3, 0.55)
        body.append(
            sweep(
                [(0, y, 0), (s * 0.4, y, 0), (s * 0.52, y + 0.15, 0), (s * 0.52, y + up, 0)],
                [0.13, 0.13, 0.13, 0.12],
                12,
            )
        )
    parts, extra = [Part(join(*body), rgb)], ""
    if chance(rng, 0.4):
        word, c = pick(rng, ("pink", "red", "yellow"))
        parts.append(
            Part(move(ring(turn(ball((0, 0.1, 0), (0.06, 0.12, 0.03), n=10), "x", 40), 6), (0, h - 0.02, 0)), c)
        )
        extra = f"with {with_article(word)} flower"
    if chance(rng, 0.6):
        parts.append(Part(pot(-0.45, 0.42, 0.55), POT))
        extra = extra or "in a pot"
    return named("cactus", "green", extra), assemble(parts)


def bush(rng: Rng) -> Made:
    rgb = jitter(rng, LEAF, 0.05)
    shape = join(
        *(_crown(rng, np.array([x, 0.4, z]), between(rng, 0.45, 0.6), 8) for x, z in ((-0.4, 0), (0.4, 0.05), (0, 0.1)))
    )
    parts, extra = [Part(shape, rgb)], ""
    if chance(rng, 0.5):
        word, c = pick(rng, ("red", "pink", "white", "yellow", "blue"))
        p = shape.reshape(-1, 3)[:: len(shape) // 30]
        parts.append(Part(join(*(ball(q, 0.075, n=8) for q in p if q[1] > 0.3)), c))
        extra = f"with {word} flowers"
    return named("bush", "green", extra, ("shrub",)), assemble(parts)


GENERATORS: dict[str, Generator] = {
    "tree": tree,
    "pine tree": pine_tree,
    "christmas tree": christmas_tree,
    "palm tree": palm_tree,
    "mushroom": mushroom,
    "flower": flower,
    "sunflower": sunflower,
    "cactus": cactus,
    "bush": bush,
}
FRONTED = frozenset({"flower", "sunflower"})
