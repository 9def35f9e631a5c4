"""The viewer page: one HTML document with its scripts, style and pictures inside, that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sds3d.camera import fit_distance
from sds3d.view.charts import curve, series, table

MIME = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".mp4": "video/mp4"}
SCRIPTS = ("three.min.js", "splats.js", "mesh.js", "viewer.js", "page.js")
FOV, ELEVATION = 40.0, 15.0  # degrees: the turntable's camera
KEYS = (
    ("drag", "orbit"), ("right drag", "move"), ("wheel", "zoom, after a click"), ("arrows + -", "the same"),
    ("1 2 3", "both, mesh, splats"), ("T", "texture"), ("N", "normals"), ("W", "wireframe"), ("L", "light"),
    ("space", "turntable"), ("B", "background"), ("R", "reset"), ("F", "full screen"),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What stands in one pane."""

    data: bytes  # a .glb, or Gaussians as `packing.pack` makes them
    label: str  # "10,000 faces"
    note: str = ""  # what is not shown, a sentence
    placement: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0, 0.0)  # centre and radius of what is brought into the unit
    # ball, after it was turned around +Y by so many degrees


@dataclass(frozen=True)
class Page:
    """What a page shows."""

    title: str
    lead: str = ""
    mesh: Part | None = None
    splats: Part | None = None
    light: bool = False  # is the mesh lit at first?
    notes: Sequence[str] = ()  # sentences under the stage, besides the parts' own
    media: Mapping[str, Path] = field(default_factory=dict)  # caption -> .png, .jpg, .gif or .mp4
    metrics: Sequence[Mapping[str, Any]] = ()  # one mapping a step: a curve for every number that changes
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # heading -> rows, may be nested


@cache
def static(name: str) -> str:
    """A file of static/."""
    return (files("sds3d.view") / "static" / name).read_text(encoding="utf-8")


def policy(local: bool) -> str:
    """The Content-Security-Policy: our scripts and style by their digests, nothing from outside. `local` lets the page
    fetch from where it came from."""
    scripts = " ".join(_digest(static(name)) for name in SCRIPTS)
    fetch = "blob: 'self'" if local else "blob:"  # glTF textures are decoded from blobs
    return (
        f"default-src 'none'; script-src {scripts}; style-src {_digest(static('page.css'))}; img-src data: blob:; "
        f"media-src data:; connect-src {fetch}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def render(page: Page, links: Mapping[str, str] | None = None, downloads: Mapping[str, str] | None = None) -> bytes:
    """The page as UTF-8. `links` (part -> address) leaves the stage's data out, to be fetched from there; without, the
    data is inside. `downloads` are name -> address of files offered. Everything from outside is escaped."""
    head = [
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy(links is not None)}">',
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
        f"<title>{escape(page.title)}</title><style>{static('page.css')}</style>",
    ]
    body = [f"<h1>{escape(page.title)}</h1>", f'<p class="lead">{escape(page.lead)}</p>' if page.lead else ""]
    notes = [*page.notes, *(part.note for part in (page.mesh, page.splats) if part and part.note)]
    body += [_stage(page, links or {}), *(f"<p>{escape(note)}</p>" for note in notes), _downloads(downloads or {})]
    body += [_section("Pictures", [_medium(caption, file) for caption, file in page.media.items()])]
    body += [_section("Over the run", [curve(name, *values) for name, values in series(page.metrics).items()], "grid")]
    tables = [f"<section><h2>{escape(name)}</h2>{table(rows)}</section>" for name, rows in page.tables.items()]
    body += ['<div class="tables">', *tables, "</div>"]
    if page.mesh or page.splats:
        body += [f"<script>{static(name)}</script>" for name in SCRIPTS]
    lines = ["<!doctype html>", f'<html lang="en"><head>{"".join(head)}</head>', "<body>", *filter(None, body)]
    return ("\n".join(lines) + "\n</body></html>\n").encode()


def _stage(page: Page, links: Mapping[str, str]) -> str:
    parts = {name: part for name, part in (("mesh", page.mesh), ("splats", page.splats)) if part is not None}
    if not parts:
        return ""
    camera = f'data-fov="{FOV}" data-elevation="{ELEVATION}" data-distance="{float(fit_distance(FOV)):.6f}"'
    data = "".join(_data(name, part, links.get(name)) for name, part in parts.items())
    keys = " · ".join(f"<kbd>{escape(key)}</kbd> {escape(what)}" for key, what in KEYS)
    save = '<a data-save hidden href="#" download="asset.glb">Save the mesh (asset.glb)</a>'
    stage = f'<div id="stage" {camera} data-light="{page.light:d}">{data}{static("stage.html")}</div>'
    return f'{stage}<p class="keys">{keys}</p><p>{save}</p>'


def _data(name: str, part: Part, link: str | None) -> str:
    place = " ".join(f"{value:.9g}" for value in part.placement)
    facts = f'data-part="{name}" data-label="{escape(part.label)}" data-place="{place}"'
    tag = f'<script type="application/octet-stream" {facts}'
    if link is not None:
        return f'{tag} data-source="{escape(link)}"></script>'
    return f"{tag}>{base64.b64encode(part.data).decode()}</script>"


def _downloads(downloads: Mapping[str, str]) -> str:
    links = (f'<a href="{escape(link)}" download>{escape(name)}</a>' for name, link in downloads.items())
    return f"<p>Files: {' · '.join(links)}</p>" if downloads else ""


def _section(heading: str, parts: Sequence[str], kind: str = "media") -> str:
    return f'<h2>{escape(heading)}</h2><div class="{kind}">{"".join(parts)}</div>' if parts else ""


def _medium(caption: str, file: Path) -> str:
    kind = MIME[file.suffix.lower()]
    source = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    film = kind.startswith("video")
    tag = f'<video src="{source}" controls loop muted playsinline></video>' if film else f'<img src="{source}" alt="">'
    return f"<figure>{tag}<figcaption>{escape(caption)}</figcaption></figure>"
