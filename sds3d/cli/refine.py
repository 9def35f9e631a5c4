"""texture, refine: assets that exist already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from sds3d.cli import STARTED
from sds3d.cli.app import app, guarded
from sds3d.cli.console import Reporter
from sds3d.cli.options import DEVICE, OFFLINE, THREADS, Job, Model, Sight, given, go_offline, use_threads


@dataclass(frozen=True, kw_only=True)
class Work:
    """An asset, what is to become of it, and how."""

    asset: Path = typer.Argument(..., help="A mesh (glb gltf obj ply stl), Gaussians (ply spz splat) or a run folder.")
    words: str = typer.Argument(..., help='What it is to look like, such as "a blue wooden chair".')
    strength: float | None = typer.Option(
        None, "--strength", help="0 to 1: how much is made anew; by default 1 without colours, else less."
    )
    model: Model
    sight: Sight
    job: Job
    format: list[str] = typer.Option(
        [], "--format", "-f", help="glb obj usdz ply spz ...; by default as it came. May be repeated."
    )
    up: str | None = typer.Option(None, "--up", help="The file's axis upwards, such as +z.")
    front: str | None = typer.Option(None, "--front", help="The file's axis towards the viewer, such as -y.")
    offline: bool = OFFLINE
    device: str = DEVICE
    threads: int | None = THREADS

    def settings(self) -> dict[str, Any]:
        """By key, what was given."""
        axes = {"texture.up": self.up, "texture.front": self.front}
        mine = given(formats=tuple(self.format) or None, **axes)
        return mine | self.model.settings() | self.sight.settings() | self.job.settings()


@app.command(epilog='sds3d texture chair.glb "a red chair"\n\nsds3d texture scan.ply "a bronze statue" --strength 0.4')
@guarded
def texture(work: Work) -> None:
    """New colours for an asset of yours, from words; its geometry stays as it is."""
    _start(work, 0.0)


@app.command(epilog='sds3d refine chair.glb "a carved oak chair" --distance 0.03')
@guarded
def refine(
    *,
    distance: float = typer.Option(0.05, "--distance", help="How far geometry may move, as a share of the unit ball."),
    work: Work,
) -> None:
    """New colours and finer shapes for an asset of yours; nothing moves farther than --distance."""
    _start(work, distance)


def _start(work: Work, distance: float) -> None:
    use_threads(work.threads)
    go_offline(work.offline)
    from sds3d.prompts import clean

    clean(work.words)  # an empty prompt is told before the slow imports
    overrides = work.settings()
    from sds3d.engine.generate import generate as make
    from sds3d.engine.refine import refine_settings
    from sds3d.engine.system import pick_device, set_threads

    settings, notes = refine_settings(work.asset, work.words, overrides, work.job.preset, distance, work.strength)
    set_threads(work.threads)
    reporter = Reporter()
    if notes:
        reporter.note(f"  not taken over from {work.asset.name}: {', '.join(notes)}")
    try:
        make(settings, work.job.out, pick_device(work.device), work.job.force, reporter, STARTED)
    finally:
        reporter.close()
