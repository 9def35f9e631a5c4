"""Prompt -> asset: load the prior, run the loop, write everything a person wants to see."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from sds3d import config
from sds3d.engine import checkpoint
from sds3d.engine import run as runs
from sds3d.engine.interrupt import Interrupted, polite_stop
from sds3d.engine.present import present, preview
from sds3d.engine.record import Record, Step
from sds3d.engine.remarks import noting_warnings
from sds3d.engine.run import Run
from sds3d.engine.settings import Settings
from sds3d.engine.setup import check_changes, check_source, saved_scene
from sds3d.engine.staged import Staged
from sds3d.engine.system import hardware, peak_memory, versions
from sds3d.errors import UserError
from sds3d.export import export_asset
from sds3d.export.config import refuse_unused
from sds3d.priors import load_prior
from sds3d.priors.base import Prior


class Listener(Protocol):
    """Who is told about progress: the command line, a notebook, a test."""

    def note(self, text: str) -> None: ...

    def stage(self, name: str, seconds: float) -> None: ...

    def step(self, record: Record) -> None: ...


@dataclass
class Clock:
    """Seconds by stage since `started` (time.perf_counter)."""

    listener: Listener
    started: float
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, tell: bool = True) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
        if tell:
            self.listener.stage(name, self.seconds[name])

    def report(self) -> dict[str, float]:
        total = time.perf_counter() - self.started
        return {k: round(v, 3) for k, v in (self.seconds | {"total": total}).items()}


def generate(
    settings: Settings,
    root: Path,
    device: torch.device,
    force: bool,
    listener: Listener,
    started: float | None = None,
    prior: Prior | None = None,
) -> Path:
    """The run folder of `settings` under `root`, complete: made, continued, or left alone when it already was. `prior`
    is theirs where it is loaded already.

    Raises Interrupted after a polite stop (the checkpoint is saved), UserError for what the user can mend.
    """
    run = runs.create(settings, root)
    with runs.locked(run.folder, run.made):
        return _carry_through(run, device, listener, started, force, prior)


def resume(folder: Path, device: torch.device, listener: Listener, started: float | None = None) -> Path:
    """Complete the run in `folder` from its last checkpoint."""
    run = runs.load(folder)
    with runs.locked(run.folder):
        return _carry_through(run, device, listener, started)


def export_run(
    folder: Path, formats: tuple[str, ...], overrides: Mapping[str, Any], device: torch.device, listener: Listener
) -> dict[str, Any]:
    """Write `formats` from the run's last checkpoint; `overrides` are settings of the export ("export.faces")."""
    run = runs.load(folder)
    for key in overrides:
        if not key.startswith("export."):
            raise UserError(f"{key} cannot be set here: only export.X can")
    settings = config.apply(run.settings, overrides)
    checkpoint.check(run.checkpoint)  # before anything is written
    with runs.locked(run.folder):
        scene, header = saved_scene(settings, run.checkpoint, device)
        from sds3d.export.own import HasMesh

        if isinstance(scene, HasMesh):
            refuse_unused(settings.export, overrides, scene.own_mesh().given)
        if header["step"] < settings.steps:
            listener.note(f"  the run is at step {header['step']} of {settings.steps}")
        with runs.staging(run.folder) as scratch:
            exported = export_asset(scene, scratch, formats, settings.export, prompt=settings.prompt)
    for names in exported["files"].values():
        listener.note("  " + "  ".join(str(run.folder / name) for name in names))
    if exported["line"]:
        listener.note(f"  {exported['line']}")
    return exported


def _carry_through(
    run: Run,
    device: torch.device,
    listener: Listener,
    started: float | None,
    force: bool = False,
    prior: Prior | None = None,
) -> Path:
    if run.complete and not force:
        listener.note(f"already complete: {run.folder}\n  with --force generate makes it again, with --seed another")
        return run.folder
    settings = run.settings
    listener.note(
        f'"{_shorten(settings.prompt)}"  {settings.scene}, {settings.guidance}, prior {settings.prior}, '
        f"seed {settings.seed}, {device}\n  {run.folder}"
    )
    check_source(settings)
    check_changes(settings)
    clock = Clock(listener, time.perf_counter() if started is None else started)
    clock.seconds["start"] = time.perf_counter() - clock.started
    with clock.stage("prior"), noting_warnings(listener.note):
        prior = prior or load_prior(settings.prior, device, **settings.changes)
    run.begin(force)  # only now: a prior that does not load leaves an old run alone
    with clock.stage("scene", tell=False), noting_warnings(listener.note):
        loop = Staged(settings, prior, run.folder, listener.note)
        if run.restore(loop):
            listener.note(f"  resumed at step {loop.step} of {settings.steps}")
    try:
        with clock.stage("optimise"):
            first = loop.step
            optimise(run, loop, listener)
        result = _finish(run, loop, clock)
    except KeyboardInterrupt:  # while files are written, or for the second time in the loop
        if not run.checkpoint.exists():
            raise
        raise Interrupted(f"stopped; from the last checkpoint it goes on with: sds3d resume {run.folder}") from None
    finally:
        loop.close()
    result["steps"] = {"done": loop.step, "from": first}
    run.write_result(result)
    _say_done(run, result, listener)
    return run.folder


def optimise(run: Run, loop: Staged, listener: Listener) -> None:
    """The loop to its end, with metrics, previews and checkpoints; a polite stop saves and raises Interrupted."""
    settings, late = run.settings, deque[Step]()

    def tell(wait: bool) -> None:
        """Write and show the steps whose numbers are here, or with `wait` all."""
        while late and (wait or late[0].ready):
            record = late.popleft().record()
            metrics.write(json.dumps(record.as_dict(), allow_nan=False) + "\n")
            listener.step(record)

    with polite_stop() as stop, open(run.metrics, "a", encoding="utf-8") as metrics:
        for step in loop.steps():
            late.append(step)
            tell(wait=False)
            for note in step.notes:
                listener.note(f"  {note}")
            if step.step % settings.preview_every == 0:
                preview(loop.scene, run.previews / f"{step.step:06}.png")
            stopping = stop.asked
            if step.step % settings.checkpoint_every == 0 or step.step in loop.seams or stopping:
                tell(wait=True)
                metrics.flush()
                run.save(loop)
            if stopping:
                raise Interrupted(
                    f"stopped at step {step.step} of {step.total}, checkpoint saved; "
                    f"go on with: sds3d resume {run.folder}"
                )


def _finish(run: Run, loop: Staged, clock: Clock) -> dict[str, Any]:
    """Export and pictures into the run folder, all at once; returns the result but for its last lines."""
    settings = run.settings
    with runs.staging(run.folder) as scratch:
        with clock.stage("export"):
            exported = export_asset(loop.scene, scratch, settings.formats, settings.export, prompt=settings.prompt)
        with clock.stage("pictures"):
            result = {
                "prompt": settings.prompt,
                "folder": run.folder.name,
                "settings": settings.as_dict(),
                "files": exported["files"],
                "axes": exported["axes"],
                "qa": exported["qa"],
                "line": exported["line"],
                "seconds": clock.seconds,
                "export_seconds": exported["seconds"],
                "memory": peak_memory(loop.prior.device),
                "versions": versions(),
                "hardware": hardware(loop.prior.device),
            }
            present(loop.scene, scratch, run.metrics, result)
    return result | {"seconds": clock.report(), "memory": peak_memory(loop.prior.device)}


def _shorten(prompt: str, length: int = 60) -> str:
    return prompt if len(prompt) <= length else prompt[: length - 1] + "…"


def _say_done(run: Run, result: Mapping[str, Any], listener: Listener) -> None:
    if result["line"]:
        listener.note(f"  {result['line']}")
    files = [name for names in result["files"].values() for name in names] + [
        path.name for path in sorted(run.folder.iterdir()) if path.name in runs.PRODUCTS
    ]
    listener.note(f"done in {result['seconds']['total']:.1f} s: {run.folder}\n  {'  '.join(files)}")
