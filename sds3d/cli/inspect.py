"""list, bench."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import table
from sds3d.cli.options import DEVICE, JSON, OFFLINE, PRIOR, SETS, THREADS, Sight, go_offline, use_threads

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

    table(rows(kind.value), ("name", "what it is"), named=False)


@bench_app.command(
    "step",
    epilog="sds3d bench step\n\nsds3d bench step --scene grid --steps 50 --json\n\n"
    "sds3d bench step --prior sd15-random --scene splats --guidance sds --each-off",
)
@guarded
def bench_step(
    *,
    scene: str | None = typer.Option(None, "--scene", help="One scene; all of them by default."),
    guidance: str = typer.Option("cfd", "--guidance", "-g", help="A name from [bold]list guidance[/bold]."),
    prior: str | None = PRIOR,
    sight: Sight,
    steps: int = typer.Option(30, "--steps", min=1, help="Steps that count."),
    warmup: int = typer.Option(10, "--warmup", min=0, help="Steps before them."),
    each_off: bool = typer.Option(False, "--each-off", help="Also with each optimisation switched."),
    sets: list[str] = SETS,
    write: Path | None = typer.Option(
        None, "--write", help="Keep the figures in this .json, with hardware and commit."
    ),
    as_json: bool = JSON,
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Milliseconds and share of a step that are the prior, the renderer, the optimiser and the rest; and the whole step
    against the prior alone.

    sd15-, sdxl-, mvdream- and sd3-random are the true architectures with random weights (small ones on a CPU).
    LoRAs and new words are no option: they are added to the weights, a step costs the same with them.
    """
    use_threads(threads)
    go_offline(offline)
    from sds3d.bench.step import measure
    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    from sds3d.config import parse_sets

    chosen = pick_device(device)
    taken = {key: f"use --{key}" for key in ("scene", "guidance", "prior", "steps")}
    settings = sight.settings() | parse_sets(sets, taken)
    costs = measure(prior or "embedded", scene, guidance, steps, warmup, chosen, each_off, settings)
    report = json.dumps([cost.as_dict() for cost in costs], indent=2)
    if write is not None:
        from sds3d.files import write_bytes

        write_bytes(write, report.encode() + b"\n")
    if as_json:
        typer.echo(report)
        return
    table([row for cost in costs for row in cost.rows()], ("scene", "part", "median ms", "share"))
