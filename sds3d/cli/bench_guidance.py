"""compare; bench toy, oracle, janus, variance, mutants, docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from sds3d.cli.app import app, guarded
from sds3d.cli.console import Reporter, table
from sds3d.cli.inspect import bench_app
from sds3d.cli.options import (
    DEVICE,
    JSON,
    OFFLINE,
    OUTPUTS,
    PRESET,
    PRIOR,
    SETS,
    THREADS,
    Model,
    Sight,
    given,
    go_offline,
    use_threads,
)

GUIDANCE = typer.Option("", "--guidance", "-g", help="Names separated by commas; all there are by default.")


def split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def known(names: str) -> list[str]:
    """The objectives named, all by default; UserError for one that there is not."""
    from sds3d.errors import unknown
    from sds3d.guidance import GUIDANCE as REGISTRY

    for name in split(names):
        if name not in REGISTRY:
            raise unknown("guidance", name, REGISTRY)
    return split(names) or list(REGISTRY)


def show(rows: list[Any], header: tuple[str, ...], as_json: bool) -> None:
    """Dataclasses with `row()` and `as_dict()` as a table or as JSON."""
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        table([row.row() for row in rows], header)


@app.command(
    epilog='sds3d compare "a red chair" --guidance sds,csd,nfsd\n\n'
    'sds3d compare "a red chair" --all --preset fast --seeds 2\n\n'
    'sds3d compare "a corgi" --guidance sds,vsd --budget seconds:30'
)
@guarded
def compare(
    *,
    prompt: str = typer.Argument(..., help='What to make, such as "a red chair".'),
    guidance: str = typer.Option("", "--guidance", "-g", help="Names separated by commas."),
    every: bool = typer.Option(False, "--all", help="Every objective there is; those that cannot run say why."),
    scene: str | None = typer.Option(None, "--scene", help="splats or grid."),
    seeds: int = typer.Option(1, "--seeds", min=1, max=16, help="Runs of each objective, with seeds 0, 1, 2, ..."),
    budget: str | None = typer.Option(
        None, "--budget", help="evals:N network evaluations or seconds:S, for each run; by default what sds takes."
    ),
    model: Model,
    sight: Sight,
    preset: str | None = PRESET,
    sets: list[str] = SETS,
    out: Path = typer.Option(OUTPUTS, "--out", "-o", help="Folder that the comparison's folder is made in."),
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Objectives side by side: the same prompt, seeds, cameras and budget; a contact sheet, a table, JSON."""
    use_threads(threads)
    go_offline(offline)
    from sds3d.config import parse_sets
    from sds3d.errors import UserError
    from sds3d.prompts import clean

    text = clean(prompt)
    if bool(guidance) == every:
        raise UserError("say which objectives to compare: --guidance a,b,c or --all")
    names = known(guidance)
    overrides = given(scene=scene) | model.settings() | sight.settings()
    overrides |= parse_sets(sets, {"guidance": "use --guidance", "seed": "use --seeds"})

    from sds3d.bench import compare as bench
    from sds3d.bench.budget import parse_budget
    from sds3d.engine.system import pick_device, set_threads

    limit = None if budget is None else parse_budget(budget)
    set_threads(threads)
    loaded = bench.load_for(text, names, overrides, preset, pick_device(device))
    contest = bench.Contest(text, loaded, overrides, preset, tuple(range(seeds)), limit)
    reporter = Reporter()
    rows, _ = bench.compare(contest, names, out, reporter)
    if any(row.likeness.judged_by == "pixels" for row in rows):
        reporter.note("  no judge for this prompt: R@1, R@5, colour and Janus are left out, diversity is by pixels")
    table([row.cells() for row in rows], bench.HEADER)


@bench_app.command("toy", epilog="sds3d bench toy\n\nsds3d bench toy --guidance sds,vsd --points 256")
@guarded
def toy(
    guidance: str = GUIDANCE,
    points: int = typer.Option(128, "--points", min=8, help="Points, each a scene of its own."),
    steps: int = typer.Option(500, "--steps", min=1),
    out: Path = typer.Option(OUTPUTS / "toy.png", "--out", "-o", help="The picture."),
    as_json: bool = JSON,
) -> None:
    """Points in the plane under a labelled mixture of eight Gaussians: does an objective find the prompt's modes?"""
    names = known(guidance)
    from sds3d.bench.toy import measure, picture
    from sds3d.view.sheet import write_png

    outcomes = list(measure(names, points, steps))
    show([outcome for outcome, _ in outcomes], ("objective", "hit", "modes", "spread", "bias", "NFE"), as_json)
    typer.echo(write_png(out, picture(outcomes)), err=as_json)


@bench_app.command("oracle", epilog="sds3d bench oracle\n\nsds3d bench oracle --guidance sds,ism --scene splats")
@guarded
def oracle(
    guidance: str = typer.Option("sds,vsd,ism,cfd", "--guidance", "-g", help="Names separated by commas."),
    scene: str | None = typer.Option(None, "--scene", help="One scene; all of them by default."),
    steps: int = typer.Option(400, "--steps", min=1),
    size: int = typer.Option(64, "--size", min=16, help="Pixels of a view."),
    as_json: bool = JSON,
    threads: int | None = THREADS,
) -> None:
    """Recover a known object from the exact score of its own views; above 25 dB it is passed."""
    use_threads(threads)
    names = known(guidance)
    from sds3d.bench.oracle import SCENES_MEASURED, measure
    from sds3d.engine.system import set_threads

    set_threads(threads)
    rows = list(measure(names, (scene,) if scene else SCENES_MEASURED, steps, size))
    show(rows, ("scene", "objective", "PSNR", "verdict"), as_json)


@bench_app.command("janus", epilog="sds3d bench janus\n\nsds3d bench janus --share 0.7 --guidance sds,esd,cfd")
@guarded
def janus(
    guidance: str = typer.Option("sds,vsd,esd,csd,cfd,gsd", "--guidance", "-g", help="Names separated by commas."),
    share: float = typer.Option(0.9, "--share", min=0.0, max=0.99, help="Of the prior's pictures that show the front."),
    scene: str = typer.Option("splats", "--scene", help="splats or grid."),
    steps: int = typer.Option(400, "--steps", min=1),
    as_json: bool = JSON,
    threads: int | None = THREADS,
) -> None:
    """A prior that shows the front whatever the camera says: in how many other views does an objective repeat it?"""
    use_threads(threads)
    names = known(guidance)
    from sds3d.bench.janus import measure
    from sds3d.engine.system import set_threads

    set_threads(threads)
    show(list(measure(names, share, scene, steps)), ("objective", "fronts repeated", "PSNR", ""), as_json)


@bench_app.command("variance", epilog="sds3d bench variance --guidance sds,vsd\n\nsds3d bench variance --draws 256")
@guarded
def variance(
    guidance: str = GUIDANCE,
    prompt: str = typer.Option("a red chair", "--prompt", help="Of the picture that the gradients are taken at."),
    draws: int = typer.Option(64, "--draws", min=4, help="Noises for each noise level."),
    prior: str | None = PRIOR,
    sets: list[str] = SETS,
    as_json: bool = JSON,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Noise of the gradient at a fixed picture, trace of the covariance over squared mean, by noise level."""
    use_threads(threads)
    names = known(guidance)
    from sds3d.bench.variance import LEVELS, measure
    from sds3d.config import parse_sets
    from sds3d.engine.system import pick_device, set_threads
    from sds3d.priors import load_prior

    chosen = parse_sets(sets, {"guidance": "use --guidance", "prior": "use --prior"})
    set_threads(threads)
    name = prior or "embedded"
    loaded = load_prior(name, pick_device(device))
    rows = list(measure(names, loaded, prompt, {"prior": name, **chosen}, draws))
    show(rows, ("objective", *(f"t = {level}" for level in LEVELS)), as_json)


@bench_app.command("mutants", epilog="sds3d bench mutants\n\nsds3d bench mutants csd nfsd --jobs 2")
@guarded
def mutants(
    names: list[str] = typer.Argument(None, help="Objectives, or shared parts by their module; all by default."),
    jobs: int = typer.Option(2, "--jobs", "-j", min=1, help="Tests at a time."),
    out: Path = typer.Option(OUTPUTS / "mutants.json", "--out", "-o", help="The verdicts as JSON."),
) -> None:
    """Flip every sign, drop every factor, swap every condition: does an objective's own test notice?"""
    use_threads(1)
    from sds3d.bench.mutants import Verdict, measure
    from sds3d.files import write_bytes

    def tell(verdict: Verdict) -> None:
        typer.echo(f"  {verdict.name}: {verdict.killed} of {verdict.mutants} killed", err=True)

    verdicts = measure(names or (), jobs, tell)
    header = ("objective", "mutants", "killed", "survivors")
    table([row for verdict in verdicts for row in verdict.rows()], header)
    typer.echo(write_bytes(out, json.dumps([v.as_dict() for v in verdicts], indent=2).encode()))
    if not all(verdict.clean for verdict in verdicts):
        raise typer.Exit(1)


@bench_app.command("docs", epilog="sds3d bench docs\n\nsds3d bench docs --collect outputs/mutants.json")
@guarded
def docs(
    out: Path = typer.Option(Path("docs/guidance.md"), "--out", "-o", help="The page."),
    measured: Path = typer.Option(
        Path("docs/guidance.json"), "--measured", help="Numbers that --collect has taken in."
    ),
    collect: list[Path] = typer.Option(
        [], "--collect", help="JSON of compare, toy, oracle or mutants to take in first; repeatable."
    ),
) -> None:
    """Write the page on all objectives from their docstrings and what was measured."""
    from sds3d.bench.guidance_docs import collect as take_in
    from sds3d.bench.guidance_docs import page
    from sds3d.files import write_bytes

    if collect:
        take_in(measured, collect)
    typer.echo(write_bytes(out, page(measured).encode()))
