"""A bench's report for people: a table, contact sheets, a page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from sds3d.bench.shots import Shot
from sds3d.bench.targets import Target
from sds3d.files import write_bytes
from sds3d.view.pictures import INK, PAPER

HEADER = ("what", "list", "R@1", "R@5", "of 2D", "colour", "azimuth", "Janus", "diversity", "score", "s")
SCORES = ("r1", "r5", "colour", "azimuth", "janus", "score")  # that the probe has a ceiling for
FEW = 4
LABEL = 150  # pixels of a sheet's column of prompts

Cells = tuple[str, ...]


def ceilings(probe: Mapping[str, Any]) -> dict[str, float | None]:
    """The probe's own figures by the names of a row's; colours are those of objects that have a main one."""
    return {name: probe.get(name) for name in SCORES}


def cells(row: Mapping[str, Any], ceiling: Mapping[str, float | None]) -> Cells:
    """A row of the table; behind each score the probe's own on renders of real objects."""

    def percent(value: float) -> str:
        return f"{value:.0%}"

    label = row["label"] + (f" ({row['failed']} failed)" if row["failed"] else "")
    return (
        label,
        row["list"],
        _beside(row["r1"], ceiling["r1"], percent),
        _beside(row["r5"], ceiling["r5"], percent, error=True),
        "-" if row["r5_of_2d"] is None else f"{row['r5_of_2d']:.2f}",
        _beside(row["colour"], ceiling["colour"], percent),
        _beside(row["azimuth"], ceiling["azimuth"], lambda v: f"{v:.0f}°"),
        _beside(row["janus"], ceiling["janus"], percent),
        "-" if row["diversity"] is None else f"{row['diversity']['value']:.2f}",
        _beside(row["score"], ceiling["score"], lambda v: f"{v:.2f}"),
        f"{row['seconds']['value']:.1f}",
    )


def _beside(
    figure: Mapping[str, Any] | None, ceiling: float | None, show: Callable[[float], str], error: bool = False
) -> str:
    if figure is None:
        return "-"
    spread = f" ±{100 * figure['error']:.0f}" if error and figure["error"] is not None else ""
    return f"{show(figure['value'])}{spread} / {'?' if ceiling is None else show(ceiling)}"


def table_rows(report: Mapping[str, Any]) -> list[Cells]:
    """The table under HEADER; by list too where at most FEW ways are compared."""
    ceiling = ceilings(report["ceiling"])
    few = len({row["label"] for row in report["rows"]}) <= FEW
    return [cells(row, ceiling) for row in report["rows"] if few or row["list"] == "all"]


def sheet(targets: Sequence[Target], columns: Sequence[tuple[str, Mapping[str, Shot]]]) -> Image.Image:
    """One row per prompt, one block of views per column (title, shots by prompt)."""
    shown = [t.prompt for t in targets if any(t.prompt in shots for _, shots in columns)]
    first = next(iter(columns[0][1].values()))
    views, size = first.views.shape[:2]
    head, gap = 20, size // 4
    block = views * size + gap
    canvas = Image.new("RGB", (LABEL + block * len(columns), head + size * len(shown)), PAPER)
    draw = ImageDraw.Draw(canvas)
    face = ImageFont.load_default(12)
    for j, (title, shots) in enumerate(columns):
        left = LABEL + j * block
        draw.text((left + 2, 2), title, fill=INK, font=face)
        for i, prompt in enumerate(shown):
            if prompt in shots:
                for k, view in enumerate(shots[prompt].views):
                    canvas.paste(Image.fromarray(view).resize((size, size)), (left + k * size, head + i * size))
    for i, prompt in enumerate(shown):
        draw.multiline_text((2, head + i * size + 4), _wrapped(prompt, face), fill=INK, font=face)
    return canvas


def _wrapped(text: str, face: Any) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) > LABEL - 6 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def markdown(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The page that shows every report by name."""
    parts = [_INTRODUCTION]
    for name, report in reports.items():
        parts += [f"## {name}\n", f"    {report['command']}\n", _facts(report)]
        parts.append(_markdown_table(HEADER, table_rows(report)))
    return "\n".join(parts)


_INTRODUCTION = """# Quality

Written by `sds3d bench quality --write`; the numbers behind the tables are in `quality/`.

A row is one way of making things. Every result is seen from eight sides and judged by the probe, a model that no prior
was trained with. Behind each score stands the probe's own on renders of objects that it had not seen: how far it can be
trusted. It is no upper bound: a prior draws what is typical of a noun, and that is easier to name than any one object.

- **R@1, R@5**: share of the views whose noun is the probe's first, or among its first five (± standard error over
  prompts). With two objects in the prompt both must be there, and one more place counts.
- **of 2D**: R@5 against that of the prior's own samples, the first row.
- **colour**: share of the views in the colour asked for. **azimuth**: median error of the view's angle, for things with
  a front. **Janus**: share of their back views that the probe takes for fronts.
- **diversity**: mean distance between seeds. **score**: image-text similarity. **s**: seconds a result.
"""


def _facts(report: Mapping[str, Any]) -> str:
    hardware = report["hardware"]
    return (
        f"{report['prompts']} prompts, {report['seeds']} seed(s), prior {report['prior']} ({report['weights']}), "
        f"sds3d {report['versions']['sds3d']}, {hardware['processor']}, {hardware['threads']} threads, "
        f"{report['made']}.\n"
    )


def _markdown_table(header: Cells, rows: Sequence[Cells]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_json(path: Path, report: Mapping[str, Any]) -> Path:
    return write_bytes(path, json.dumps(report, allow_nan=False, ensure_ascii=False).encode() + b"\n")


def publish(path: Path, report: Mapping[str, Any]) -> Path:
    """Write the report to `path` (docs/quality/NAME.json) and the page beside its folder (docs/quality.md) anew."""
    write_json(path, report)
    reports = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(path.parent.glob("*.json"))}
    page = path.parent.with_suffix(".md")
    return write_bytes(page, markdown(reports).encode())
