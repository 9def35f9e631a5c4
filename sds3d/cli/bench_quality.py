"""bench quality."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sds3d.cli.app import guarded
from sds3d.cli.console import table
from sds3d.cli.inspect import bench_app
from sds3d.cli.options import (
    CONTROL,
    DEVICE,
    LORA,
    OFFLINE,
    PRESET,
    PRIOR,
    SETS,
    THREADS,
    given,
    go_offline,
    use_threads,
)
from sds3d.cli.probe import FOLDER

if TYPE_CHECKING:
    from sds3d.bench.contest import Tick

SILENCE = 20.0  # seconds between two lines where there is no terminal for a bar


@bench_app.command(
    "quality",
    epilog="sds3d bench quality --quick\n\n"
    "sds3d bench quality --guidance sds,csd --scene splats --prompts objects,parts --seeds 2\n\n"
    'sds3d bench quality --scene splats --vary "cfd.cfg=2,3,4" --write docs/quality/cfg.json\n\n'
    "sds3d bench quality --samples-only",
)
@guarded
def quality(
    guidance: str = typer.Option("cfd", "--guidance", "-g", help="Names separated by commas."),
    scene: str = typer.Option("splats,grid", "--scene", help="Names separated by commas."),
    prompts: str | None = typer.Option(
        None, "--prompts", help="Lists separated by commas: names from [bold]list prompts[/bold], or .txt files."
    ),
    quick: bool = typer.Option(False, "--quick", help="Ten of the prompts: minutes for each scene."),
    samples_only: bool = typer.Option(
        False, "--samples-only", help="No scenes: what the prior itself draws, by default for every noun."
    ),
    prior: str | None = PRIOR,
    lora: list[str] = LORA,
    control: Path | None = CONTROL,
    probe: Path | None = FOLDER,
    preset: str | None = PRESET,
    sets: list[str] = SETS,
    vary: list[str] = typer.Option(
        [], "--vary", metavar="KEY=VALUES", help="One row per value; several are combined with each other."
    ),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Results per prompt; diversity needs two."),
    cfg: str = typer.Option("2", "--cfg", help="Guidance of the 2D samples; several give one row each."),
    camera_cfg: float = typer.Option(0.5, "--camera-cfg", help="Their guidance by the camera, if they take one."),
    sample_steps: int = typer.Option(25, "--sample-steps", min=1, help="Steps of the 2D samples."),
    out: Path = typer.Option(Path("outputs/quality"), "--out", "-o", help="Folder for results, report and sheets."),
    write: Path | None = typer.Option(
        None, "--write", help="Also publish the report as this .json, with a page beside its folder."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the report instead of the table."),
    force: bool = typer.Option(False, "--force", help="Make again what is already there."),
    offline: bool = OFFLINE,
    device: str = DEVICE,
    threads: int | None = THREADS,
) -> None:
    """Recognisability, colours, Janus rate and diversity of 2D samples and of scenes, on fixed prompts.

    The same command again goes on where it was stopped. New words for a prior (textual inversions) are no option: the
    prompts are fixed.
    """
    use_threads(threads)
    go_offline(offline)
    from sds3d.config import parse_sets
    from sds3d.errors import UserError

    if write is not None and write.suffix != ".json":
        raise UserError(f"--write takes a .json file, such as docs/quality/NAME.json, not {write}")
    numbers = tuple(_number(word) for word in _words(cfg))
    settings = given(lora=lora or None, control=control)
    settings |= parse_sets(
        sets, {key: f"use --{key}" for key in ("scene", "guidance", "prior")} | {"seed": "use --seeds"}
    )

    from sds3d.bench.quality import Request, bench
    from sds3d.engine.system import pick_device, set_threads

    request = Request(
        prior=prior or Request.prior,
        probe=probe or Request.probe,
        guidances=_words(guidance),
        scenes=_words(scene),
        lists=_words(prompts or ""),
        preset=preset,
        sets=settings,
        vary=tuple(vary),
        seeds=seeds,
        cfgs=numbers,
        camera_cfg=camera_cfg,
        sample_steps=sample_steps,
        quick=quick,
        samples_only=samples_only,
    )
    set_threads(threads)
    progress = Progress()
    try:
        report = bench(request, out, pick_device(device), progress, force)
    finally:
        progress.close()
    _show(report, write, as_json)


def _show(report: dict[str, Any], write: Path | None, as_json: bool) -> None:
    import json

    from sds3d.bench.quality_report import HEADER, publish, table_rows

    if write is not None:
        publish(write, report)
    if as_json:
        typer.echo(json.dumps(report))
        return
    table(table_rows(report), HEADER)
    typer.echo("behind each score: the probe's own on renders of real objects")


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _number(word: str) -> float:
    from sds3d.errors import UserError

    try:
        return float(word)
    except ValueError:
        raise UserError(f"--cfg takes numbers separated by commas, not {word!r}") from None


class Progress:
    """A bar with the time that is left on a terminal, a line now and then elsewhere; on stderr, so that --json can be
    piped."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, stderr=True)
        self.bar: Any = None
        self.spoke = 0.0

    def note(self, text: str) -> None:
        self.close()
        self.console.print(text, markup=False, soft_wrap=True)

    def tick(self, tick: Tick) -> None:
        """A result is there."""
        left = "?" if tick.left is None else _clock(tick.left)
        text = f"eta {left}  {tick.label}" + (f"  ({tick.reused} reused)" if tick.reused else "")
        if self.console.is_terminal:
            self._draw(tick, text)
        elif time.perf_counter() - self.spoke > SILENCE or tick.done == tick.total:
            self.spoke = time.perf_counter()
            self.console.print(f"  {tick.done}/{tick.total}  {text}", markup=False, soft_wrap=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, tick: Tick, text: str) -> None:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        if self.bar is None:
            columns = (BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
            self.bar = Bar(*columns, console=self.console, refresh_per_second=4)
            self.bar.start()
            self.bar.add_task("bench", total=tick.total, text="")
        self.bar.update(self.bar.task_ids[0], completed=tick.done, text=escape(text))


def _clock(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
