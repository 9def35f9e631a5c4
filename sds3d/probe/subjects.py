"""Whom the probe looks at: objects that the prior does not train on wherever there are any, each for training or for
the ceiling.

- generated objects: instances of the corpus's generators from seeds of their own (the corpus numbers its instances, the
  probe names them by its seed), so none is an object of the prior's;
- modelled objects that the corpus holds out or leaves out because their noun is crowded;
- where a noun has neither, objects that the prior trains on too ("shared"), stretched and lit differently.

"The prior" is one that learns from the whole corpus as this code builds it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sds3d.embedded.corpus import fetch
from sds3d.embedded.corpus.attribution import attribution
from sds3d.embedded.corpus.captions import wordings
from sds3d.embedded.corpus.catalogue import SOURCES, Entry, Loaded, catalogue, seed_of, unit_hash
from sds3d.embedded.corpus.procedural import FRONTED, GENERATORS

INSTANCES, CEILING_INSTANCES = 14, 3  # of each generator
FEW, MOST = 3, 12  # modelled objects of a noun: below FEW, shared ones are added; above MOST, left out
MADE = (
    "The probe learnt from, or was measured on, modified works: the models below were stretched, some were recoloured\n"
    "or re-clad, and they were rendered to small images. Some are CC-BY-SA, so the weights are CC-BY-SA 4.0. A few of\n"
    "the models were too thin to be drawn."
)
MODELLED = tuple(s for s in SOURCES if s != "procedural")


@dataclass(frozen=True)
class Subject:
    """An object and its part in the probe's life."""

    entry: Entry
    ceiling: bool  # looked at for the ceiling only
    shared: bool  # the prior trains on it too
    seen: bool = False  # a ceiling subject whose noun has no second object: the probe trained on this one
    looks: int = 1  # stretched copies
    views: int = 8  # of each


def generate(noun: str, seed: int, instance: int) -> Loaded:
    """An instance of a generator that no corpus has."""
    rng = np.random.default_rng(seed_of("probe", str(seed), noun, str(instance)))
    phrases, soup = GENERATORS[noun](rng)
    return soup, tuple(phrases)


def generated(seed: int) -> list[Subject]:
    """Instances of every generator."""
    return [
        Subject(
            Entry(
                "procedural", f"probe-{seed}/{noun.replace(' ', '-')}/{i:02d}", noun, noun, "procedural", "CC0-1.0",
                "this project", partial(generate, noun, seed, i), (), noun in FRONTED,
            ),
            ceiling=i >= INSTANCES, shared=False, views=8 if i < INSTANCES else 4,
        )
        for noun in sorted(GENERATORS)
        for i in range(INSTANCES + CEILING_INSTANCES)
    ]  # fmt: skip


def modelled(cache: Path, seed: int) -> list[Subject]:
    """Modelled objects of every noun that has any, by the rules above."""
    trained = {e.key for e in catalogue(cache) if not e.heldout}
    by_noun: dict[str, list[Entry]] = defaultdict(list)
    for source in MODELLED:
        for entry in SOURCES[source](cache):
            if entry.noun in wordings(entry):  # an ancient house is not what "a house" means
                by_noun[entry.noun].append(entry)
    return [s for noun in sorted(by_noun) for s in _of_noun(noun, by_noun[noun], trained, seed)]


def _of_noun(noun: str, entries: list[Entry], trained: set[str], seed: int) -> list[Subject]:
    ranked = sorted(entries, key=lambda e: unit_hash("probe", str(seed), e.key))
    pool = [e for e in ranked if e.key not in trained][:MOST]
    if noun not in GENERATORS and len(pool) < FEW:
        pool += [e for e in ranked if e.key in trained][: 2 * FEW - len(pool)]
    if not pool:
        return []
    kept_back = 0 if len(pool) == 1 else min(FEW, 1 + len(pool) // 4)
    learnt, kept = pool[kept_back:], pool[:kept_back]
    looks = int(np.clip(round(6 / len(learnt)), 1, 5))
    subjects = [Subject(e, False, e.key in trained, looks=looks) for e in learnt]
    subjects += [Subject(e, True, e.key in trained, views=6) for e in kept]
    if not kept and noun not in GENERATORS:
        subjects.append(Subject(pool[0], True, pool[0].key in trained, seen=True, views=6))
    return subjects


def credits(chosen: list[Subject]) -> str:
    """ATTRIBUTION.md of a probe that looked at these."""
    entries = {s.entry.key: s.entry for s in chosen}.values()
    records = [{"id": e.key, "source": e.source, "licence": e.licence, "author": e.author} for e in entries]
    return attribution(records, fetch.table({e.source for e in entries}), MADE)


def subjects(cache: Path, seed: int) -> list[Subject]:
    """All of them, in an order that mixes nouns, the same for the same seed and corpus code."""
    everyone = generated(seed) + modelled(cache, seed)
    return sorted(everyone, key=lambda s: unit_hash("probe order", s.entry.key, str(s.ceiling)))
