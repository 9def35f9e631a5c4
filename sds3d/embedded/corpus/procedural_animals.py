"""Dogs, cats, bears and other soft-footed animals, as numbers for `procedural_beast.Beast`."""

from __future__ import annotations

from dataclasses import replace

from sds3d.embedded.corpus.procedural_beast import Beast, Coat
from sds3d.embedded.corpus.procedural_ears import PINK
from sds3d.embedded.corpus.procedural_extras import (
    lion,
    whiskers,
)
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    COLOURS,
    WHITE,
    Generator,
    Rgb,
)
from sds3d.embedded.corpus.procedural_species import Species, generator, solid

FUR: Rgb = (0.90, 0.54, 0.18)  # the orange of foxes, corgis and ginger cats
TAN: Rgb = (0.80, 0.60, 0.36)

_DOG = Beast()
_CAT = Beast(
    length=1.0,
    wide=0.2,
    deep=0.21,
    leg=0.34,
    leg_r=0.07,
    neck=0.26,
    tilt=55,
    neck_r=0.14,
    head_w=0.27,
    head_h=0.23,
    head_d=0.22,
    snout=0.03,
    snout_r=0.095,
    droop=0.02,
    ear=0.2,
    tail="long",
    eye=0.06,
    eye_side=30,
)
_BEAR = Beast(
    length=1.25,
    wide=0.36,
    deep=0.38,
    leg=0.3,
    leg_r=0.15,
    neck=0.24,
    tilt=30,
    neck_r=0.25,
    head_w=0.28,
    head_h=0.26,
    head_d=0.26,
    snout=0.14,
    snout_r=0.12,
    droop=0.04,
    ear=0.09,
    ears="round",
    tail="stub",
    eye=0.042,
    eye_side=32,
)
_GRAY = COLOURS["gray"]

SPECIES = (
    Species(
        "corgi",
        replace(
            _DOG,
            length=1.2,
            wide=0.3,
            deep=0.24,
            leg=0.31,
            leg_r=0.08,
            neck=0.3,
            tilt=58,
            head_w=0.29,
            head_h=0.25,
            snout=0.17,
            snout_r=0.11,
            ear=0.32,
            tail="plume",
            lights="corgi",
            eye=0.055,
        ),
        (Coat("orange", FUR, paw=WHITE), Coat("orange", (0.86, 0.58, 0.28), paw=WHITE), Coat("orange", FUR, paw=WHITE)),
        also=("corgi dog",),
        dressed=0.4,
        odd=0.08,
    ),
    Species(
        "dog",
        replace(_DOG, ears="floppy", ear=0.28, lights="muzzle"),
        (
            Coat("brown", (0.55, 0.35, 0.18), (0.85, 0.7, 0.5)),
            Coat("brown", TAN, (0.93, 0.82, 0.64)),
            solid("black", light=(0.45, 0.3, 0.2)),
            solid("white", light=WHITE),
            solid("gray", light=WHITE),
        ),
        also=("puppy",),
    ),
    Species(
        "dalmatian",
        replace(_DOG, ears="floppy", mark="spots", leg=0.48),
        (Coat("white", WHITE, marking=BLACK),),
        also=("spotted dog",),
        odd=0.0,
    ),
    Species(
        "dachshund",
        replace(
            _DOG,
            length=1.65,
            wide=0.2,
            deep=0.2,
            leg=0.15,
            leg_r=0.075,
            ears="floppy",
            ear=0.3,
            snout=0.26,
            snout_r=0.09,
        ),
        (solid("brown", 0.12), solid("black", light=TAN)),
        also=("wiener dog",),
    ),
    Species(
        "cat",
        _CAT,
        (
            solid("gray", light=WHITE, nose=PINK),
            solid("black", light=WHITE, nose=PINK),
            solid("white", nose=PINK),
            Coat("orange", FUR, nose=PINK),
        ),
        whiskers,
        also=("kitten",),
    ),
    Species(
        "tabby cat",
        replace(_CAT, mark="stripes", lights="belly"),
        (
            Coat("orange", FUR, marking=(0.68, 0.34, 0.08), nose=PINK),
            Coat("gray", (0.6, 0.58, 0.55), marking=(0.3, 0.29, 0.28), nose=PINK),
        ),
        whiskers,
        also=("striped cat",),
        odd=0.0,
    ),
    Species(
        "fox",
        replace(
            _DOG,
            leg=0.4,
            wide=0.21,
            deep=0.22,
            head_w=0.24,
            snout=0.25,
            snout_r=0.085,
            ear=0.26,
            tail="bushy",
            lights="corgi",
        ),
        (Coat("orange", (0.88, 0.42, 0.12), paw=BLACK),),
        odd=0.06,
    ),
    Species(
        "wolf",
        replace(_DOG, leg=0.5, snout=0.24, ear=0.2, tail="bushy", lights="belly"),
        (solid("gray", light=(0.85, 0.84, 0.82)), solid("white"), solid("gray", -0.35, light=_GRAY)),
        dressed=0.1,
    ),
    Species(
        "lion",
        replace(
            _CAT,
            length=1.25,
            wide=0.24,
            deep=0.26,
            leg=0.44,
            leg_r=0.1,
            snout=0.12,
            snout_r=0.12,
            ears="round",
            ear=0.08,
            tail="tuft",
            lights="muzzle",
            eye=0.045,
        ),
        (
            Coat("yellow", (0.87, 0.66, 0.32), (0.96, 0.86, 0.68), marking=(0.5, 0.27, 0.1)),
            Coat("yellow", (0.9, 0.7, 0.36), (0.96, 0.86, 0.68), marking=(0.72, 0.36, 0.1)),
        ),
        lion,
        dressed=0.1,
        odd=0.05,
    ),
    Species(
        "tiger",
        replace(
            _CAT,
            length=1.35,
            wide=0.25,
            deep=0.26,
            leg=0.42,
            leg_r=0.1,
            snout=0.1,
            snout_r=0.12,
            ears="round",
            ear=0.09,
            tail="long",
            mark="stripes",
            lights="belly",
            eye=0.045,
        ),
        (Coat("orange", (0.93, 0.52, 0.12), marking=BLACK), Coat("white", WHITE, marking=(0.2, 0.2, 0.2))),
        dressed=0.1,
        odd=0.0,
    ),
    Species(
        "bear",
        replace(_BEAR, lights="muzzle"),
        (
            solid("brown", light=(0.66, 0.47, 0.3)),
            solid("black", light=(0.5, 0.36, 0.24)),
            solid("brown", 0.12, light=(0.8, 0.62, 0.42)),
        ),
    ),
    Species(
        "polar bear",
        replace(_BEAR, neck=0.36, leg=0.34),
        (solid("white"),),
        odd=0.0,
        also=("white bear",),
    ),
    Species(
        "panda",
        replace(_BEAR, mark="panda", head_w=0.32, head_h=0.29, snout=0.06, snout_r=0.1, ear=0.11, eye=0.055),
        (Coat("black and white", WHITE),),
        also=("panda bear",),
        odd=0.0,
    ),
    Species(
        "rabbit",
        replace(
            _CAT,
            length=0.8,
            wide=0.24,
            deep=0.26,
            leg=0.12,
            leg_r=0.09,
            neck=0.2,
            tilt=60,
            head_w=0.21,
            head_h=0.21,
            ears="long",
            ear=0.27,
            tail="stub",
            lights="belly",
            eye_side=42,
        ),
        (solid("white", nose=PINK), Coat("brown", (0.62, 0.44, 0.28), nose=PINK), solid("gray", 0.1, nose=PINK)),
        also=("bunny",),
    ),
)

GENERATORS: dict[str, Generator] = {s.noun: generator(s) for s in SPECIES}
FRONTED = frozenset(GENERATORS)
