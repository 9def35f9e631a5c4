"""bench exports."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from sds3d.cli.app import guarded
from sds3d.cli.console import Reporter, table
from sds3d.cli.inspect import bench_app
from sds3d.cli.options import DEVICE, JSON, PRESET, SETS, THREADS, use_threads


@bench_app.command(
    "exports",
    epilog="sds3d bench exports\n\n"
    "sds3d bench exports --prompts ten --scene splats --scene grid\n\n"
    "sds3d bench exports --prompts mine.txt --set export.texture=2048 --write docs/exports.json",
)
@guarded
def exports(
    prompts: str = typer.Option("exports", "--prompts", help="A name from [bold]list prompts[/bold], or a .txt file."),
    scene: list[str] = typer.Option(["splats", "grid"], "--scene", help="splats, grid or mesh; may be repeated."),
    first: int | None = typer.Option(None, "--first", min=1, help="Only so many of the prompts."),
    preset: str | None = PRESET,
    sets: list[str] = SETS,
    out: Path = typer.Option(Path("outputs/exports"), "--out", "-o", help="Folder for runs, assets and rows."),
    write: Path | None = typer.Option(None, "--write", help="Also write the table as this .json."),
    force: bool = typer.Option(False, "--force", help="Export and measure again what is there; runs are kept."),
    as_json: bool = JSON,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Make, export and check: parts, manifold, silhouettes, textures, seams, glTF errors, sizes.

    The same command again goes on where it was stopped. Node.js with gltf-validator counts the errors.
    """
    use_threads(threads)
    from sds3d.config import parse_sets
    from sds3d.errors import unknown
    from sds3d.prompts import load_list

    wanted, overrides = load_list(prompts)[:first], parse_sets(sets, {"scene": "use --scene"})
    from sds3d.bench.exports import HEADER, measure, report
    from sds3d.engine.system import pick_device, set_threads
    from sds3d.files import write_bytes
    from sds3d.scenes import SCENES

    for name in scene:
        if name not in SCENES:
            raise unknown("scene", name, SCENES)
    set_threads(threads)
    reporter = Reporter(stderr=as_json)
    rows = []
    try:
        for row in measure(wanted, scene, out, pick_device(device), reporter, overrides, preset, force):
            rows.append(row)
    finally:
        reporter.close()
        if rows and write is not None:
            write_bytes(write, json.dumps(report(rows), indent=1).encode() + b"\n")
    if as_json:
        typer.echo(json.dumps(report(rows), indent=1))
        return
    table([row.row() for row in rows], HEADER)
    for name, (passed, total) in report(rows)["passed"].items():
        typer.echo(f"{name}: {passed} of {total} passed")
