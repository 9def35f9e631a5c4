"""A species of four-legged animal: its body, its coats, what only it has, what it is called; and its generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sds3d.embedded.corpus.procedural_beast import Beast, Coat, vary
from sds3d.embedded.corpus.procedural_extras import (
    worn,
)
from sds3d.embedded.corpus.procedural_kit import (
    COLOURS,
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
from sds3d.embedded.corpus.procedural_quadrupeds import beast

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


def solid(word: str, dark: float = 0.0, **more: Rgb) -> Coat:
    return Coat(word, shade(COLOURS[word], dark), **more)


def generator(s: Species) -> Generator:
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
