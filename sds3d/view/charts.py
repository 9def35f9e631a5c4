"""Numbers to HTML: a small SVG curve for every metric, and tables of settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeGuard

POINTS = 240  # a curve is thinned to this many
LARGEST = sys.float_info.max


def series(metrics: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """name -> (steps, values) of every finite number in the rows that is not the same throughout; x is the row's
    "step" or its place."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for place, row in enumerate(metrics):
        at = row.get("step")
        step = float(at) if is_number(at) else float(place)
        for name, value in flat(row).items():
            if name != "step" and is_number(value):
                xs, ys = found.setdefault(name, ([], []))
                xs.append(step)
                ys.append(float(value))
    return {name: (xs, ys) for name, (xs, ys) in found.items() if len(set(ys)) > 1}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it can be drawn: a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted names."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        pairs.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return pairs


def table(rows: Mapping[str, Any]) -> str:
    """Two columns, names and values, escaped."""
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(_text(value))}</td></tr>" for name, value in flat(rows).items())
    return f"<table>{''.join(cells)}</table>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(_text, value))
    return "-" if value in (None, "") else str(value)


def _short(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def curve(name: str, xs: Sequence[float], ys: Sequence[float], width: int = 320, height: int = 110) -> str:
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
        (left - 4, top + 4, "end", _short(high)),
        (left - 4, bottom, "end", _short(low)),
        (left, height - 3, "start", f"{xs[0]:.0f}"),
        (right, height - 3, "end", f"{xs[-1]:.0f}"),
    ]
    texts = (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(t)}</text>' for x, y, anchor, t in labels)
    axis = f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    return f'<svg viewBox="0 0 {width} {height}">{axis}<path d="M{" L".join(points)}"/>{"".join(texts)}</svg>'
