"""A run as one page, report.html in its folder: what it made, to be turned around, and how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sds3d.export import FORMATS, axes_kind
from sds3d.files import write_bytes
from sds3d.view.charts import is_number
from sds3d.view.page import Page, render
from sds3d.view.stage import Axes, run_parts

MESHES = ("glb", "gltf", "obj", "mesh-ply", "stl")  # the fullest first
SPLATS = ("ply", "spz", "ply-compressed", "splat")
ROWS, LONGEST = 20_000, 1 << 20  # most rows of a run's metrics that are kept, most characters of one
PICTURES = {"turntable": ("turntable.mp4", "turntable.gif"), "views": ("views.png",)}


def write_report(folder: Path, metrics: Path, result: Mapping[str, Any]) -> Path:
    """report.html in `folder`, from the asset and pictures that are in it, the run's metrics.jsonl and its result.
    Atomic; needs no other file and no network to be looked at."""
    return write_bytes(folder / "report.html", render(run_page(folder, metrics, result)))


def run_page(folder: Path, metrics: Path, result: Mapping[str, Any], inside: bool = True) -> Page:
    """The page of a finished run; `inside`: to hold its own data, and therefore to be small."""
    settings = result["settings"]
    files = [_first(folder, [FORMATS[name] for name in names]) for names in (MESHES, SPLATS)]
    mesh, splats = run_parts(files[0], files[1], inside, [_axes(path, result.get("axes", {})) for path in files])
    return Page(
        title=result["prompt"],
        lead=f"{settings['scene']}, {settings['guidance']}, prior {settings['prior']}, seed {settings['seed']}",
        mesh=mesh,
        splats=splats,
        media={name: path for name, files in PICTURES.items() if (path := _first(folder, files))},
        metrics=read_metrics(metrics),
        tables={
            "Asset": result["qa"] or {"asset": result["line"]},
            "Seconds": {**result["seconds"], "export": result["export_seconds"]},
            "Machine": {**result["hardware"], **result["memory"]},
            "Versions": result["versions"],
            "Settings": {k: v for k, v in settings.items() if k != "prompt"},
        },
    )


def unfinished_page(folder: Path, settings: Mapping[str, Any]) -> Page:
    """What there is to see of a run that goes on or was stopped: its last preview and its curves."""
    previews = sorted(path for path in (folder / "preview").glob("*.png") if path.stem.isdecimal())
    rows = read_metrics(folder / "metrics.jsonl")
    return Page(
        title=str(settings.get("prompt", folder.name)),
        lead=f"unfinished, {_steps(rows)} of {settings.get('steps', '?')} steps; reload to see more",
        media={f"step {int(previews[-1].stem)}": previews[-1]} if previews else {},
        metrics=rows,
        tables={"Settings": {k: v for k, v in settings.items() if k != "prompt"}},
    )


def _steps(rows: Sequence[Mapping[str, Any]]) -> int:
    """How far the rows go."""
    last = rows[-1].get("step") if rows else 0
    return int(last) if is_number(last) else len(rows)


def _axes(path: Path | None, known: Mapping[str, Sequence[str]]) -> Axes:
    """Up and front in the run's file `path`, of what its result says."""
    kind = next((axes_kind(name) for name, file in FORMATS.items() if path and path.name == file), "")
    return (known[kind][0], known[kind][1]) if kind in known else None


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that is there."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl up to the first that is not whole (a run may be writing it); none without a file.
    Of very many rows, every second, fourth or so: never more than ROWS, however large the file is."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    stride = 1
    with path.open(encoding="utf-8", errors="replace") as stream:
        for place, line in enumerate(iter(partial(stream.readline, LONGEST), "")):
            if place % stride:
                continue
            row = _row(line)
            if row is None:
                break
            rows.append(row)
            if len(rows) > ROWS:
                rows, stride = rows[::2], 2 * stride
    return rows


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
