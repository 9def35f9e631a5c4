"""The wordings an object goes by."""

from __future__ import annotations

from sds3d.embedded.corpus.catalogue import Entry
from sds3d.embedded.corpus.names import ALSO, mentions_colour, with_article


def unique(phrases: list[str]) -> list[str]:
    return list(dict.fromkeys(phrases))


def wordings(entry: Entry) -> list[str]:
    """Names without article or colour, the most specific first, the plain noun always among them."""
    base = unique([entry.name, *entry.also, entry.noun])
    return unique(base + [other for phrase in base for other in ALSO.get(phrase, ())])


def plain_captions(entry: Entry, colour: str | None) -> list[str]:
    """Captions of the object as it came; `colour` ("red", "red and white") if one stands out."""
    names = wordings(entry)
    coloured = [f"{colour} {n}" for n in names if not mentions_colour(n)] if colour else []
    return [with_article(p) for p in unique(names + coloured)]


def variant_captions(entry: Entry, adjective: str) -> list[str]:
    """Captions of a recoloured or re-clad object: every one says so, and none says another colour or material."""
    names = [n for n in wordings(entry) if not mentions_colour(n) and not _clad(n)] or [entry.noun]
    return [with_article(f"{adjective} {n}") for n in unique(names)]


def phrase_captions(phrases: tuple[str, ...]) -> list[str]:
    """Captions of a generated object, most specific first."""
    return [with_article(p) for p in unique(list(phrases))]


def _clad(name: str) -> bool:
    return any(word in ("wooden", "stone", "metal", "leather", "marble", "snowy", "autumn") for word in name.split())
