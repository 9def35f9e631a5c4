"""Pictures of a run: previews on the way, contact sheet, turntable and report at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sds3d.camera import orbit
from sds3d.scenes.base import Scene
from sds3d.view.pictures import channel, frames, tile
from sds3d.view.report import write_report
from sds3d.view.sheet import contact_sheet, write_png
from sds3d.view.turntable import turntable

PREVIEW_VIEWS, PREVIEW_SIZE = 4, 128


def preview(scene: Scene, path: Path) -> None:
    """Four views in a row."""
    seen = frames(scene, orbit(PREVIEW_VIEWS), PREVIEW_SIZE)
    path.parent.mkdir(exist_ok=True)
    write_png(path, tile([channel(frame, "rgb")[0] for frame in seen]))


def present(scene: Scene, out: Path, metrics: Path, result: Mapping[str, Any]) -> None:
    """views.png, turntable.mp4 (or .gif) and report.html in `out`; `metrics` is the run's metrics.jsonl."""
    contact_sheet(scene, out / "views.png")
    turntable(scene, out / "turntable.mp4")
    write_report(out, metrics, result)
