"""Proportions, colours and joints of the parametric four-legged animal."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from sds3d.embedded.corpus.procedural_kit import BLACK, WHITE, Rgb, Rng, between
from sds3d.embedded.corpus.shapes import Array

NOSE: Rgb = (0.10, 0.08, 0.08)


@dataclass(frozen=True)
class Beast:
    """Proportions of a four-legged animal that looks along +Z and stands on y = 0; lengths in units of a dog's body."""

    length: float = 1.15  # of the body
    wide: float = 0.25  # half-width of the body
    deep: float = 0.27  # half-height of the body
    leg: float = 0.42  # free length below the belly
    leg_r: float = 0.095
    stride: float = 0.2  # how far a foot stands before or behind its hip, as a share of `leg`
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
    ears: str = "pointy"  # a key of procedural_ears.EARS
    tail: str = "up"  # a key of procedural_ears.TAILS
    eye: float = 0.052
    eye_side: float = 28.0  # degrees away from straight ahead
    hoof: bool = False
    mark: str = "none"  # a key of procedural_coats.MARKS: where `marking` goes
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
