"""What `sds3d view` shows: the site of a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

from sds3d.config import read_yaml
from sds3d.errors import UserError
from sds3d.view.page import Page
from sds3d.view.report import run_page, unfinished_page
from sds3d.view.server import Site
from sds3d.view.stage import SPLATS_SERVED

OFFERED = ("asset*", "views.png", "turntable.*", "report.html", "config.yaml", "result.json", "metrics.jsonl")


def site(path: Path) -> Site:
    """The site of a run's folder. UserError when there is nothing to see."""
    if not path.exists():
        raise UserError(f"{path} is not there: give a run's folder")
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path} is not a run folder: it has no config.yaml")
    return Site(lambda: _page(path), _offered(path))


def _page(folder: Path) -> Page:
    result = folder / "result.json"
    if not result.is_file():
        return unfinished_page(folder, read_yaml(folder / "config.yaml"))
    try:
        return run_page(folder, folder / "metrics.jsonl", json.loads(result.read_bytes()), SPLATS_SERVED)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{result} is damaged ({error!r}): make the run again with --force") from None


def _offered(folder: Path) -> dict[str, Path]:
    """The run's own plain files: what a link points to is not offered."""
    found = (path for pattern in OFFERED for path in sorted(folder.glob(pattern)))
    return {path.name: path for path in found if path.is_file() and not path.is_symlink()}
