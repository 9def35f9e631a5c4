"""A run as one page, report.html in its folder: what it made, to be turned around, and how."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sds3d.errors import UserError
from sds3d.export import FORMATS
from sds3d.files import write_bytes
from sds3d.view.page import Page, Part, render
from sds3d.view.stage import SPLATS_INSIDE, read_splat_ply, splats_part

PICTURES = {"turntable": ("turntable.mp4", "turntable.gif"), "views": ("views.png",)}


def write_report(folder: Path, metrics: Path, result: Mapping[str, Any]) -> Path:
    """report.html in `folder`, from the asset and pictures that are in it, the run's metrics.jsonl and its result.
    Atomic; needs no other file and no network to be looked at."""
    return write_bytes(folder / "report.html", render(run_page(folder, metrics, result, SPLATS_INSIDE)))


def run_page(folder: Path, metrics: Path, result: Mapping[str, Any], splats: int) -> Page:
    """The page of a finished run; at most `splats` Gaussians are shown."""
    settings = result["settings"]
    mesh, gaussians = folder / FORMATS["glb"], folder / FORMATS["ply"]
    return Page(
        title=result["prompt"],
        lead=f"{settings['scene']}, {settings['guidance']}, prior {settings['prior']}, seed {settings['seed']}",
        mesh=mesh_part(mesh.read_bytes()) if mesh.is_file() else None,
        splats=splats_part(read_splat_ply(gaussians), splats) if gaussians.is_file() else None,
        media=_pictures(folder),
        metrics=read_metrics(metrics),
        tables={
            "Asset": result["qa"] or {"asset": result["line"]},
            "Seconds": {**result["seconds"], "export": result["export_seconds"]},
            "Settings": {k: v for k, v in settings.items() if k != "prompt"},
            "Machine": {**result["hardware"], **result["memory"]},
            "Versions": result["versions"],
        },
    )


def unfinished_page(folder: Path, settings: Mapping[str, Any]) -> Page:
    """What there is to see of a run that goes on or was stopped: its last preview and its curves."""
    previews = sorted((folder / "preview").glob("*.png"))
    rows = read_metrics(folder / "metrics.jsonl")
    return Page(
        title=str(settings.get("prompt", folder.name)),
        lead=f"unfinished, {len(rows)} of {settings.get('steps', '?')} steps; reload to see more",
        media={f"step {int(previews[-1].stem)}": previews[-1]} if previews else {},
        metrics=rows,
        tables={"Settings": {k: v for k, v in settings.items() if k != "prompt"}},
    )


def _pictures(folder: Path) -> dict[str, Path]:
    found = {name: [folder / file for file in files if (folder / file).is_file()] for name, files in PICTURES.items()}
    return {name: paths[0] for name, paths in found.items() if paths}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl up to the first that is not whole (a run may be writing it); none without a file."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def mesh_part(glb: bytes) -> Part:
    """The pane of a binary glTF."""
    return Part(glb, f"{glb_faces(glb):,} faces")


def glb_faces(glb: bytes) -> int:
    """Triangles of a binary glTF's meshes, from its JSON alone. UserError when it is none."""
    try:
        magic, _, _, length, kind = struct.unpack_from("<4s4I", glb)
        if magic != b"glTF" or kind != 0x4E4F534A:
            raise ValueError("not a binary glTF")
        tree = json.loads(glb[20 : 20 + length])
        corners = [
            tree["accessors"][part.get("indices", part["attributes"]["POSITION"])]["count"]
            for mesh in tree.get("meshes", ())
            for part in mesh["primitives"]
        ]
        return sum(corners) // 3
    except (struct.error, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"the mesh cannot be read ({error}): write it again with sds3d export") from None
