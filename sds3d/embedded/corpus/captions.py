"""The wordings an object goes by."""

from __future__ import annotations

import re

from sds3d.embedded.corpus.catalogue import Entry
from sds3d.embedded.corpus.names import ALSO, mentions_colour, with_article

FRAMES = ("a photo of {}", "a 3d model of {}", "a render of {}", "bare")
MADE_OF = {"wooden": "wood", "golden": "gold", "stone": "stone", "marble": "marble", "metal": "metal", "brick": "brick"}
OLD = ("zeroad", "megaglest")  # sources whose buildings are not what the bare word means today
HOMES = ("house", "home", "barn", "big house", "farm")
UNUSUAL = ("dead", "autumn", "snowy", "cherry", "blossom", "blossoming")  # a plant in such a state is not the default


def unique(phrases: list[str]) -> list[str]:
    return list(dict.fromkeys(phrases))


def wordings(entry: Entry) -> list[str]:
    """Names without article or colour, the most specific first; the plain noun is among them unless the object is
    not what people mean by it: an ancient house, a dead tree."""
    if any(word in UNUSUAL for word in entry.name.split()):
        return unique([entry.name, *(n for n in entry.also if n != entry.noun)])
    base = unique([entry.name, *entry.also, entry.noun])
    if entry.source in OLD and entry.category == "building":
        return unique([f"ancient {n}" if n in HOMES else n for n in base])
    return unique(base + [other for phrase in base for other in ALSO.get(phrase, ())])


def plain_captions(entry: Entry, colour: str | None) -> list[str]:
    """Captions of the object as it came; `colour` ("red", "red and white") if one stands out."""
    names = wordings(entry)
    coloured = [f"{colour} {n}" for n in names if not mentions_colour(n)] if colour else []
    return [with_article(p) for p in unique(names + coloured)]


def variant_captions(entry: Entry, kind: str, adjective: str) -> list[str]:
    """Captions of a recoloured or re-clad object: every one says so, and none says another colour or material."""
    names = unique([n for n in wordings(entry) if not mentions_colour(n) and not _clad(n)] or [entry.noun])
    said = [with_article(f"{adjective} {n}") for n in names]
    if kind == "recolour":
        said.insert(0, f"{with_article(names[-1])} painted {adjective}")
    elif adjective in MADE_OF:
        said.insert(0, f"{with_article(names[-1])} made of {MADE_OF[adjective]}")
    return said


def phrase_captions(phrases: tuple[str, ...]) -> list[str]:
    """Captions of a generated object, most specific first."""
    return [with_article(p) for p in unique(list(phrases))]


def _clad(name: str) -> bool:
    return any(word in ("wooden", "stone", "metal", "leather", "marble", "snowy", "autumn") for word in name.split())


def framed(caption: str, frame: str) -> str:
    """ "a red chair" as "a photo of a red chair" or as "red chair"."""
    return frame.format(caption) if "{" in frame else re.sub("^an? ", "", caption)
