"""ATTRIBUTION.md of a corpus: who made what is in it, by source and licence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sds3d.embedded.corpus.shards import read_objects

TITLES = {
    "sweethome": "Sweet Home 3D furniture libraries (eTeks, Scopia, Kator Legaz, Reallusion, Blend Swap contributors)",
    "zeroad": "0 A.D. (c) Wildfire Games",
    "megaglest": "MegaGlest (c) The Glest Team and the MegaGlest Team",
    "supertuxkart": "SuperTuxKart (c) the SuperTuxKart artists",
    "procedural": "Procedural objects of this project",
}
URLS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-3.0-US": "https://creativecommons.org/licenses/by/3.0/us/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
CORPUS = (
    "The corpus consists of modified works: each model below was rendered to small images, and some were\n"
    "recoloured or re-clad. Renders of CC-BY-SA works are under CC-BY-SA 4.0, and so is the corpus as a whole."
)


def people(author: str) -> str:
    """The names in an author line, each once: no years, no addresses, no word "copyright"."""
    names = []
    for name in author.split(";"):
        name = re.sub(r"<[^>]*>|\S+@\S+", "", name)
        name = re.sub(r"^(?:copyright\b|\(c\)|\d{4}\b|[\s?,©–-])+", "", name, flags=re.IGNORECASE).strip()
        names.append(re.sub(r'^"([^"]*)"$', r"\1", name))
    return "; ".join(dict.fromkeys(n for n in names if n)) or "unknown"


def attribution(objects: Iterable[dict[str, Any]], packages: list[dict[str, str]], made: str = CORPUS) -> str:
    """The text, from the object records (id, source, licence, author), the package table and what was made of them."""
    lines = [
        "# Attribution",
        "",
        *made.splitlines(),
        "",
        "Packages:",
        *[f"- {p['name']} {p['version']} (Debian), sha256 {p['sha256']}" for p in packages],
    ]
    groups: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for o in objects:
        groups[o["source"], o["licence"]][people(o["author"])].append(o["id"].split(":", 1)[1])
    for (source, licence), authors in sorted(groups.items()):
        link = f" ({URLS[licence]})" if licence in URLS else ""
        lines += ["", f"## {TITLES.get(source, source)}: {licence}{link}", ""]
        lines += [f"- {author}: {_listed(source, works)}" for author, works in sorted(authors.items())]
    return "\n".join(lines) + "\n"


def _listed(source: str, works: list[str]) -> str:
    return f"{len(works):,} objects" if source == "procedural" else ", ".join(sorted(works))


def write_attribution(corpus: Path, manifest: dict[str, Any]) -> None:
    (corpus / "ATTRIBUTION.md").write_text(attribution(read_objects(corpus), manifest["packages"]), "utf-8")
