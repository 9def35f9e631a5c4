"""batch."""

from __future__ import annotations

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import Reporter
from sds3d.cli.options import DEVICE, OFFLINE, THREADS, Job, Model, Sight, given, go_offline, use_threads


@app.command(epilog="sds3d batch ten\n\nsds3d batch my-prompts.txt --seeds 4 --prior sd15 --device cuda:1")
@guarded
def batch(
    *,
    prompts: str = typer.Argument(..., help="A name from [bold]list prompts[/bold], or a .txt with a prompt a line."),
    model: Model,
    sight: Sight,
    scene: str | None = typer.Option(None, "--scene", help="splats, grid or mesh."),
    stages: str | None = typer.Option(None, "--stages", help='In place of --scene, such as "grid:300,mesh:200".'),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Runs of each prompt, with seeds from --seed on."),
    job: Job,
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Make an asset of each prompt of a list; the prior is loaded once.

    The same command again goes on where it was. On several GPUs start it once for each --device: a run that another
    process is at is left to it.
    """
    use_threads(threads)
    go_offline(offline)
    from sds3d.prompts import load_list

    found = load_list(prompts)
    overrides = given(scene=scene, stages=stages) | model.settings() | sight.settings() | job.settings()
    from sds3d.engine.batch import batch as make
    from sds3d.engine.batch import wanted
    from sds3d.engine.system import pick_device, set_threads

    asked = wanted(found, seeds, overrides, job.preset)
    set_threads(threads)
    reporter = Reporter()
    try:
        make(asked, job.out, pick_device(device), job.force, reporter)
    finally:
        reporter.close()
