"""Prompts, and what the judge is to find for each: nouns, a colour, a front."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sds3d.embedded.corpus.names import COLOURS, with_article
from sds3d.errors import UserError
from sds3d.probe.words import find_colour, find_nouns
from sds3d.prompts import load_list

LISTS = ("objects", "colours", "parts", "compositions")
QUICK = 10  # prompts
COLOURED = ("chair", "sofa", "car", "mug", "backpack", "hat", "fish", "robot", "house", "airplane")

_PART = re.compile(r" (?:with|wearing|in) .*")  # what follows belongs to the object
_BESIDE = re.compile(r" (?:on|next to|beside|behind|under|in front of) | and (?=an? )")


@dataclass(frozen=True)
class Target:
    """What a picture of `prompt` should show."""

    prompt: str
    group: str  # the list it comes from
    nouns: tuple[str, ...]  # all of them are to be seen; the first is the subject
    colour: str | None  # of the whole, where the prompt gives one
    faced: bool  # one object, with a front that the judge can tell from its back


@dataclass(frozen=True)
class Vocabulary:
    """What the judge knows."""

    nouns: Sequence[str]
    known: Mapping[str, str]  # words -> noun
    fronted: Collection[str]  # nouns


def read(prompt: str, group: str, words: Vocabulary) -> Target:
    """The target of a prompt. UserError where the judge knows no noun in it."""
    pieces = [_PART.sub("", piece) for piece in _BESIDE.split(prompt.lower())]
    found = [find_nouns(piece, words.known)[:1] for piece in pieces]
    nouns = tuple(dict.fromkeys(noun for some in found for noun in some))
    if not nouns:
        raise UserError(f"the probe knows no noun in {prompt!r}: leave it out of the list, or say it in other words")
    single = len(nouns) == 1
    colour = find_colour(pieces[0], COLOURS) if single else None
    return Target(prompt, group, nouns, colour, single and nouns[0] in words.fronted)


def load_targets(lists: Sequence[str], words: Vocabulary) -> list[Target]:
    """Targets of the prompts in `lists`: names, or .txt files."""
    return [read(prompt, name, words) for name in lists for prompt in load_list(name)]


def everything(words: Vocabulary) -> list[Target]:
    """Every noun that the judge knows, and every basic colour on COLOURED objects: what a prior is accepted by."""

    def target(noun: str, group: str, colour: str | None = None) -> Target:
        prompt = with_article(f"{colour} {noun}" if colour else noun)
        return Target(prompt, group, (words.known[noun],), colour, words.known[noun] in words.fronted)

    things = [noun for noun in COLOURED if noun in words.known]
    return [target(noun, "nouns") for noun in words.nouns] + [
        target(noun, "colour words", colour) for colour in COLOURS for noun in things
    ]


def spread(targets: Sequence[Target], n: int) -> list[Target]:
    """n of them, evenly spread; all when there are fewer."""
    return [targets[i * len(targets) // n] for i in range(n)] if len(targets) > n else list(targets)
