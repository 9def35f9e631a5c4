"""list, bench."""

from __future__ import annotations

import json
from enum import Enum

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import table
from sds3d.cli.generate import DEVICE, PRIOR, THREADS, use_threads

bench_app = typer.Typer(help="Measure speed, quality and objectives, reproducibly.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


class Kind(str, Enum):
    guidance = "guidance"
    scenes = "scenes"
    priors = "priors"
    presets = "presets"
    prompts = "prompts"
    settings = "settings"


@app.command("list", epilog="sds3d list guidance\n\nsds3d list settings")
@guarded
def list_names(kind: Kind = typer.Argument(..., help="What to list.", metavar="WHAT")) -> None:
    """List guidance | scenes | priors | presets | prompts | settings."""
    from sds3d.engine.catalogue import rows

    table(rows(kind.value), ("name", "what it is"))


@bench_app.command("step", epilog="sds3d bench step\n\nsds3d bench step --scene grid --steps 50 --json")
@guarded
def bench_step(
    scene: str | None = typer.Option(None, "--scene", help="One scene; all of them by default."),
    guidance: str = typer.Option("cfd", "--guidance", "-g", help="A name from [bold]list guidance[/bold]."),
    prior: str | None = PRIOR,
    steps: int = typer.Option(30, "--steps", min=1, help="Steps that count."),
    warmup: int = typer.Option(10, "--warmup", min=0, help="Steps before them."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable."),
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Milliseconds and share of a step that are the prior, the renderer, the optimiser and the rest."""
    use_threads(threads)
    from sds3d.bench.step import measure
    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    costs = measure(prior or "embedded", scene, guidance, steps, warmup, pick_device(device))
    if as_json:
        typer.echo(json.dumps([cost.as_dict() for cost in costs], indent=2))
        return
    table(
        [row for cost in costs for row in cost.rows()],
        ("scene", "part", "median ms", "share"),
    )
