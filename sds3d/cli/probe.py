"""probe, probe train, probe ceiling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from sds3d.cli.app import app, guarded
from sds3d.cli.console import table
from sds3d.cli.options import DEVICE, JSON, THREADS, use_threads

FOLDER = typer.Option(None, "--probe", help="A folder of weights that [bold]probe train[/bold] wrote.")


class JudgeUnlessNamed(TyperGroup):
    """`sds3d probe RUN` is `sds3d probe judge RUN`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["judge", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["judge", *args]
        return super().parse_args(ctx, args)


probe_app = typer.Typer(
    cls=JudgeUnlessNamed,
    no_args_is_help=True,
    help="Judge what was made: an image-text model that no prior was trained with tells noun, colour and side.",
    epilog='sds3d probe outputs/a-red-chair-1a2b3c4d\n\nsds3d probe sample.png --prompt "a red chair"',
)
app.add_typer(probe_app, name="probe")


@probe_app.command(epilog='sds3d probe outputs/a-*\n\nsds3d probe sample.png --prompt "a red chair" --json')
@guarded
def judge(
    what: list[Path] = typer.Argument(..., help="Run folders or pictures.", metavar="RUN|IMAGE..."),
    prompt: str | None = typer.Option(None, "--prompt", help="What it should show; a run knows its own."),
    folder: Path | None = FOLDER,
    as_json: bool = JSON,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Say what the probe sees in runs (eight views each) and pictures, beside its own ceiling on real renders."""
    use_threads(threads)
    from sds3d.engine.system import pick_device, set_threads
    from sds3d.probe import report
    from sds3d.probe.judge import WEIGHTS, load_probe

    set_threads(threads)
    where = pick_device(device)
    exhibits = [report.read(path, prompt, where) for path in what]
    probe = load_probe(where, folder or WEIGHTS)
    figures = [report.judge(probe, exhibit) for exhibit in exhibits]
    if as_json:
        typer.echo(json.dumps({"results": figures, "ceiling": _plain(probe.ceiling)}, indent=2))
        return
    table([report.row(f, probe.ceiling) for f in figures], report.HEADER)
    typer.echo("Behind each stroke: the probe's own figure on renders of objects that it never learnt from.")


@probe_app.command(epilog="sds3d probe ceiling\n\nsds3d probe ceiling --nouns --json")
@guarded
def ceiling(
    nouns: bool = typer.Option(False, "--nouns", help="Every noun that it knows, with its own figures."),
    folder: Path | None = FOLDER,
    album: Path | None = typer.Option(None, "--album", help="Measure again on these pictures, and write the card."),
    as_json: bool = JSON,
    threads: int | None = THREADS,
) -> None:
    """How good the probe itself is on renders of objects that it never learnt from."""
    use_threads(threads)
    from sds3d.engine.system import set_threads
    from sds3d.probe.judge import WEIGHTS, load_config

    set_threads(threads)
    home = folder or WEIGHTS
    if album is not None:
        from sds3d.probe.album import load_album
        from sds3d.probe.make import measure_ceiling

        measure_ceiling(home, load_album(album))
    config = load_config(home)
    shown = config["by_noun"] if nouns else config["ceiling"]["groups"]
    if as_json:
        typer.echo(json.dumps(shown if nouns else config["ceiling"], indent=2))
        return
    columns = list(next(iter(shown.values())))
    table([(name, *(_cell(figures[c]) for c in columns)) for name, figures in shown.items()], ("objects", *columns))


@probe_app.command(epilog="sds3d probe train --album probe-album --out my-probe\n\nsds3d probe RUN --probe my-probe")
@guarded
def train(
    out: Path = typer.Option(Path("probe"), "--out", "-o", help="Folder for the weights and their card."),
    album: Path = typer.Option(Path("probe-album"), "--album", help="Folder for its pictures, drawn if not there."),
    cache: Path = typer.Option(Path("corpus-cache"), "--cache", help="Folder for the downloaded packages."),
    recipe: str = typer.Option("cpu", "--recipe", help="cpu, or tiny to try it out."),
    images: int | None = typer.Option(None, "--images", min=1, help="Pictures seen in training."),
    seed: int | None = typer.Option(None, "--seed", "-s", help="Of objects, pictures, weights and batches."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Objects at most, to try it out."),
    processes: int = typer.Option(1, "--processes", min=1, help="That draw the pictures."),
    threads: int | None = THREADS,
) -> None:
    """Make the probe anew: draw its own objects, train, measure its ceiling. The same command again goes on."""
    use_threads(threads)
    from dataclasses import replace

    from sds3d.engine.system import set_threads
    from sds3d.errors import unknown
    from sds3d.probe.make import train_probe
    from sds3d.probe.train import RECIPES

    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    set_threads(threads)
    changes = {k: v for k, v in {"images": images, "seed": seed}.items() if v is not None}
    for record in train_probe(out, album, cache, replace(RECIPES[recipe], **changes), processes, limit):
        typer.echo(json.dumps(record))
    typer.echo(out)


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in figures.items() if not isinstance(v, dict)}


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
