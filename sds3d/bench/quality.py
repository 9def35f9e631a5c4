"""`sds3d bench quality`: what is asked for, and from there to the report and the sheets."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from sds3d.bench.contest import Bench, Tick, compare, judge, make
from sds3d.bench.contestants import Contestant, Samples, contestants, vary
from sds3d.bench.quality_report import sheet, write_json
from sds3d.bench.scores import Verdict
from sds3d.bench.shots import Album, Shot, fingerprint
from sds3d.bench.targets import LISTS, QUICK, Target, Vocabulary, everything, load_targets, spread
from sds3d.engine.interrupt import polite_stop
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.system import hardware, versions
from sds3d.errors import UserError
from sds3d.priors import ORACLE, find_folder, load_prior
from sds3d.probe.judge import WEIGHTS, Probe, load_probe
from sds3d.prompts import slug
from sds3d.view.sheet import write_png

ROWS = 50  # prompts on a contact sheet
# Settings that change the prior, for samples and scenes alike.
CHANGES = ("lora", "control", "control_kind", "control_scale", "ip_adapter", "image_encoder", "image")


@dataclass(frozen=True)
class Request:
    """The options of the command."""

    prior: str = "embedded"
    probe: Path = WEIGHTS
    guidances: Sequence[str] = ("cfd",)
    scenes: Sequence[str] = ("splats", "grid")
    lists: Sequence[str] = ()  # none: LISTS, or everything that the probe knows for samples only
    preset: str | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    vary: Sequence[str] = ()  # "KEY=VALUE,VALUE", combined with each other
    seeds: int = 1
    cfgs: Sequence[float] = (2.0,)  # of the 2D samples; the first is what the scenes are measured by
    camera_cfg: float = 0.5  # of the 2D samples, too
    sample_steps: int = 25
    quick: bool = False
    samples_only: bool = False

    def __post_init__(self) -> None:
        if not self.cfgs:
            raise UserError("--cfg takes numbers separated by commas")
        if not self.samples_only and not (self.guidances and self.scenes):
            raise UserError("name a guidance and a scene, or ask for --samples-only")
        if self.samples_only and self.vary:
            raise UserError("--vary is for scenes: with --samples-only, vary --cfg")
        if self.samples_only and "control" in self.sets:
            raise UserError("a ControlNet sees scenes: leave --control out, or --samples-only")
        if "textual_inversion" in self.sets:
            raise UserError("the prompts of a bench are fixed, and have no new words: leave textual_inversion out")

    @property
    def command(self) -> str:
        """The command line that asks for it."""
        default = Request()
        words = ["sds3d", "bench", "quality"]
        words += ["--samples-only"] * self.samples_only + ["--quick"] * self.quick
        lists = {"--guidance": "guidances", "--scene": "scenes", "--prompts": "lists", "--cfg": "cfgs"}
        singles = {
            "--prior": "prior",
            "--probe": "probe",
            "--preset": "preset",
            "--seeds": "seeds",
            "--camera-cfg": "camera_cfg",
            "--sample-steps": "sample_steps",
        }
        for flag, name in lists.items():
            if tuple(getattr(self, name)) != tuple(getattr(default, name)):
                words += [flag, ",".join(f"{v:g}" if isinstance(v, float) else v for v in getattr(self, name))]
        for flag, name in singles.items():
            if getattr(self, name) != getattr(default, name):
                words += [flag, str(getattr(self, name))]
        words += [word for key, value in self.sets.items() for word in ("--set", f"{key}={_said(value)}")]
        words += [word for choice in self.vary for word in ("--vary", choice)]
        return shlex.join(words)


class Listener(Protocol):
    def note(self, text: str) -> None: ...

    def tick(self, tick: Tick) -> None: ...


def bench(request: Request, out: Path, device: torch.device, listener: Listener, force: bool = False) -> dict[str, Any]:
    """The report, written to out/quality.json with contact sheets beside it; results are kept in out/results.

    Raises Interrupted after a polite stop: the same request goes on from there. UserError for what the user can mend.
    """
    probe = load_probe(device, request.probe)
    words = Vocabulary(probe.nouns, probe.known, probe.fronted)
    chosen = prior_settings(request)
    plan = Bench(entrants(request), targets(request, words), request.seeds, weights(chosen))
    prior = functools.cache(lambda: load_prior(chosen.prior, device, **chosen.changes))
    listener.note(f"{len(plan.units())} results: {len(plan.targets)} prompts, {len(plan.contestants)} ways, {out}")
    verdicts, shots = _hold(plan, prior, probe, Album(out / "results"), listener, force)
    report = {
        "command": request.command,
        "prior": request.prior,
        **compare(plan, verdicts, probe.ceiling),
        "versions": versions(),
        "hardware": hardware(device),
    }
    write_json(out / "quality.json", report)
    for path in write_sheets(plan, shots, out):
        listener.note(f"  {path}")
    return report


def _said(value: Any) -> str:
    """A setting's value as --set takes it."""
    return ",".join(value) if isinstance(value, (list, tuple)) else str(value)


def prior_settings(request: Request) -> Settings:
    """Which prior is meant, and which files change it."""
    mine = {key: value for key, value in request.sets.items() if key in CHANGES}
    guidance = next(iter(request.guidances), Settings.guidance)
    return resolve("x", {**mine, "prior": request.prior, "guidance": guidance}, request.preset)


def weights(chosen: Settings) -> str:
    """What tells this prior from another of the same name."""
    prior = chosen.prior
    return "+".join([prior if prior.startswith(ORACLE) else fingerprint(find_folder(prior)), *chosen.lora_digests])


def entrants(request: Request) -> list[Contestant]:
    """2D samples first, then every scene."""
    samples = [Samples(cfg, request.sample_steps, request.camera_cfg) for cfg in dict.fromkeys(request.cfgs)]
    if request.samples_only:
        return [*samples]
    overrides = {**request.sets, "prior": request.prior}
    return [
        *samples,
        *contestants(request.guidances, request.scenes, overrides, request.preset, vary(request.vary)),
    ]


def targets(request: Request, words: Vocabulary) -> list[Target]:
    whole = request.samples_only and not request.lists
    found = everything(words) if whole else load_targets(request.lists or LISTS, words)
    return spread(found, QUICK) if request.quick else found


def _hold(
    plan: Bench, prior: Any, probe: Probe, album: Album, listener: Listener, force: bool
) -> tuple[dict[str, list[Verdict]], dict[str, dict[str, Shot]]]:
    """(verdicts by contestant, shots of the first seed by contestant and prompt)."""
    verdicts: dict[str, list[Verdict]] = {c.label: [] for c in plan.contestants}
    shots: dict[str, dict[str, Shot]] = {c.label: {} for c in plan.contestants}
    with polite_stop() as stop:
        for tick, unit, shot in make(plan, prior, album, stop, force):
            verdicts[unit.contestant.label].append(judge(probe, unit, shot))
            shots[unit.contestant.label].setdefault(unit.target.prompt, shot)
            listener.tick(tick)
    return verdicts, shots


def write_sheets(plan: Bench, shots: Mapping[str, Mapping[str, Shot]], out: Path) -> list[Path]:
    """One picture for every scene contestant and ROWS prompts: the 2D samples, then the scene's views."""
    first, *others = plan.contestants
    paths = []
    for contestant in others or [first]:
        labels = dict.fromkeys((first.label, contestant.label))
        columns = [(label, shots[label]) for label in labels]
        for i in range(0, len(plan.targets), ROWS):
            path = out / f"sheet-{slug(contestant.label)}-{i // ROWS + 1}.png"
            paths.append(write_png(path, sheet(plan.targets[i : i + ROWS], columns)))
    return paths
