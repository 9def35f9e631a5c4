"""Four-legged species: numbers for `procedural_quadrupeds.Beast`, coats, and what only some of them have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sds3d.embedded.corpus.procedural_extras import (
    antlers,
    cow,
    crest,
    goat,
    horns,
    hump,
    lion,
    ossicones,
    trunk,
    unicorn,
    whiskers,
    wool,
    worn,
)
from sds3d.embedded.corpus.procedural_kit import (
    BLACK,
    COLOURS,
    GOLD,
    WHITE,
    Generator,
    Made,
    Part,
    Rgb,
    Rng,
    assemble,
    chance,
    jitter,
    named,
    pick,
    shade,
)
from sds3d.embedded.corpus.procedural_quadrupeds import PINK, Beast, Coat, beast, vary

FUR: Rgb = (0.90, 0.54, 0.18)  # the orange of foxes, corgis and ginger cats
TAN: Rgb = (0.80, 0.60, 0.36)

Extra = Callable[[Rng, Beast, Coat], list[Part]]


@dataclass(frozen=True)
class Species:
    """A noun, its body, its usual coats, its own extra parts, synonyms, and the chance that it wears something."""

    noun: str
    body: Beast
    coats: tuple[Coat, ...]
    extra: Extra | None = None
    also: tuple[str, ...] = ()
    dressed: float = 0.3
    odd: float = 0.12  # chance of a coat in one of the basic colours


def _solid(word: str, dark: float = 0.0, **more: Rgb) -> Coat:
    return Coat(word, shade(COLOURS[word], dark), **more)


def _generator(s: Species) -> Generator:
    def make(rng: Rng) -> Made:
        b = vary(rng, s.body)
        usual = not chance(rng, s.odd)
        coat = s.coats[int(rng.integers(len(s.coats)))]
        if not usual:
            word, rgb = pick(rng, but=[c.word for c in s.coats])
            coat = replace(coat, word=word, main=rgb)
        else:
            coat = replace(coat, main=jitter(rng, coat.main, 0.02))
        parts = beast(b, coat, rng) + (s.extra(rng, b, coat) if s.extra else [])
        extra = ""
        if chance(rng, s.dressed):
            extra, clothes = worn(rng, b, coat.word)
            parts += clothes
        return named(s.noun, coat.word, extra, s.also, plain=usual), assemble(parts)

    return make


_DOG = Beast()
_CAT = Beast(
    length=1.0, wide=0.2, deep=0.21, leg=0.34, leg_r=0.07, neck=0.26, tilt=55, neck_r=0.14, head_w=0.27, head_h=0.23,
    head_d=0.22, snout=0.03, snout_r=0.095, droop=0.02, ear=0.2, tail="long", eye=0.06, eye_side=30,
)  # fmt: skip
_HORSE = Beast(
    length=1.3, wide=0.25, deep=0.29, leg=0.72, leg_r=0.085, neck=0.62, tilt=56, neck_r=0.15, head_w=0.15, head_h=0.17,
    head_d=0.2, snout=0.26, snout_r=0.115, droop=0.17, ear=0.15, tail="hair", eye=0.042, eye_side=62, hoof=True,
)  # fmt: skip
_COW = Beast(
    length=1.4, wide=0.33, deep=0.35, leg=0.46, leg_r=0.1, neck=0.3, tilt=38, neck_r=0.2, head_w=0.2, head_h=0.2,
    head_d=0.22, snout=0.16, snout_r=0.15, droop=0.1, ear=0.22, ears="side", tail="tuft", eye=0.045, eye_side=48,
        hoof=True,
)  # fmt: skip
_BEAR = Beast(
    length=1.25, wide=0.36, deep=0.38, leg=0.3, leg_r=0.15, neck=0.24, tilt=30, neck_r=0.25, head_w=0.28, head_h=0.26,
    head_d=0.26, snout=0.14, snout_r=0.12, droop=0.04, ear=0.09, ears="round", tail="stub", eye=0.042, eye_side=32,
)  # fmt: skip

_BROWN, _GRAY = COLOURS["brown"], COLOURS["gray"]
_HORSE_COATS = (
    _solid("brown", marking=(0.12, 0.08, 0.06)), _solid("white", marking=(0.8, 0.78, 0.72)), _solid("black"),
    Coat("brown", (0.55, 0.32, 0.14), marking=(0.92, 0.82, 0.6), paw=WHITE), _solid("gray", 0.1, marking=(0.25, 0.25,
        0.27)),
)  # fmt: skip
_SPECIES = (
    Species(
        "corgi",
        replace(_DOG, length=1.3, wide=0.26, deep=0.26, leg=0.17, leg_r=0.1, neck=0.3, tilt=58, head_w=0.27,
            head_h=0.23, snout=0.19, snout_r=0.105, ear=0.32, tail="stub", lights="corgi", eye=0.05),
        (Coat("orange", FUR, paw=WHITE), Coat("orange", (0.86, 0.58, 0.28), paw=WHITE), Coat("orange", FUR, paw=WHITE)),
        also=("corgi dog",), dressed=0.4, odd=0.08,
    ),
    Species(
        "dog",
        replace(_DOG, ears="floppy", ear=0.28, lights="muzzle"),
        (Coat("brown", (0.55, 0.35, 0.18), (0.85, 0.7, 0.5)), Coat("brown", TAN, (0.93, 0.82, 0.64)), _solid("black",
            light=(0.45, 0.3, 0.2)), _solid("white", light=WHITE), _solid("gray", light=WHITE)),
        also=("puppy",),
    ),
    Species("dalmatian", replace(_DOG, ears="floppy", mark="spots", leg=0.48), (Coat("white", WHITE,
        marking=BLACK),), also=("spotted dog",), odd=0.0),
    Species("dachshund", replace(_DOG, length=1.65, wide=0.2, deep=0.2, leg=0.15, leg_r=0.075, ears="floppy",
        ear=0.3, snout=0.26, snout_r=0.09), (_solid("brown", 0.12), _solid("black", light=TAN)),
        also=("wiener dog",)),
    Species(
        "cat", _CAT,
        (_solid("gray", light=WHITE, nose=PINK), _solid("black", light=WHITE, nose=PINK), _solid("white", nose=PINK),
            Coat("orange", FUR, nose=PINK)),
        whiskers, also=("kitten",),
    ),
    Species("tabby cat", replace(_CAT, mark="stripes", lights="belly"), (Coat("orange", FUR, marking=(0.68, 0.34,
        0.08), nose=PINK), Coat("gray", (0.6, 0.58, 0.55), marking=(0.3, 0.29, 0.28), nose=PINK)), whiskers,
        also=("striped cat",), odd=0.0),
    Species("fox", replace(_DOG, leg=0.4, wide=0.21, deep=0.22, head_w=0.24, snout=0.25, snout_r=0.085, ear=0.26,
        tail="bushy", lights="corgi"), (Coat("orange", (0.88, 0.42, 0.12), paw=BLACK),), odd=0.06),
    Species("wolf", replace(_DOG, leg=0.5, snout=0.24, ear=0.2, tail="bushy", lights="belly"), (_solid("gray",
        light=(0.85, 0.84, 0.82)), _solid("white"), _solid("gray", -0.35, light=_GRAY)), dressed=0.1),
    Species("horse", _HORSE, _HORSE_COATS, crest, dressed=0.1),
    Species("pony", replace(_HORSE, length=1.15, leg=0.45, neck=0.45, head_w=0.19, head_h=0.2, wide=0.27, deep=0.3),
        _HORSE_COATS, crest, also=("little horse",)),
    Species("unicorn", _HORSE, tuple(Coat("white", WHITE, marking=COLOURS[k], paw=GOLD) for k in ("pink", "purple",
        "blue", "pink")), unicorn, dressed=0.0),
    Species("zebra", replace(_HORSE, mark="stripes", length=1.2, neck=0.5, ear=0.19), (Coat("black and white", WHITE,
        marking=BLACK, muzzle=(0.2, 0.2, 0.2)),), crest, dressed=0.1, odd=0.0, also=("striped zebra",)),
    Species("cow", replace(_COW, mark="spots"), (Coat("white", WHITE, marking=BLACK, muzzle=PINK, nose=(0.6, 0.35,
        0.35)), Coat("white", WHITE, marking=(0.5, 0.28, 0.13), muzzle=PINK, nose=(0.6, 0.35, 0.35))), cow,
        also=("spotted cow",), odd=0.0),
    Species("bull", replace(_COW, wide=0.36, deep=0.39), (_solid("brown", muzzle=(0.75, 0.6, 0.5)), _solid("black",
        muzzle=_GRAY)), horns, dressed=0.0),
    Species("pig", replace(_COW, length=1.2, wide=0.36, deep=0.36, leg=0.22, leg_r=0.1, neck=0.22, tilt=15,
        neck_r=0.27, head_w=0.27, head_h=0.26, head_d=0.26, snout=0.12, snout_r=0.125, droop=0.03, ears="pointy",
        ear=0.17, tail="pig", eye_side=34), (_solid("pink", 0.1, muzzle=(0.93, 0.5, 0.6), nose=(0.55, 0.25, 0.3),
        paw=(0.6, 0.35, 0.38)),), also=("piglet",)),
    Species("sheep", replace(_COW, length=1.1, wide=0.3, deep=0.3, leg=0.34, leg_r=0.075, neck=0.3, tilt=35,
        head_w=0.16, head_h=0.17, head_d=0.2, snout_r=0.1, ear=0.2, tail="stub"), (Coat("white", (0.18, 0.17, 0.17),
        WHITE), Coat("white", (0.9, 0.8, 0.7), WHITE), Coat("black", (0.12, 0.12, 0.12), (0.25, 0.24, 0.24))), wool,
        also=("lamb",), dressed=0.15, odd=0.0),
    Species("goat", replace(_COW, length=1.15, wide=0.24, deep=0.26, leg=0.48, leg_r=0.07, neck=0.42, tilt=55,
        neck_r=0.14, head_w=0.15, head_h=0.16, snout=0.18, snout_r=0.1, ear=0.2, tail="stub"), (_solid("white"),
        _solid("brown", 0.15), _solid("gray", 0.1)), goat),
    Species("deer", replace(_HORSE, length=1.15, wide=0.2, deep=0.22, leg=0.66, leg_r=0.06, neck=0.5, neck_r=0.11,
        head_w=0.13, head_h=0.14, snout_r=0.085, ears="side", ear=0.22, tail="stub", lights="belly"), (Coat("brown",
        (0.66, 0.42, 0.22), (0.93, 0.86, 0.74)),), antlers, also=("stag",), dressed=0.15, odd=0.05),
    Species("giraffe", replace(_HORSE, length=1.1, wide=0.24, deep=0.28, leg=0.95, leg_r=0.08, neck=1.35, tilt=72,
        neck_r=0.11, head_w=0.13, head_h=0.13, snout_r=0.09, ears="side", ear=0.18, tail="tuft", mark="rosettes"),
        (Coat("yellow", (0.95, 0.80, 0.45), marking=(0.62, 0.36, 0.14)),), ossicones, dressed=0.15, odd=0.0),
    Species("camel", replace(_HORSE, length=1.3, leg=0.72, neck=0.66, tilt=48, ear=0.1, ears="round", tail="tuft"),
        (Coat("brown", (0.78, 0.58, 0.34), marking=_BROWN),), hump, dressed=0.0, odd=0.05),
    Species("elephant", Beast(length=1.4, wide=0.44, deep=0.48, leg=0.42, leg_r=0.17, neck=0.2, tilt=28, neck_r=0.3,
        head_w=0.34, head_h=0.36, head_d=0.3, snout=0.0, snout_r=0.14, droop=0.05, ears="big", ear=0.46, tail="tuft",
        eye=0.045, eye_side=40, hoof=True), (_solid("gray", 0.1, paw=(0.8, 0.78, 0.74)), _solid("gray", -0.15,
        paw=(0.7, 0.68, 0.64))), trunk, dressed=0.1),
    Species("lion", replace(_CAT, length=1.25, wide=0.24, deep=0.26, leg=0.44, leg_r=0.1, snout=0.12, snout_r=0.12,
        ears="round", ear=0.08, tail="tuft", lights="muzzle", eye=0.045), (Coat("yellow", (0.87, 0.66, 0.32), (0.96,
        0.86, 0.68), marking=(0.50, 0.27, 0.10)), Coat("yellow", (0.90, 0.70, 0.36), (0.96, 0.86, 0.68),
        marking=(0.72, 0.36, 0.10))), lion, dressed=0.1, odd=0.05),
    Species("tiger", replace(_CAT, length=1.35, wide=0.25, deep=0.26, leg=0.42, leg_r=0.1, snout=0.1, snout_r=0.12,
        ears="round", ear=0.09, tail="long", mark="stripes", lights="belly", eye=0.045), (Coat("orange", (0.93, 0.52,
        0.12), marking=BLACK), Coat("white", WHITE, marking=(0.2, 0.2, 0.2))), dressed=0.1, odd=0.0),
    Species("bear", replace(_BEAR, lights="muzzle"), (_solid("brown", light=(0.66, 0.47, 0.3)), _solid("black",
        light=(0.5, 0.36, 0.24)), _solid("brown", 0.12, light=(0.8, 0.62, 0.42)))),
    Species("polar bear", replace(_BEAR, neck=0.36, leg=0.34), (_solid("white"),), odd=0.0, also=("white bear",)),
    Species("panda", replace(_BEAR, mark="panda", head_w=0.32, head_h=0.29, snout=0.06, snout_r=0.1, ear=0.11,
        eye=0.055), (Coat("black and white", WHITE),), also=("panda bear",), odd=0.0),
    Species("rabbit", replace(_CAT, length=0.8, wide=0.24, deep=0.26, leg=0.12, leg_r=0.09, neck=0.2, tilt=60,
        head_w=0.21, head_h=0.21, ears="long", ear=0.27, tail="stub", lights="belly", eye_side=42), (_solid("white",
        nose=PINK), Coat("brown", (0.62, 0.44, 0.28), nose=PINK), _solid("gray", 0.1, nose=PINK)), also=("bunny",)),
)  # fmt: skip

GENERATORS: dict[str, Generator] = {s.noun: _generator(s) for s in _SPECIES}
FRONTED = frozenset(GENERATORS)
