"""ATTRIBUTION.md of a corpus: who made what is in it, by source and licence."""

from __future__ import annotations

from collections import defaultdict
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


def attribution(objects: list[dict[str, Any]], packages: list[dict[str, str]]) -> str:
    """The text, from the object records and the package table."""
    lines = [
        "# Attribution",
        "",
        "The corpus consists of modified works: each model below was rendered to small images, and some were",
        "recoloured or re-clad. Renders of CC-BY-SA works are under CC-BY-SA 4.0, and so is the corpus as a whole.",
        "",
        "Packages:",
        *[f"- {p['name']} {p['version']} (Debian), sha256 {p['sha256']}" for p in packages],
    ]
    groups: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for o in objects:
        groups[o["source"], o["licence"]][o["author"] or "unknown"].append(o["id"].split(":", 1)[1])
    for (source, licence), authors in sorted(groups.items()):
        link = f" ({URLS[licence]})" if licence in URLS else ""
        lines += ["", f"## {TITLES.get(source, source)}: {licence}{link}", ""]
        lines += [f"- {author}: {', '.join(sorted(works))}" for author, works in sorted(authors.items())]
    return "\n".join(lines) + "\n"


def write_attribution(corpus: Path, manifest: dict[str, Any]) -> None:
    (corpus / "ATTRIBUTION.md").write_text(attribution(list(read_objects(corpus)), manifest["packages"]), "utf-8")
