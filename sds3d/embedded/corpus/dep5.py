"""Debian's machine-readable copyright files (DEP-5): which licence a file of a source package is under."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Stanza:
    """One Files paragraph."""

    patterns: tuple[re.Pattern[str], ...]
    licence: str
    holders: tuple[str, ...]


def _field(paragraph: str, name: str) -> str | None:
    found = re.search(rf"^{name}:[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
    return found[1] if found else None


def _glob(pattern: str) -> re.Pattern[str]:
    """DEP-5 knows only * and ?, and both match slashes."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def parse(text: str) -> list[Stanza]:
    """The Files paragraphs in order."""
    stanzas = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        files, licence = _field(paragraph, "Files"), _field(paragraph, "License")
        if files and licence:
            copyright_lines = (_field(paragraph, "Copyright") or "").splitlines()
            holders = tuple(re.sub(r"^[\d,\s\-–]+", "", line.strip()) for line in copyright_lines)
            patterns = tuple(_glob(p) for p in files.split())
            stanzas.append(Stanza(patterns, licence.splitlines()[0].strip(), tuple(h for h in holders if h)))
    return stanzas


def stanza_of(stanzas: list[Stanza], path: str) -> Stanza | None:
    """The last paragraph that names the file, as DEP-5 has it."""
    matching = (s for s in reversed(stanzas) if any(p.fullmatch(path) for p in s.patterns))
    return next(matching, None)
