"""What the procedural generators share: the palette, coloured parts, and small assemblies (eyes, wheels, windows)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sds3d.embedded.corpus.shapes import Array, ball, box, cylinder, join, move, pair, smooth_normals, turn
from sds3d.render.mesh import Material, Soup

Rgb = tuple[float, float, float]
Rng = np.random.Generator
Made = tuple[list[str], Soup]  # caption phrases, most specific first, and the object
Generator = Callable[[Rng], Made]

COLOURS: dict[str, Rgb] = {
    "red": (0.80, 0.10, 0.10),
    "orange": (0.93, 0.50, 0.10),
    "yellow": (0.93, 0.83, 0.15),
    "green": (0.18, 0.58, 0.18),
    "blue": (0.13, 0.30, 0.80),
    "purple": (0.48, 0.18, 0.62),
    "pink": (0.95, 0.55, 0.70),
    "brown": (0.42, 0.25, 0.12),
    "black": (0.13, 0.13, 0.14),
    "white": (0.95, 0.95, 0.94),
    "gray": (0.50, 0.50, 0.52),
}
BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
WHITE, BLACK, GRAY, BROWN, RED = (COLOURS[k] for k in ("white", "black", "gray", "brown", "red"))
METAL: Rgb = (0.66, 0.68, 0.71)
DARK: Rgb = (0.20, 0.20, 0.22)
TYRE: Rgb = (0.11, 0.11, 0.12)
GLASS: Rgb = (0.55, 0.76, 0.90)
WINDOW: Rgb = (0.30, 0.44, 0.56)
GOLD: Rgb = (0.93, 0.72, 0.16)
LEAF: Rgb = (0.22, 0.55, 0.16)
BARK: Rgb = (0.38, 0.25, 0.14)
WOOD: Rgb = (0.66, 0.44, 0.23)
STONE: Rgb = (0.62, 0.61, 0.58)
SKIN: Rgb = (0.93, 0.74, 0.60)
LAMP: Rgb = (1.0, 0.93, 0.60)


class Part(NamedTuple):
    """Triangles (F, 3, 3) of one colour; normals (F, 3, 3) where the shape's own edges are not its borders."""

    shape: Array
    rgb: Rgb
    normals: Array | None = None


def assemble(parts: Sequence[Part]) -> Soup:
    """One triangle soup of all parts, normals smoothed within each part, one material a colour."""
    corners = np.concatenate([p.shape for p in parts]).astype(np.float32)
    normals = np.concatenate([smooth_normals(p.shape) if p.normals is None else p.normals for p in parts]).astype(
        np.float32
    )
    slots = {rgb: k for k, rgb in enumerate(dict.fromkeys(p.rgb for p in parts))}
    material = np.concatenate([np.full(len(p.shape), slots[p.rgb]) for p in parts])
    return Soup(
        corners=corners,
        normals=normals,
        uv=np.zeros((len(corners), 3, 2), np.float32),
        material=material,
        materials=[Material(rgba=(*rgb, 1.0), texture=None) for rgb in slots],
    )


# --- colour --------------------------------------------------------------------------------------------------------


def jitter(rng: Rng, rgb: Rgb, amount: float = 0.025) -> Rgb:
    """`rgb` a little lighter or darker and a little off in hue."""
    shifted = np.asarray(rgb) + rng.normal(0, amount) + rng.normal(0, amount / 2, 3)
    r, g, b = np.clip(shifted, 0.03, 0.98).tolist()
    return r, g, b


def shade(rgb: Rgb, by: float) -> Rgb:
    """Darker for `by` < 0 (towards black), lighter for `by` > 0 (towards white)."""
    r, g, b = (c * (1 + by) if by < 0 else c + (1 - c) * by for c in rgb)
    return r, g, b


def pick(rng: Rng, names: Sequence[str] = tuple(COLOURS), but: Sequence[str] = ()) -> tuple[str, Rgb]:
    """A random colour name among `names`, never one of `but`, with its jittered value. Repeat a name to weigh it."""
    name = str(rng.choice([n for n in names if n not in but]))
    return name, jitter(rng, COLOURS[name])


def natural(rng: Rng, names: Sequence[str], odd: float = 0.12) -> tuple[str, Rgb, bool]:
    """Usually one of the natural colours `names`; with chance `odd` another one (then False: name the colour)."""
    if rng.random() < odd:
        return *pick(rng, but=names), False
    return *pick(rng, names), True


def chance(rng: Rng, p: float) -> bool:
    return bool(rng.random() < p)


def between(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def named(noun: str, adjective: str = "", extra: str = "", also: Sequence[str] = (), plain: bool = True) -> list[str]:
    """Phrases for a noun: adjective, noun and extra ("with ..."), then with less, then synonyms, the plain noun last.

    `plain=False` keeps only phrases with the adjective: for a colour nobody expects of that thing.
    """
    full = f"{adjective} {noun}".strip()
    out = [f"{full} {extra}"] if extra else []
    if not plain:
        return list(dict.fromkeys([*out, *(f"{adjective} {n}" for n in also), full]))
    if adjective:
        told = set(adjective.split())  # "little green alien" needs no second "green"
        out += [f"{adjective} {n}" for n in (noun, *also) if told.isdisjoint(n.split())]
        out += [f"{noun} {extra}"] if extra else []
    return list(dict.fromkeys([*out, *also, noun]))


Mask = NDArray[np.bool_]
Rule = tuple[Callable[[Array, Array, Array], Mask], Rgb]  # (x, y, z) -> bool mask, and the colour of what is in it


def paint(shape: Array, ground: Rgb, *rules: Rule, levels: int = 1) -> list[Part]:
    """Split a shape by rules over its points; later rules win.

    Triangles that a border crosses are cut in four, `levels` times over, before each takes one colour.
    """

    def owner(points: Array) -> NDArray[np.int64]:
        k = np.zeros(len(points), np.int64)
        for i, (where, _) in enumerate(rules, 1):
            k[where(*points.T)] = i
        return k

    done: list[tuple[Array, Array]] = []
    normals = smooth_normals(shape)
    for _ in range(levels):
        k = owner(np.concatenate([shape, shape.mean(1, keepdims=True)], 1).reshape(-1, 3)).reshape(-1, 4)
        mixed = (k != k[:, :1]).any(1)
        done.append((shape[~mixed], normals[~mixed]))
        shape, normals = _cut(shape[mixed]), _cut(normals[mixed])
    shape, normals = (np.concatenate([*(d[i] for d in done), last]) for i, last in enumerate((shape, normals)))
    k = owner(shape.mean(1))
    colours = [ground, *(rgb for _, rgb in rules)]
    return [Part(shape[k == i], rgb, normals[k == i]) for i, rgb in enumerate(colours) if (k == i).any()]


def _cut(tri: Array) -> Array:
    """Every triangle in four, at the middles of its edges."""
    a, b, c = tri[:, 0], tri[:, 1], tri[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])


# --- small assemblies ----------------------------------------------------------------------------------------------


def eyes(at: ArrayLike, r: float, style: str = "bead", iris: Rgb = BLACK) -> list[Part]:
    """A pair of eyes looking along +Z, `at` the one with x > 0. bead: dark with a glint; wide: white with a pupil."""
    p = np.asarray(at, float)
    if style == "bead":
        return [
            Part(pair(ball(p, r, n=12)), iris),
            Part(pair(ball(p + [0.3 * r, 0.4 * r, 0.75 * r], 0.34 * r, n=8)), WHITE),
        ]
    return [Part(pair(ball(p, r, n=14)), WHITE), Part(pair(ball(p + [0, 0, 0.62 * r], 0.56 * r, n=12)), iris)]


def wheel(at: ArrayLike, r: float, half: float, hub: Rgb = METAL) -> list[Part]:
    """A wheel with its axle along x."""
    tyre = cylinder((0, 0, 0), r, half, "x", 20)
    return [Part(move(tyre, at), TYRE), Part(cylinder(at, 0.55 * r, half * 1.12, "x", 14), hub)]


def wheels(x: float, r: float, half: float, z: Sequence[float], hub: Rgb = METAL, y: float | None = None) -> list[Part]:
    """Pairs of wheels at ±x for every z, standing on the ground unless `y` (axle height) says otherwise."""
    both = [wheel((x, r if y is None else y, k), r, half, hub) for k in z]
    return [Part(pair(p.shape), p.rgb) for parts in both for p in parts]


def window(
    at: ArrayLike, w: float, h: float, facing: float = 0.0, pane: Rgb = WINDOW, frame: Rgb = WHITE
) -> list[Part]:
    """A framed window with a cross, its outside looking along azimuth `facing` (0 = +Z, 90 = +X)."""
    bars = join(
        box((0, 0, 0), (w * 1.22, h * 1.2, 0.02), 0.01),
        box((0, 0, 0.03), (w, 0.12 * w, 0.01), 0.005),
        box((0, 0, 0.03), (0.12 * w, h, 0.01), 0.005),
    )
    glass = box((0, 0, 0.012), (w, h, 0.02), 0.01)
    return [Part(move(turn(s, "y", facing), at), c) for s, c in ((bars, frame), (glass, pane))]


def door(at: ArrayLike, w: float, h: float, rgb: Rgb = BROWN, knob: Rgb = GOLD) -> list[Part]:
    """A door facing +Z; `at` is the middle of its foot."""
    p = np.asarray(at, float)
    return [
        Part(box(p + [0, h / 2 + 0.02, 0], (w / 2 + 0.04, h / 2 + 0.03, 0.02), 0.01), WHITE),
        Part(box(p + [0, h / 2, 0.02], (w / 2, h / 2, 0.02), 0.01), rgb),
        Part(ball(p + [0.3 * w, 0.45 * h, 0.06], 0.035, n=8), knob),
    ]
