"""One object of the catalogue as captioned images: its views, and those of its variants."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.embedded.corpus import materials
from sds3d.embedded.corpus.captions import FRAMES, framed, phrase_captions, plain_captions, variant_captions
from sds3d.embedded.corpus.catalogue import Entry, seed_of
from sds3d.embedded.corpus.colours import colour_phrase, dominant
from sds3d.embedded.corpus.names import COLOURS
from sds3d.embedded.corpus.procedural_compositions import COMPOSITION
from sds3d.embedded.corpus.variants import normalise, recolour, rematerial
from sds3d.render.mesh import Soup, render_soup

WORDINGS = 4  # alternative captions stored with each image
FRAMED = 0.4  # share of images with one caption like "a photo of ..."
MOST_FACES = 250_000
LEAST_COVERAGE = 0.02  # of the frame, over the probe views
LEAST_SYMMETRY = 0.85  # below it, a mirrored picture would show a handle or a neighbour on the wrong side
OVERHEAD = 0.06  # share of views from above 60 degrees
LIVING = ("person", "animal", "plant")
STATUE = ("wooden", "golden", "stone", "marble")  # what a living thing may be made of


@dataclass(frozen=True)
class Job:
    """An entry and how many images it gets, its variants' among them."""

    key: str
    images: int

    def split(self, variants: int) -> tuple[int, int]:
        """Images of the original (half of them or more) and of each variant."""
        each = max(1, self.images // (variants + 3))
        return max(1, self.images - variants * each), each


@dataclass
class Record:
    """What objects.jsonl keeps of an object."""

    id: str
    source: str
    name: str
    noun: str
    category: str
    licence: str
    author: str
    fronted: bool
    heldout: bool
    handed: bool  # its left differs from its right
    faces: int
    colour: str | None
    variants: list[str] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Album:
    """N images of one object."""

    record: Record
    images: NDArray[np.uint8]  # (N, size, size, 4)
    angles: NDArray[np.float32]  # (N, 3) azimuth, elevation, fov
    captions: list[list[str]]  # N x WORDINGS


class Unusable(Exception):
    """The object is empty, too big or too thin to be seen."""


def draw_cameras(n: int, rng: np.random.Generator) -> Cameras:
    """Azimuth uniform, elevation -10..60 (94 %) or 60..85, field of view 35..45, the unit ball fitted."""
    overhead = rng.random(n) < OVERHEAD
    elevation = np.where(overhead, rng.uniform(60, 85, n), rng.uniform(-10, 60, n))
    columns = (rng.uniform(0, 360, n), elevation, rng.uniform(35, 45, n))
    azimuth, elevations, fov = (torch.from_numpy(c.astype(np.float32)) for c in columns)
    return Cameras(azimuth, elevations, fov, fit_distance(fov))


def shoot(soup: Soup, n: int, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """n random views under mild, soft light from around the camera: images and angles."""
    cameras = draw_cameras(n, rng)
    light = (rng.normal(0, 0.35, (n, 3)) + (0.3, 0.7, 0.6)).astype(np.float32)
    ambient, diffuse = (rng.uniform(*b, n).astype(np.float32) for b in ((0.55, 0.68), (0.25, 0.38)))
    images, _ = render_soup(soup, cameras, size, 4, light, ambient, diffuse, 0.1)
    return images, cameras.angles.numpy()


def probe(soup: Soup) -> tuple[list[tuple[str, float]], float]:
    """Colour shares of unlit views, and the mean share of the frame they cover."""
    images, _ = render_soup(soup, orbit(3, elevation=25.0, start=20.0), 64, 2, ambient=1.0, diffuse=0.0, headlight=0.0)
    return dominant(images), float((images[..., 3] > 128).mean())


def symmetry(soup: Soup) -> float:
    """How well left and right agree: the overlap (IoU) of the outlines, from the front and from above, with their
    mirror images; the lesser of both."""
    least = 1.0
    for elevation in (0.0, 89.0):
        images, _ = render_soup(soup, orbit(1, elevation), 64, 2, ambient=1.0, diffuse=0.0, headlight=0.0)
        covered = images[0, ..., 3] > 128
        both, either = covered & covered[:, ::-1], covered | covered[:, ::-1]
        least = min(least, float(both.sum() / max(1, either.sum())))
    return least


def other_colours(entry: Entry, colour: str | None, rng: np.random.Generator) -> list[str]:
    """What an object is repainted in. Generated ones take turns, so that each of their nouns is seen in every colour:
    without, "a white backpack" was a word the prior had hardly met."""
    if entry.category == COMPOSITION:
        return []
    others = [c for c in COLOURS if c != colour]
    if entry.source == "procedural":
        number, _, _ = entry.id.rpartition("/")[2].partition("-")  # "hat/07", "hat/07-s3" of another seed
        turn = int(number) + seed_of("turn", entry.noun)
        return [others[turn % len(others)]]
    if entry.category == "person" and rng.random() < 0.6:
        return []
    return [str(c) for c in rng.choice(others, 1 if entry.category in LIVING else 2, replace=False)]


def draw_variants(
    entry: Entry, soup: Soup, colour: str | None, rng: np.random.Generator
) -> list[tuple[str, str, Soup]]:
    """(kind, adjective, soup) of each variant. Living things change less than furniture."""
    living = entry.category in LIVING
    chosen: list[tuple[str, str, Soup]] = []
    for name in other_colours(entry, colour, rng):
        rgb = np.clip(np.array(COLOURS[name]) + rng.normal(0, 0.025, 3), 0.02, 0.98)
        chosen.append(("recolour", name, recolour(soup, rgb)))
    share = {"person": 0.1, "plant": 0.0, "animal": 0.6, "procedural": 0.3, COMPOSITION: 0.0}.get(entry.category, 0.9)
    if rng.random() < share:
        kinds = STATUE if living else (*materials.SURFACES, *materials.MOTIFS)
        phrase, texture = materials.make(str(rng.choice(kinds)), rng)
        chosen.append(("material", phrase, rematerial(soup, texture)))
    return chosen


def draw_wordings(captions: list[str], n: int, rng: np.random.Generator) -> list[list[str]]:
    """For each of n images WORDINGS of the captions, repeated to fill; the last one is now and then put in a frame."""
    rows = []
    for _ in range(n):
        order = rng.permutation(len(captions))
        row = [captions[order[i % len(order)]] for i in range(WORDINGS)]
        if rng.random() < FRAMED:
            row[-1] = framed(captions[-1 - int(rng.integers(min(2, len(captions))))], str(rng.choice(FRAMES)))
        rows.append(row)
    return rows


def photograph(entry: Entry, job: Job, size: int, seed: int) -> Album:
    """All images of an entry; the same for the same seed. Unusable if there is nothing to see."""
    rng = np.random.default_rng(seed_of("render", str(seed), entry.key))
    loaded, phrases = entry.load()
    if len(loaded) > MOST_FACES:
        raise Unusable("too many faces")
    soup = normalise(loaded)
    shares, coverage = probe(soup)
    if coverage < LEAST_COVERAGE:
        raise Unusable("too thin")
    colour = colour_phrase(shares)
    plain = phrase_captions(phrases) if phrases else plain_captions(entry, colour)
    variants = draw_variants(entry, soup, colour, rng)
    own, each = job.split(len(variants))
    looks = [("original", plain, soup, own)]
    for kind, adjective, variant in variants:
        looks.append((f"{kind}: {adjective}", variant_captions(entry, kind, adjective), variant, each))
    images, angles, captions = [], [], []
    for _, phrases_of, look, views in looks:
        rgba, seen = shoot(look, views, size, rng)
        images.append(rgba)
        angles.append(seen)
        captions += draw_wordings(phrases_of, views, rng)
    record = Record(
        entry.key, entry.source, entry.name, entry.noun, entry.category, entry.licence, entry.author, entry.fronted,
        entry.heldout, symmetry(soup) < LEAST_SYMMETRY, len(soup), colour, [label for label, *_ in looks[1:]],
    )  # fmt: skip
    return Album(record, np.concatenate(images), np.concatenate(angles), captions)
