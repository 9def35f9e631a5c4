"""doctor."""

from __future__ import annotations

import json

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import table
from sds3d.cli.options import DEVICE, JSON, OFFLINE, THREADS, go_offline, use_threads
from sds3d.errors import UserError


@app.command(epilog="sds3d doctor --json\n\nsds3d doctor --prior sdxl --scene grid --set views=2 --device cuda")
@guarded
def doctor(
    prior: str | None = typer.Option(
        None, "--prior", "-p", help="Tell what an asset with this prior would take, before it is loaded."
    ),
    scene: str | None = typer.Option(None, "--scene", help="For the forecast: splats or grid."),
    guidance: str | None = typer.Option(None, "--guidance", "-g", help="For the forecast."),
    preset: str | None = typer.Option(None, "--preset", help="For the forecast; the prior's own by default."),
    sets: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="For the forecast: any setting."),
    offline: bool = OFFLINE,
    as_json: bool = JSON,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Tell which device and backends are used and why, versions, memory, and what is missing.

    With --prior: how much memory and time an asset with that prior would take.
    """
    use_threads(threads)
    go_offline(offline)
    from sds3d.config import parse_sets

    overrides = {k: v for k, v in {"scene": scene, "guidance": guidance}.items() if v}
    overrides |= parse_sets(sets, {"prior": "use --prior"})
    if prior is None and (overrides or preset):
        raise UserError("these settings are for a forecast: say of which prior with --prior")
    from dataclasses import asdict

    from sds3d.engine.system import pick_device, set_threads

    set_threads(threads)
    if prior is None:
        from sds3d.engine.doctor import doctor as examine

        found = examine()
    else:
        from sds3d.engine.forecast import rows

        found = rows(prior, pick_device(device), overrides, preset)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in found], indent=2))
        return
    table([(row.mark, row.name, row.text) for row in found], ("", "part", "state"), named=False)
