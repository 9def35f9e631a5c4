"""prior corpus, prior train, and what the prior's design was decided by: prior rivals, prior upscale."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import table
from sds3d.cli.options import DEVICE, THREADS, use_threads
from sds3d.files import write_bytes

prior_app = typer.Typer(help="Make the embedded prior anew: its corpus, its training.", no_args_is_help=True)
app.add_typer(prior_app, name="prior")


@prior_app.command(epilog="sds3d prior corpus --out corpus --limit 50 --sheet")
@guarded
def corpus(
    out: Path = typer.Option(Path("corpus"), "--out", "-o", help="Folder for the corpus."),
    cache: Path = typer.Option(Path("corpus-cache"), "--cache", help="Folder for the downloaded packages."),
    sources: list[str] | None = typer.Option(None, "--source", help="Only this source; may be repeated."),
    views: int = typer.Option(34, "--views", min=1, help="Scale: a noun gets 4 to 30 times as many images."),
    size: int = typer.Option(64, "--size", min=8, help="Pixels a side."),
    seed: int = typer.Option(0, "--seed", "-s", help="Of generated objects, cameras, lights and colours."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Objects at most, to try it out."),
    sheet: bool = typer.Option(False, "--sheet", help="Contact sheets in OUT/sheets; draws no corpus if OUT has one."),
    threads: int | None = THREADS,
) -> None:
    """Build the training corpus from pinned packages: download, check, render, caption, record licences."""
    use_threads(threads)
    if not (sheet and (out / "manifest.json").is_file()):
        from sds3d.embedded.corpus.build import build_corpus

        def report(done: int, total: int, what: str) -> None:
            typer.echo(f"{done}/{total} {what}")

        manifest = build_corpus(out, cache, sources, views, size, seed, limit, report)
        typer.echo(json.dumps({k: v for k, v in manifest.items() if isinstance(v, (str, int, float))}))
    if sheet:
        from sds3d.embedded.corpus.sheet import corpus_sheet

        (out / "sheets").mkdir(exist_ok=True)
        for source in json.loads((out / "manifest.json").read_text())["objects_by_source"]:
            typer.echo(corpus_sheet(out, out / "sheets" / f"{source}.png", source=source))


@prior_app.command(
    epilog="sds3d prior train --corpus corpus --out my-prior\n\n"
    "sds3d prior train --recipe gpu --device cuda --minutes 9 (again and again, until it says it is done)\n\n"
    "sds3d prior train --corpus more --out my-prior --set eigen_images=12000000 --go-on\n\n"
    'sds3d generate "a corgi" --prior my-prior'
)
@guarded
def train(
    corpus: Path = typer.Option(Path("corpus"), "--corpus", help="What [bold]prior corpus[/bold] made."),
    out: Path = typer.Option(Path("prior"), "--out", "-o", help="Folder for the model."),
    recipe: str = typer.Option("cpu", "--recipe", help="cpu (some hours), gpu, or tiny to try it out."),
    sets: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="A number of the recipe, as eigen_images=10500000; may be repeated."
    ),
    minutes: float | None = typer.Option(None, "--minutes", min=0.01, help="Stop there; the same command goes on."),
    look_every: float = typer.Option(20.0, "--look-every", min=0, help="Minutes between two looks."),
    go_on: bool = typer.Option(
        False, "--go-on", help="Go on with the weights in the folder on another corpus, or by another recipe."
    ),
    seed: int | None = typer.Option(None, "--seed", "-s", help="Of weights, batches and noise."),
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Train the embedded prior on a corpus; the same command again goes on after an interruption.

    Now and then, and when it stops, it leaves a usable prior in the folder, samples.png, and a line on what the probe
    sees there; earlier ones are kept in OUT/work.
    """
    use_threads(threads)
    from sds3d.bench.progress import look_at, look_line
    from sds3d.embedded.recipe import RECIPES, changed
    from sds3d.embedded.run import Training
    from sds3d.engine.interrupt import Interrupted
    from sds3d.engine.system import pick_device, set_threads
    from sds3d.errors import unknown
    from sds3d.probe.judge import load_probe

    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    until = math.inf if minutes is None else time.time() + 60 * minutes
    set_threads(threads)
    chosen = changed(RECIPES[recipe], [*([] if seed is None else [f"seed={seed}"]), *sets])
    where = pick_device(device)
    training = Training(corpus, out, chosen, where, go_on)
    if not training.done:
        if not training.corpus.heldout.any():
            typer.echo("no object of this corpus is held out: the held-out loss is that of images it learns from")
        probe = load_probe(where)
    try:
        while not training.done:
            for record in training.piece(min(look_every, (until - time.time()) / 60)):
                typer.echo(training_line(record))
            typer.echo(look_line(look_at(out, training.curve.images(), probe, where)))
            if time.time() >= until and not training.done:
                typer.echo(f"stopped after {minutes} minutes; the same command goes on")
                return
    except KeyboardInterrupt:
        raise Interrupted("stopped: the last checkpoint is kept, and the same command goes on from there") from None
    typer.echo(f"done: {out}")


def training_line(record: Mapping[str, Any]) -> str:
    """One validation for a person: how far, how good, how fast, how long yet in this stage."""
    left = (record["total"] - record["step"]) / record["step"] * record["images"] / record["images_per_second"] / 60
    progress = f"{record['stage']} {record['step']}/{record['total']}  {record['images']:,} images"
    losses = f"loss {record['loss']:.4f}  held-out {record['heldout']:.4f}"
    return f"{progress}  {losses}  {record['images_per_second']:.0f}/s  {left:.0f} min left"


WRITE = typer.Option(None, "--write", help="Also write the report to this .json.")


@prior_app.command(epilog="sds3d prior rivals --corpus corpus --minutes 12 --threads 1")
@guarded
def rivals(
    corpus: Path = typer.Option(Path("corpus"), "--corpus", help="What [bold]prior corpus[/bold] made."),
    out: Path = typer.Option(Path("outputs/rivals"), "--out", "-o", help="Folder for checkpoints and pictures."),
    minutes: float = typer.Option(12.0, "--minutes", min=0.01, help="Training of each, in CPU time."),
    quick: bool = typer.Option(False, "--quick", help="Ten of the prompts."),
    write: Path | None = WRITE,
    threads: int | None = THREADS,
) -> None:
    """Other kinds of networks of the same latency against the embedded prior's: equal training time, judged by the
    probe. The same command goes on where it was stopped."""
    use_threads(threads)
    from sds3d.bench.rival_report import HEADER, Gallery, hold, table_rows
    from sds3d.bench.rivals import open_contest
    from sds3d.bench.shots import Album
    from sds3d.bench.targets import LISTS, QUICK, Vocabulary, load_targets, spread
    from sds3d.engine.system import pick_device, set_threads
    from sds3d.probe.judge import load_probe

    set_threads(threads)
    probe = load_probe(pick_device("cpu"))
    targets = load_targets(LISTS, Vocabulary(probe.nouns, probe.known, probe.fronted))
    gallery = Gallery(spread(targets, QUICK) if quick else targets, probe, Album(out / "results"))
    report = hold(open_contest(corpus, out, minutes), gallery, typer.echo)
    show(HEADER, table_rows(report))
    publish(report, out / "rivals.json", write)


@prior_app.command(epilog="sds3d prior upscale --cache corpus-cache --minutes 8 --threads 1")
@guarded
def upscale(
    cache: Path = typer.Option(Path("corpus-cache"), "--cache", help="Folder of the corpus's packages."),
    out: Path = typer.Option(Path("outputs/upscale"), "--out", "-o", help="Folder for the renders."),
    sources: list[str] | None = typer.Option(None, "--source", help="Only this source; may be repeated."),
    minutes: float = typer.Option(8.0, "--minutes", min=0.01, help="Training, in CPU time."),
    write: Path | None = WRITE,
    threads: int | None = THREADS,
) -> None:
    """What a second stage at 128 pixels would add to renders of held-out objects, and what it would cost."""
    use_threads(threads)
    from sds3d.bench.upscale import HEADER, table_rows, weigh
    from sds3d.engine.system import set_threads

    set_threads(threads)
    report = weigh(cache, out, minutes, typer.echo, sources)
    show(HEADER, table_rows(report))
    publish(report, out / "upscale.json", write)


def show(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table whose header is seen in a file, too."""
    table(rows, header)


def publish(report: Mapping[str, Any], path: Path, copy: Path | None) -> None:
    """The report as JSON, with the command and the machine it is from, to one or two places."""
    import torch

    from sds3d.engine.system import hardware, versions

    command = " ".join(["sds3d", *sys.argv[1:]])
    facts = {"command": command, "versions": versions(), "hardware": hardware(torch.device("cpu")), **report}
    for place in (path, copy):
        if place is not None:
            write_bytes(place, (json.dumps(facts, indent=1) + "\n").encode())
            typer.echo(place)
