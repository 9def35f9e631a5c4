"""generate, resume, export, imagine."""

from __future__ import annotations

import math
from pathlib import Path

import typer

from sds3d.cli import STARTED
from sds3d.cli.app import app, guarded
from sds3d.cli.console import Reporter
from sds3d.cli.options import (
    DEVICE,
    IP_ADAPTER,
    OFFLINE,
    OUTPUTS,
    SEED,
    THREADS,
    Job,
    Model,
    Sight,
    given,
    go_offline,
    use_threads,
)
from sds3d.errors import UserError


@app.command(
    epilog='sds3d generate "a red chair" --seed 3\n\n'
    'sds3d generate "a corgi" --scene grid --guidance vsd --preset quality\n\n'
    'sds3d generate "a corgi" --prior /models/stable-diffusion-v1-5 --device cuda\n\n'
    'sds3d generate "a mug" --set steps=200 --set cfd.cfg=4 --set time.hi=0.9'
)
@guarded
def generate(
    *,
    prompt: str = typer.Argument(..., help='What to make, such as "a red chair".'),
    model: Model,
    sight: Sight,
    scene: str | None = typer.Option(None, "--scene", help="splats, grid or mesh."),
    stages: str | None = typer.Option(None, "--stages", help='In place of --scene, such as "grid:300,mesh:200".'),
    negative: str | None = typer.Option(
        None, "--negative", help="For guidance that pushes away from a prompt, such as csd and nfsd."
    ),
    source: Path | None = typer.Option(None, "--source", help="A finished run's folder to edit.", file_okay=False),
    region: list[str] = typer.Option([], "--region", help="Prompt of a region to mix in; may be repeated."),
    budget: str | None = typer.Option(
        None, "--budget", help="Time, memory of the GPU, or both: 5min, 8GB or 5min,8GB. Takes fewer steps or views."
    ),
    job: Job,
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Make a 3D asset from a text prompt: mesh, Gaussians, turntable, report.

    The same command again resumes an unfinished run.
    """
    use_threads(threads)
    go_offline(offline)
    from sds3d.prompts import clean

    clean(prompt)  # an empty prompt is told before the slow imports
    flags = given(scene=scene, stages=stages, negative=negative, source=source, regions=region or None)
    overrides = flags | model.settings() | sight.settings() | job.settings()

    from sds3d.engine.generate import generate as make
    from sds3d.engine.resolve import resolve
    from sds3d.engine.system import pick_device, set_threads

    settings = resolve(prompt, overrides, job.preset)
    set_threads(threads)
    reporter = Reporter()
    chosen, loaded = pick_device(device), None
    try:
        if budget is not None:
            from sds3d.engine.afford import afford, parse_budget

            settings, loaded = afford(settings, parse_budget(budget), chosen, reporter.note)
        make(settings, job.out, chosen, job.force, reporter, STARTED, loaded)
    finally:
        reporter.close()


@app.command(epilog="sds3d resume outputs/a-red-chair-1a2b3c4d")
@guarded
def resume(
    run: Path = typer.Argument(..., help="A run folder."),
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Go on with a run that was stopped, from its last checkpoint."""
    use_threads(threads)
    go_offline(offline)
    from sds3d.engine.generate import resume as go_on
    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    reporter = Reporter()
    try:
        go_on(run, pick_device(device), reporter, STARTED)
    finally:
        reporter.close()


FORMAT_HELP = "glb gltf obj stl mesh-ply usdz; of Gaussians ply ply-compressed spz splat. May be repeated."


@app.command(epilog="sds3d export outputs/a-red-chair-1a2b3c4d --format obj --format stl")
@guarded
def export(
    run: Path = typer.Argument(..., help="A run folder."),
    format: list[str] = typer.Option(["glb"], "--format", "-f", help=FORMAT_HELP),
    sets: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="An export setting, as export.X=VALUE."),
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Write other file formats from a run's last checkpoint, at any time."""
    use_threads(threads)
    from sds3d.config import parse_sets
    from sds3d.engine.generate import export_run
    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    export_run(run, tuple(format), parse_sets(sets), pick_device(device), Reporter())


@app.command(
    epilog='sds3d imagine "a red chair" --cfg 4 --seed 1\n\n'
    'sds3d imagine "a chair" --image chair.png\n\n'
    'sds3d imagine "a chair" --image chair.png --prior sd15 --ip-adapter models/ip-adapter_sd15.safetensors'
)
@guarded
def imagine(
    *,
    prompt: str = typer.Argument(..., help="What the prior shall draw."),
    model: Model,
    seed: int | None = SEED,
    views: int = typer.Option(8, "--views", min=1, max=64, help="Views around the object, one a column."),
    rows: int = typer.Option(2, "--rows", min=1, max=32, help="Samples; the views of a row share their noise."),
    steps: int = typer.Option(50, "--steps", min=1, max=1000, help="Sampling steps."),
    cfg: float = typer.Option(5.0, "--cfg", help="Classifier-free guidance; 1 is none."),
    camera_cfg: float = typer.Option(0.0, "--camera-cfg", help="Guidance by the camera alone, added to --cfg's."),
    image: Path | None = typer.Option(
        None,
        "--image",
        help="Picture of one object, over white or transparent, for the prior to look at.",
        dir_okay=False,
    ),
    image_scale: float | None = typer.Option(
        None, "--image-scale", min=0.0, help="How much the picture counts: 1 by default, 0 is not at all."
    ),
    ip_adapter: Path | None = IP_ADAPTER,
    eta: float = typer.Option(0.0, "--eta", min=0.0, max=1.0, help="0: DDIM. 1: ancestral (DDPM)."),
    elevation: float = typer.Option(15.0, "--elevation", min=-90.0, max=90.0, help="Degrees."),
    out: Path = typer.Option(OUTPUTS, "--out", "-o", help="Folder for the picture."),
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Draw what the prior itself imagines for a prompt, view by view: is a bad asset the prior's fault?"""
    use_threads(threads)
    go_offline(offline)
    from sds3d.prompts import clean

    text = clean(prompt)
    for flag, scale in (("--cfg", cfg), ("--camera-cfg", camera_cfg)):
        if not math.isfinite(scale):
            raise UserError(f"{flag} takes a number, not {scale}")
    for flag, value in (("--image-scale", image_scale), ("--ip-adapter", ip_adapter)):
        if value is not None and image is None:
            raise UserError(f"{flag} has no effect without a picture: give one with --image FILE")
    from sds3d.engine.imagine import imagine_sheet
    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    sheet = imagine_sheet(
        text,
        model.prior or "embedded",
        out,
        pick_device(device),
        views,
        rows,
        seed or 0,
        steps,
        cfg,
        eta,
        elevation,
        model.lora,
        model.textual_inversion,
        camera_cfg,
        str(ip_adapter or ""),
        image,
        1.0 if image_scale is None else image_scale,
    )
    typer.echo(sheet)
