"""One list of everything the corpus can show, whatever it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sds3d.embedded.corpus import (
    fetch,
    g3d,
    names_glest,
    names_kart,
    names_sweethome,
    names_zeroad,
    sweethome,
)
from sds3d.embedded.corpus.archive import FolderArchive, ZipArchive
from sds3d.embedded.corpus.fronts import faced, has_front
from sds3d.embedded.corpus.procedural import FRONTED, GENERATORS
from sds3d.embedded.corpus.procedural_compositions import COMPOSITION, COMPOSITIONS
from sds3d.embedded.corpus.procedural_kit import Generator
from sds3d.embedded.corpus.supertuxkart import Karts
from sds3d.embedded.corpus.zeroad import Actors
from sds3d.errors import unknown
from sds3d.render.mesh import Soup

INSTANCES = 40  # of each procedural generator
COMPOSED = 4  # of each two-object composition
HELDOUT = 0.04  # share of objects kept for evaluation, none of them its noun's last
MOST = 60  # objects of one name from one source, lest soldiers and trees crowd out the rest
CROWDED = {"shield": 16, "helmet": 16, "soldier": 40, "spearman": 24, "archer": 24, "swordsman": 24, "horseman": 24,
           "man": 40, "woman": 40, "window": 16, "rock": 24, "statue": 24, "spear": 12, "wall": 8}  # fmt: skip
Loaded = tuple[Soup, tuple[str, ...]]  # geometry, and caption phrases if the loader knows better than the names


@dataclass(frozen=True)
class Entry:
    """One object: what it is called, where it is from, whose it is, and how to load it."""

    source: str
    id: str
    name: str
    noun: str
    category: str
    licence: str
    author: str
    load: Callable[[], Loaded]
    also: tuple[str, ...] = ()
    fronted: bool = False
    heldout: bool = False  # never trained on; `catalogue` says so

    @property
    def key(self) -> str:
        return f"{self.source}:{self.id}"


def unit_hash(*words: str) -> float:
    """A number in [0, 1) that depends only on the words."""
    digest = hashlib.blake2b("/".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def seed_of(*words: str) -> int:
    """A 63-bit seed that depends only on the words."""
    return int(unit_hash(*words) * 2**63)


def _faced(load: Callable[[], Soup], key: str) -> Loaded:
    return faced(load(), key), ()


def _modelled(
    source: str, id: str, name: str, noun: str, category: str, licence: str, author: str, load: Callable[[], Soup],
    also: tuple[str, ...] = (),
) -> Entry:  # fmt: skip
    """An object that an artist made, looking along +Z."""
    loaded = partial(_faced, load, f"{source}:{id}")
    return Entry(source, id, name, noun, category, licence, author, loaded, also, has_front(noun, category))


def sweethome_entries(cache: Path) -> list[Entry]:
    root = fetch.ensure(fetch.PACKAGES["sweethome"], cache)
    entries = []
    for path in sorted(root.rglob("*.sh3f")):
        archive = ZipArchive(path)
        for piece in sweethome.catalogue(archive):
            words = names_sweethome.describe(piece.name, piece.category)
            if words is None:
                continue
            name, noun, category = words
            load = partial(sweethome.load, archive, piece)
            entries.append(_modelled("sweethome", piece.id, name, noun, category, piece.licence, piece.creator, load))
    return entries


def zeroad_entries(cache: Path) -> list[Entry]:
    root = fetch.ensure(fetch.PACKAGES["zeroad"], cache)
    actors = Actors(ZipArchive(next(root.rglob("public.zip"))))
    entries = []
    for actor in actors.names():
        words = names_zeroad.describe(actor)
        if words is None:
            continue
        load = partial(actors.build, actor, words.turn)
        entries.append(
            _modelled(
                "zeroad", actor, words.name, words.noun, words.category, "CC-BY-SA-3.0", "Wildfire Games", load,
                words.also,
            )
        )  # fmt: skip
    return entries


def megaglest_entries(cache: Path) -> list[Entry]:
    root = fetch.ensure(fetch.PACKAGES["megaglest"], cache)
    archive = FolderArchive(next(root.rglob("megaglest/techs")).parent)
    chosen: dict[str, tuple[str, names_glest.Row]] = {}
    for path in archive.names:
        if not path.endswith(".g3d"):
            continue
        parts = path.split("/")
        if parts[0] == "tilesets":
            row = names_glest.scenery(parts[-1])
            if row:
                chosen["/".join(parts[1:])] = (path, row)
        elif "factions" in parts and "units" in parts:
            at = parts.index("factions")
            key = f"{parts[at + 1]}/{parts[at + 3]}"
            row = names_glest.unit(key)
            if row and names_glest.rank(path) < names_glest.rank(chosen[key][0] if key in chosen else None):
                chosen[key] = (path, row)
    return [
        _modelled(
            "megaglest", key, *row, "CC-BY-SA-3.0", "The Glest Team and the MegaGlest Team",
            partial(g3d.load_g3d, archive.read, path, not path.startswith("tilesets")),
        )
        for key, (path, row) in sorted(chosen.items())
    ]  # fmt: skip


def supertuxkart_entries(cache: Path) -> list[Entry]:
    karts = Karts(fetch.ensure(fetch.PACKAGES["supertuxkart"], cache))
    entries = []
    for key, (name, noun, category) in sorted(names_kart.MODELS.items()):
        credit = karts.credit(key)
        if credit is not None:
            load = partial(karts.load, key)
            entries.append(_modelled("supertuxkart", key, name, noun, category, *credit, load))
    return entries


def _generate(make: Generator, key: str) -> Loaded:
    phrases, soup = make(np.random.default_rng(seed_of("procedural", key)))
    return soup, tuple(phrases)


def _generated(make: Generator, noun: str, folder: str, i: int, seed: int, category: str, fronted: bool) -> Entry:
    """The i-th object of a generator; those of another seed are other objects and are called so."""
    key = f"{folder.replace(' ', '-')}/{i:02d}" + (f"-s{seed}" if seed else "")
    load = partial(_generate, make, key)
    return Entry("procedural", key, noun, noun, category, "CC0-1.0", "this project", load, (), fronted)


def procedural_entries(cache: Path, seed: int = 0) -> list[Entry]:
    single = [
        _generated(GENERATORS[noun], noun, noun, i, seed, "procedural", noun in FRONTED)
        for noun in sorted(GENERATORS)
        for i in range(INSTANCES)
    ]
    scenes = [
        _generated(COMPOSITIONS[name], COMPOSITION, f"composition/{name}", i, seed, COMPOSITION, True)
        for name in sorted(COMPOSITIONS)
        for i in range(COMPOSED)
    ]
    return single + scenes


SOURCES: dict[str, Callable[[Path], list[Entry]]] = {
    "sweethome": sweethome_entries,
    "zeroad": zeroad_entries,
    "megaglest": megaglest_entries,
    "supertuxkart": supertuxkart_entries,
    "procedural": procedural_entries,
}


def thin(entries: list[Entry]) -> list[Entry]:
    """At most MOST (or CROWDED) objects of one noun and source, chosen by hash so that the choice is stable;
    generated objects are as many as they should be."""
    ranked = sorted(entries, key=lambda e: unit_hash("thin", e.key))
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for entry in ranked:
        group = (entry.source, entry.noun)
        if entry.source == "procedural" or counts.get(group, 0) < CROWDED.get(entry.noun, MOST):
            counts[group] = counts.get(group, 0) + 1
            kept.append(entry)
    return sorted(kept, key=lambda e: e.key)


def held_out(entries: list[Entry]) -> list[Entry]:
    """The entries, some of them held out: chosen by hash so that the choice is stable, but never all of a noun."""
    chosen = {e.key for e in entries if unit_hash("heldout", e.key) < HELDOUT}
    taught = {e.noun for e in entries if e.key not in chosen}
    return [replace(e, heldout=e.key in chosen and e.noun in taught) for e in entries]


def catalogue(cache: Path, sources: list[str] | None = None, seed: int = 0) -> list[Entry]:
    """Every entry of the given sources (default: all), thinned, some held out, ordered by key; `seed` picks the
    generated objects.

    UserError for an unknown source.
    """
    entries: list[Entry] = []
    for source in sources or list(SOURCES):
        if source not in SOURCES:
            raise unknown("source", source, SOURCES)
        entries += procedural_entries(cache, seed) if source == "procedural" else SOURCES[source](cache)
    return held_out(thin(entries))
