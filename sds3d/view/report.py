"""report.html: one file, no scripts, no network, that tells what a run made and how."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sds3d.files import write_bytes

MIME = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".mp4": "video/mp4"}
POINTS = 240  # a curve is thinned to this many

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --ink: #2a6fb0 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1060px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p.lead { color: var(--soft); margin: .2rem 0 1.5rem }
figure { margin: 0 0 1rem } figcaption { color: var(--soft); font-size: .85rem }
img, video { max-width: 100%; border-radius: 6px; border: 1px solid var(--line); background: #fff }
table { border-collapse: collapse } td { padding: .15rem 1.2rem .15rem 0; border-top: 1px solid var(--line) }
td { vertical-align: top; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
td:first-child { color: var(--soft); white-space: nowrap }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem 2rem }
svg { width: 100%; height: auto; display: block } svg text { font-size: 11px; fill: var(--soft) }
svg path { fill: none; stroke: var(--ink); stroke-width: 1.5 } svg line { stroke: var(--line) }
""".strip()


def write_report(
    path: Path,
    title: str,
    lead: str = "",
    media: Mapping[str, Path] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the page: `media` (caption -> .png, .jpg, .gif or .mp4 file) inside it, a curve for every number that
    changes over `metrics` (one mapping per step), `tables` (heading -> rows, nested mappings flattened to dotted
    names). Everything from outside is escaped. Atomic."""
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>' if lead else ""]
    parts += [_medium(caption, file) for caption, file in (media or {}).items()]
    curves = [_curve(name, xs, ys) for name, (xs, ys) in series(metrics).items()]
    if curves:
        parts.append(f'<h2>Over the run</h2><div class="grid">{"".join(curves)}</div>')
    parts.append('<div class="grid">')
    parts += [f"<section><h2>{escape(name)}</h2>{_table(rows)}</section>" for name, rows in (tables or {}).items()]
    parts.append("</div>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page = f"<!doctype html>\n<html lang=en><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>"
    return write_bytes(path, f"{page}<body>{''.join(parts)}</body></html>\n".encode())


def series(metrics: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """name -> (steps, values) of every finite number in the rows that is not the same throughout; x is the row's
    "step" or its place."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for place, row in enumerate(metrics):
        step = float(row.get("step", place))
        for name, value in flat(row).items():
            if name == "step" or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if math.isfinite(value):
                xs, ys = found.setdefault(name, ([], []))
                xs.append(step)
                ys.append(float(value))
    return {name: (xs, ys) for name, (xs, ys) in found.items() if len(set(ys)) > 1}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted names."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        pairs.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return pairs


def _table(rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(_text(value))}</td></tr>" for name, value in flat(rows).items())
    return f"<table>{''.join(cells)}</table>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "-" if value is None else str(value)


def _medium(caption: str, file: Path) -> str:
    kind = MIME[file.suffix.lower()]
    source = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    film = kind.startswith("video")
    tag = f'<video src="{source}" autoplay loop muted playsinline></video>' if film else f'<img src="{source}" alt="">'
    return f"<figure>{tag}<figcaption>{escape(caption)}</figcaption></figure>"


def _curve(name: str, xs: Sequence[float], ys: Sequence[float], width: int = 320, height: int = 110) -> str:
    """An inline SVG line with its range written beside it."""
    stride = -(-len(xs) // POINTS)
    xs, ys = xs[::stride], ys[::stride]
    left, right, top, bottom = 46.0, width - 4.0, 18.0, height - 16.0
    low, high = min(ys), max(ys)
    across = (right - left) / ((xs[-1] - xs[0]) or 1.0)
    down = (bottom - top) / ((high - low) or 1.0)
    points = (f"{left + (x - xs[0]) * across:.1f} {bottom - (y - low) * down:.1f}" for x, y in zip(xs, ys, strict=True))
    labels = [
        (left, 12, "start", name),
        (left - 4, top + 4, "end", f"{high:.3g}"),
        (left - 4, bottom, "end", f"{low:.3g}"),
        (left, height - 3, "start", f"{xs[0]:.0f}"),
        (right, height - 3, "end", f"{xs[-1]:.0f}"),
    ]
    texts = (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(t)}</text>' for x, y, anchor, t in labels)
    axis = f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    return f'<svg viewBox="0 0 {width} {height}">{axis}<path d="M{" L".join(points)}"/>{"".join(texts)}</svg>'
