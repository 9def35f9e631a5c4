"""What `sds3d view` shows: the site of a run's folder, or of one asset."""

from __future__ import annotations

import json
from pathlib import Path

from sds3d.assets.load import load_asset
from sds3d.assets.mesh import BOTH_SIDES, METAL, OTHER_MAPS, TRANSPARENCY, LoadedMesh
from sds3d.assets.splats import LoadedSplats
from sds3d.config import read_yaml
from sds3d.errors import UserError
from sds3d.view.page import Page
from sds3d.view.report import run_page, unfinished_page
from sds3d.view.server import Site
from sds3d.view.stage import mesh_part, splats_part

OFFERED = ("asset*", "views.png", "turntable.*", "report.html", "config.yaml", "result.json", "metrics.jsonl")

SHOWN = {TRANSPARENCY, BOTH_SIDES}  # of what a loaded mesh has not, by the viewer in any case
SHOWN_AS_IT_IS = SHOWN | {METAL, OTHER_MAPS}  # where it takes the file as it is


def site(path: Path, up: str | None = None, front: str | None = None) -> Site:
    """The site of a run's folder, read anew at every visit, or of a mesh or splat file from anywhere (`up` and `front`
    as for `assets.load_asset`). UserError when there is nothing to see."""
    if path.is_dir():
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is not a run folder: it has no config.yaml")
        if up or front:
            raise UserError("--up and --front are for an asset's file: a run says itself how it stands")
        return Site(lambda: _run(path), _offered(path))
    page = asset_page(path, up, front)
    return Site(lambda: page)


def asset_page(path: Path, up: str | None = None, front: str | None = None) -> Page:
    """The page of one file."""
    loaded = load_asset(path, up, front)
    data = path.read_bytes()
    mesh = mesh_part(loaded, data) if isinstance(loaded, LoadedMesh) else None
    shown = SHOWN if mesh is None or mesh.data is not data else SHOWN_AS_IT_IS
    missing = [note for note in loaded.notes if note not in shown]
    centre, radius = loaded.placement.centre, loaded.placement.radius
    facts = {**_facts(loaded), "centre": centre.tolist(), "radius": radius, "bytes": path.stat().st_size}
    return Page(
        title=path.name,
        lead="3D Gaussians" if isinstance(loaded, LoadedSplats) else "mesh",
        mesh=mesh,
        splats=splats_part(loaded.world, inside=False) if isinstance(loaded, LoadedSplats) else None,
        notes=[f"Not shown: {', '.join(missing)}."] if missing else (),
        tables={"In the file": facts},
    )


def _facts(loaded: LoadedMesh | LoadedSplats) -> dict[str, object]:
    if isinstance(loaded, LoadedSplats):
        return {"Gaussians": len(loaded), "degree of the harmonics": loaded.stored.degree}
    texture = None if loaded.texture is None else "{1} x {0}".format(*loaded.texture.shape)
    return {"faces": len(loaded.faces), "vertices": len(loaded.vertices), "texture": texture}


def _run(folder: Path) -> Page:
    result = folder / "result.json"
    if not result.is_file():
        return unfinished_page(folder, read_yaml(folder / "config.yaml"))
    try:
        return run_page(folder, folder / "metrics.jsonl", json.loads(result.read_bytes()), inside=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{result} is damaged ({error!r}): make the run again with --force") from None


def _offered(folder: Path) -> dict[str, Path]:
    """The run's own plain files: what a link points to is not offered."""
    found = (path for pattern in OFFERED for path in sorted(folder.glob(pattern)))
    return {path.name: path for path in found if path.is_file() and not path.is_symlink()}
