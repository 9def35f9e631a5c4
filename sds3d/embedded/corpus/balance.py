"""How many images each noun and each of its objects gets: neither the rare nor the frequent nouns fill the corpus."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from sds3d.embedded.corpus.catalogue import Entry, unit_hash
from sds3d.embedded.corpus.procedural_compositions import COMPOSITION
from sds3d.embedded.corpus.render import Job

SHARE = 3.75  # of a noun with one object, in units of `views`
LEAST, MOST = SHARE, 30.0
COMPOSED = 0.6  # of each composition
MODELLED = 1.5  # views of a modelled object over those of a generated one, whose number makes up for it


def fair_share(noun: str, objects: int) -> float:
    """Images a noun with so many objects should have, in units of `views`: as the square root, between two bounds."""
    if noun == COMPOSITION:
        return COMPOSED * objects
    return float(np.clip(SHARE * objects**0.5, LEAST, MOST))


def plan(entries: list[Entry], views: int) -> list[Job]:
    """Images of every object, in an order that only the names decide."""
    count = Counter(e.noun for e in entries)
    parts: defaultdict[str, float] = defaultdict(float)
    for e in entries:
        parts[e.noun] += _part(e)
    return [
        Job(e.key, max(3, round(views * fair_share(e.noun, count[e.noun]) * _part(e) / parts[e.noun])))
        for e in sorted(entries, key=lambda e: unit_hash("order", e.key))
    ]


def _part(entry: Entry) -> float:
    return 1.0 if entry.source == "procedural" else MODELLED
