"""texture, refine: assets that exist already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from sds3d.cli import STARTED
from sds3d.cli.app import app, guarded
from sds3d.cli.console import Reporter
from sds3d.cli.generate import CONTROL, DEVICE, OUTPUTS, PRIOR, SEED, THREADS, use_threads

ASSET = typer.Argument(..., help="A mesh (glb gltf obj ply stl), Gaussians (ply spz splat) or a run folder.")
WORDS = typer.Argument(..., help='What it is to look like, such as "a blue wooden chair".')
STRENGTH = typer.Option(
    None, "--strength", help="0 to 1: how much is made anew; by default 1 without colours, else less."
)
GUIDANCE = typer.Option(None, "--guidance", "-g", help="A name from [bold]list guidance[/bold].")
PRESET = typer.Option(None, "--preset", help="A name from [bold]list presets[/bold], or a YAML file of your own.")
STEPS = typer.Option(None, "--steps", help="Optimisation steps.")
FORMAT = typer.Option([], "--format", "-f", help="glb obj usdz ply spz ...; by default as it came. May be repeated.")
UP = typer.Option(None, "--up", help="The file's axis upwards, such as +z.")
FRONT = typer.Option(None, "--front", help="The file's axis towards the viewer, such as -y.")
SETS = typer.Option([], "--set", metavar="KEY=VALUE", help="Any setting, see [bold]list settings[/bold].")
OUT = typer.Option(OUTPUTS, "--out", "-o", help="Folder that the run's folder is made in.")
FORCE = typer.Option(False, "--force", help="Start over what is already there.")


@app.command(epilog='sds3d texture chair.glb "a red chair"\n\nsds3d texture scan.ply "a bronze statue" --strength 0.4')
@guarded
def texture(
    asset: Path = ASSET,
    words: str = WORDS,
    strength: float | None = STRENGTH,
    guidance: str | None = GUIDANCE,
    prior: str | None = PRIOR,
    control: Path | None = CONTROL,
    preset: str | None = PRESET,
    seed: int | None = SEED,
    steps: int | None = STEPS,
    format: list[str] = FORMAT,
    up: str | None = UP,
    front: str | None = FRONT,
    sets: list[str] = SETS,
    out: Path = OUT,
    force: bool = FORCE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """New colours for an asset of yours, from words; its geometry stays as it is."""
    flags: dict[str, Any] = {"guidance": guidance, "prior": prior, "seed": seed, "steps": steps}
    flags |= {"formats": tuple(format) or None, "texture.up": up, "texture.front": front, "control": control}
    _start(asset, words, flags, sets, preset, 0.0, strength, out, force, device, threads)


@app.command(epilog='sds3d refine chair.glb "a carved oak chair" --distance 0.03')
@guarded
def refine(
    asset: Path = ASSET,
    words: str = WORDS,
    distance: float = typer.Option(0.05, "--distance", help="How far geometry may move, as a share of the unit ball."),
    strength: float | None = STRENGTH,
    guidance: str | None = GUIDANCE,
    prior: str | None = PRIOR,
    control: Path | None = CONTROL,
    preset: str | None = PRESET,
    seed: int | None = SEED,
    steps: int | None = STEPS,
    format: list[str] = FORMAT,
    up: str | None = UP,
    front: str | None = FRONT,
    sets: list[str] = SETS,
    out: Path = OUT,
    force: bool = FORCE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """New colours and finer shapes for an asset of yours; nothing moves farther than --distance."""
    flags: dict[str, Any] = {"guidance": guidance, "prior": prior, "seed": seed, "steps": steps}
    flags |= {"formats": tuple(format) or None, "texture.up": up, "texture.front": front, "control": control}
    _start(asset, words, flags, sets, preset, distance, strength, out, force, device, threads)


def _start(
    asset: Path,
    words: str,
    flags: dict[str, Any],
    sets: list[str],
    preset: str | None,
    distance: float,
    strength: float | None,
    out: Path,
    force: bool,
    device: str,
    threads: int | None,
) -> None:
    use_threads(threads)
    from sds3d.config import parse_sets
    from sds3d.prompts import clean

    clean(words)  # an empty prompt is told before the slow imports
    overrides = {k: v for k, v in flags.items() if v is not None} | parse_sets(sets)
    from sds3d.engine.generate import generate as make
    from sds3d.engine.refine import refine_settings
    from sds3d.engine.system import pick_device, set_threads

    settings, notes = refine_settings(asset, words, overrides, preset, distance, strength)
    set_threads(threads)
    reporter = Reporter()
    if notes:
        reporter.note(f"  not taken over from {asset.name}: {', '.join(notes)}")
    try:
        make(settings, out, pick_device(device), force, reporter, STARTED)
    finally:
        reporter.close()
