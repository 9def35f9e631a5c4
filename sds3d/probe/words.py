"""Nouns: which go together, and which one a prompt is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sds3d.errors import UserError

_JOINTS = re.compile(r"\b(?:with|wearing|next to|on|in|under|over|beside|and|made of|of)\b")


def related(nouns: list[str], also: Mapping[str, Iterable[str]]) -> list[tuple[int, int]]:
    """Pairs (i < j) of nouns neither of which is wrong for the other's picture: other words for one thing (`also`), and
    a kind and its family ("coffee table", "table")."""
    at = {noun: i for i, noun in enumerate(nouns)}
    pairs = {(at[a], at[b]) for a, others in also.items() for b in others if a in at and b in at}
    for noun, i in at.items():
        words = noun.split()
        pairs |= {(i, at[tail]) for k in range(1, len(words)) if (tail := " ".join(words[k:])) in at}
    return sorted({(min(p), max(p)) for p in pairs})


def aliases(nouns: list[str], also: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Other words -> noun, where the word is not a noun itself and belongs to one noun only."""
    owners: dict[str, set[str]] = {}
    for noun in nouns:
        for word in also.get(noun, ()):
            owners.setdefault(word, set()).add(noun)
    return {w: min(o) for w, o in sorted(owners.items()) if len(o) == 1 and w not in nouns}


def find_nouns(prompt: str, known: Mapping[str, str]) -> list[str]:
    """The known words in the prompt, as nouns: those before the first "with", "on", ... first, then by length; words
    inside longer ones ("table" in "coffee table") are left out."""
    text = prompt.lower()
    joint = _JOINTS.search(text)
    end = joint.start() if joint else len(text)
    spans = [
        (m.start(), m.end(), noun) for word, noun in known.items()
        for m in re.finditer(rf"\b{re.escape(word)}(?:s|es)?\b", text)
    ]  # fmt: skip
    outer = [s for s in spans if not any(o[0] <= s[0] and s[1] <= o[1] and o[:2] != s[:2] for o in spans)]
    ranked = sorted(outer, key=lambda s: (s[0] >= end, s[0] - s[1], s[0]))
    return list(dict.fromkeys(noun for *_, noun in ranked))


def find_noun(prompt: str, known: Mapping[str, str]) -> str:
    """The noun a prompt is about; UserError if it has none that the probe knows."""
    found = find_nouns(prompt, known)
    if not found:
        raise UserError(f"the probe knows no noun in {prompt!r}: see sds3d probe ceiling --nouns for those it knows")
    return found[0]


def find_colour(prompt: str, colours: Iterable[str]) -> str | None:
    """The colour word of a prompt's first phrase ("a green robot with blue arms" -> "green"), None without or with
    two."""
    first = re.split(rf"(?!\band\b){_JOINTS.pattern}", prompt.lower().replace("grey", "gray"), maxsplit=1)[0]
    named = [word for word in re.findall(r"[a-z]+", first) if word in set(colours)]
    return named[0] if len(named) == 1 else None
