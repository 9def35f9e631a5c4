"""The probe's pictures: subjects drawn with its own cameras, lights, stretches and colours, kept in one folder."""

from __future__ import annotations

import json
import multiprocessing
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds3d.embedded.corpus.build import source_digest
from sds3d.embedded.corpus.captions import phrase_captions, plain_captions, variant_captions
from sds3d.embedded.corpus.catalogue import seed_of
from sds3d.embedded.corpus.colours import colour_phrase
from sds3d.embedded.corpus.names import COLOURS
from sds3d.embedded.corpus.render import Unusable, draw_variants, probe, shoot
from sds3d.embedded.corpus.variants import normalise
from sds3d.errors import UserError
from sds3d.files import replacing, write_bytes
from sds3d.probe.subjects import Subject, credits, subjects
from sds3d.render.mesh import Soup

SIZE = 64
STRETCH = 0.14  # a modelled object's height and width are scaled by up to this much
PART = 64  # subjects in a file
MOST_FACES = 250_000
CREDITS = "ATTRIBUTION.md"
COLOUR_NAMES = (*COLOURS, "none")
_mine: list[Subject] = []  # a worker's subjects


@dataclass
class Look:
    """One object in one shape and colour: what its pictures have in common."""

    key: str
    noun: str
    captions: list[str]
    colour: str  # one of COLOUR_NAMES
    fronted: bool
    ceiling: bool
    shared: bool
    seen: bool
    generated: bool


@dataclass
class Pictures:
    """All pictures of a folder. `look` indexes `looks`."""

    rgba: NDArray[np.uint8]  # (N, 64, 64, 4) straight alpha
    azimuth: Tensor  # (N,) degrees
    look: Tensor  # (N,)
    looks: list[Look]
    manifest: dict[str, Any]

    def rows(self, keep: Callable[[Look], bool]) -> Tensor:
        """Rows whose look passes."""
        return torch.tensor([keep(look) for look in self.looks])[self.look].nonzero()[:, 0]

    def field(self, of: Callable[[Look], float]) -> Tensor:
        """(N,) a number of each row's look."""
        return torch.tensor([of(look) for look in self.looks])[self.look]


def stretched(soup: Soup, rng: np.random.Generator) -> Soup:
    """Narrower or wider, lower or taller."""
    by = np.append(rng.uniform(1 - STRETCH, 1 + STRETCH, 2), 1.0)
    return replace(soup, corners=soup.corners * by, normals=soup.normals / by)


def main_colour(soup: Soup) -> str:
    """The colour word of more than half of what is seen, else "none"."""
    phrase = colour_phrase(probe(soup)[0])
    return phrase if phrase in COLOURS else "none"


def drawn(subject: Subject, seed: int) -> Iterator[tuple[Look, NDArray[np.uint8], NDArray[np.float32]]]:
    """The looks of a subject with their pictures and angles. Unusable if there is nothing to see."""
    entry = subject.entry
    rng = np.random.default_rng(seed_of("probe pictures", str(seed), entry.key, str(subject.ceiling)))
    loaded, phrases = entry.load()
    if len(loaded) > MOST_FACES:
        raise Unusable("too many faces")
    generated = entry.source == "procedural"
    for i in range(subject.looks):
        soup = normalise(loaded if generated else stretched(loaded, rng))
        shares, coverage = probe(soup)
        if coverage < 0.02:
            raise Unusable("too thin")
        phrase = colour_phrase(shares)
        plain = phrase_captions(phrases) if phrases else plain_captions(entry, phrase)
        shown = [(plain, phrase if phrase in COLOURS else "none", soup, subject.views)]
        if i == 0 or rng.random() < 0.5:
            for kind, adjective, variant in draw_variants(entry, soup, phrase, rng):
                colour = adjective if kind == "recolour" else main_colour(variant)
                shown.append((variant_captions(entry, kind, adjective), colour, variant, max(3, subject.views // 2)))
        for captions, colour, variant, views in shown:
            look = Look(
                entry.key, entry.noun, captions, colour, entry.fronted, subject.ceiling, subject.shared, subject.seen,
                generated,
            )  # fmt: skip
            images, angles = shoot(variant, views, SIZE, rng)
            yield look, images, angles


def draw_part(task: tuple[int, Path, int]) -> int:
    """Draw one file of subjects unless it is there; how many could not be drawn."""
    index, folder, seed = task
    path = folder / f"part_{index:03d}.npz"
    if path.is_file():
        return 0
    looks: list[dict[str, Any]] = []
    images, azimuths, counts, failed = [np.zeros((0, SIZE, SIZE, 4), np.uint8)], [np.zeros(0, np.float32)], [], 0
    for subject in _mine[index * PART : (index + 1) * PART]:
        try:
            for look, rgba, angles in drawn(subject, seed):
                looks.append(vars(look))
                images.append(rgba)
                azimuths.append(angles[:, 0])
                counts.append(len(rgba))
        except (Unusable, KeyError, ValueError, IndexError, OSError, struct.error, ET.ParseError):
            failed += 1
    with replacing(path) as temporary:
        np.savez(
            temporary, images=np.concatenate(images), azimuth=np.concatenate(azimuths),
            counts=np.array(counts, np.int64), looks=np.array(json.dumps(looks)),
        )  # fmt: skip
    return failed


def _start(cache: Path, seed: int, limit: int | None) -> None:
    _mine[:] = subjects(cache, seed)[:limit]


def draw_album(
    out: Path, cache: Path, seed: int, processes: int = 1, limit: int | None = None
) -> Iterator[tuple[int, int]]:
    """Draw all subjects into the folder `out`, yielding (files done, files); started again, it goes on.

    UserError if `out` holds another album.
    """
    out.mkdir(parents=True, exist_ok=True)
    recipe = {"seed": seed, "limit": limit, "code": source_digest()}
    stamp = out / "recipe.json"
    if stamp.is_file() and json.loads(stamp.read_text()) != recipe:
        raise UserError(f"{out} holds pictures of another seed, limit or corpus code: remove it or choose another")
    stamp.write_text(json.dumps(recipe))
    _start(cache, seed, limit)
    total = -(-len(_mine) // PART)
    tasks = [(i, out, seed) for i in range(total)]
    failed = 0
    with _pool(processes, cache, seed, limit) as each:
        for done, lost in enumerate(each(draw_part, tasks), 1):
            failed += lost
            yield done, total
    write_bytes(out / CREDITS, credits(_mine).encode())
    manifest = {**recipe, "subjects": len(_mine), "parts": total, "not_drawn": failed}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


@contextmanager
def _pool(processes: int, cache: Path, seed: int, limit: int | None) -> Iterator[Callable[..., Iterable[int]]]:
    """`map` in this process, or that of a pool."""
    if processes <= 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start, (cache, seed, limit)) as pool:
        yield pool.imap_unordered


def load_album(folder: Path) -> Pictures:
    """What `draw_album` made. UserError where there is none."""
    if not (folder / "manifest.json").is_file():
        raise UserError(f"no finished album in {folder}: run sds3d probe train --album {folder}, which draws it")
    images, azimuths, counts, looks = [], [], [], []
    for path in sorted(folder.glob("part_*.npz")):
        with np.load(path) as part:
            images.append(part["images"])
            azimuths.append(part["azimuth"])
            counts.append(part["counts"])
            looks += [Look(**row) for row in json.loads(str(part["looks"]))]
    owners = np.repeat(np.arange(len(looks)), np.concatenate(counts))
    return Pictures(
        np.concatenate(images), torch.from_numpy(np.concatenate(azimuths)), torch.from_numpy(owners), looks,
        json.loads((folder / "manifest.json").read_text()),
    )  # fmt: skip
