"""What a step costs, and whose cost it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sds3d.bench.random_priors import ARCHITECTURES, random_prior
from sds3d.engine.distill import Distiller, prepare
from sds3d.engine.distill import steps as steps_of
from sds3d.engine.meter import PARTS
from sds3d.engine.resolve import resolve
from sds3d.engine.system import hardware, versions
from sds3d.engine.throughput import now
from sds3d.errors import UserError, unknown
from sds3d.priors import load_prior, surrounded
from sds3d.priors.base import Cond, Prior
from sds3d.priors.speed import vae
from sds3d.scenes import SCENES

PROMPT = "a red chair"
SCENES_MEASURED = tuple(name for name in SCENES if name != "texture")  # which needs an asset to begin with
# What `each_off` changes of a step, one at a time, and where it can be changed.
SWITCHES: dict[str, tuple[Mapping[str, Any], Callable[[Prior], bool]]] = {
    "one by one": ({"speed.batch": 1}, lambda prior: prior.network is not None),
    "VAE's blocks twice": ({"speed.vae_checkpointing": True}, lambda prior: bool(vae(prior))),
    "views encoded twice": ({"speed.vae_slicing": True}, lambda prior: bool(vae(prior))),
    "channels first": ({"speed.channels_last": False}, lambda prior: prior.device.type == "cuda"),
    "compiled": ({"speed.compile": "default"}, lambda prior: prior.device.type == "cuda"),
    "CUDA graphs": ({"speed.compile": "reduce-overhead"}, lambda prior: prior.device.type == "cuda"),
}


@dataclass(frozen=True)
class StepCost:
    """In milliseconds, as `typical` takes them; the parts are scaled to add up to the total."""

    scene: str
    guidance: str
    prior: str
    views: int
    size: int
    steps: int
    ms: dict[str, float]  # prior, renderer, optimiser, rest, total
    share: dict[str, float]  # of the total
    variant: str  # what was switched, see SWITCHES
    prior_only: float  # ms: encoding, the step's predictions in one forward, and the way back through the encoder
    ratio: float  # of the whole step to the prior alone
    images_per_second: float  # rendered and judged
    peak_bytes: dict[str, int]  # most memory of a CUDA device, "prior" alone and "step"; empty on a CPU
    hardware: dict[str, Any]
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For a table: scene, part, ms, share."""
        name = f"{self.scene}, {self.variant}" if self.variant else self.scene
        rows = [(name, part, f"{self.ms[part]:8.2f}", f"{self.share[part]:6.1%}") for part in self.ms]
        rows.append((name, "prior only", f"{self.prior_only:8.2f}", f"x {self.ratio:.3f}"))
        memory = [(name, f"memory, {part}", f"{size / 1e9:.2f} GB", "") for part, size in self.peak_bytes.items()]
        return [*rows, *memory, (name, "images/s", f"{self.images_per_second:8.1f}", "")]


def measure(
    prior: str,
    scene: str | None,
    guidance: str,
    steps: int,
    warmup: int,
    device: torch.device,
    each_off: bool = False,
    sets: Mapping[str, Any] | None = None,
) -> list[StepCost]:
    """The cost of `steps` steps after `warmup` ones, for one scene or for all, at the prior's preset and `sets`.

    `prior` is one of ARCHITECTURES or what `load_prior` takes. A run's steps change as the scene grows, so the measured
    steps are its first ones. CUDA is synchronised between the parts. `each_off` measures what SWITCHES change, too.
    """
    costs = []
    for variant, (changes, applies) in {"": ({}, lambda prior: True), **(SWITCHES if each_off else {})}.items():
        scenes = [scene] if scene else SCENES_MEASURED
        loaded = load(prior, device, {**(sets or {}), "scene": scenes[0], "guidance": guidance})
        if not applies(loaded):
            continue
        for one in scenes:
            asked = {**(sets or {}), **changes, "scene": one, "guidance": guidance}
            costs.append(measure_scene(loaded, prior, asked, steps, warmup, variant))
    return costs


def load(name: str, device: torch.device, asked: Mapping[str, Any]) -> Prior:
    """The prior with what the settings put around it."""
    changes = resolve(PROMPT, {**asked, "prior": _like(name)}).changes
    if name not in ARCHITECTURES:
        if "-rand" in name and "/" not in name and not Path(name).exists():
            raise unknown("architecture", name, ARCHITECTURES)
        return load_prior(name, device, **changes)
    if {"lora", "textual_inversion"} & changes.keys():
        raise UserError(f"{name} has random weights, which no file can change: leave lora and textual_inversion out")
    return surrounded(random_prior(name, device), **changes)


def measure_scene(
    prior: Prior, name: str, asked: Mapping[str, Any], steps: int, warmup: int, variant: str = ""
) -> StepCost:
    cuda = prior.device.type == "cuda"
    settings = resolve(PROMPT, {**asked, "prior": _like(name), "steps": warmup + steps * (2 if cuda else 1)})
    run = prepare(settings, prior, synchronise=True)
    try:
        _forget_peak(prior.device)
        loop = steps_of(run)
        records = [step.record() for step in islice(loop, warmup + steps)][warmup:]
        run.meter.synchronise = False
        whole = typical(lambda: next(loop), steps, prior.device) if cuda else median(r.ms["total"] for r in records)
        peaks = _peak(prior.device, "step")
        _forget_peak(prior.device)
        alone = prior_only(run, int(records[-1].stats["nfe"] or 0), steps, warmup)
        peaks |= _peak(prior.device, "prior")
    finally:
        run.close()
    ms, share = summarise([record.ms for record in records], whole)
    return StepCost(
        scene=settings.scene,
        guidance=settings.guidance,
        prior=prior.name,
        views=settings.views,
        size=run.size,
        steps=steps,
        ms=ms,
        share=share,
        variant=variant,
        prior_only=alone,
        ratio=ms["total"] / alone,
        images_per_second=1e3 * settings.views / ms["total"],
        peak_bytes=peaks,
        hardware=hardware(prior.device),
        versions=versions(),
    )


def typical(action: Callable[[], Any], times: int, device: torch.device) -> float:
    """Median milliseconds of `action`. On CUDA by the device's own clock: the host runs ahead as in a real run."""
    if device.type != "cuda":
        stamps = [now(device)] + [(action(), now(device))[1] for _ in range(times)]
        return median(1e3 * (b - a) for a, b in pairwise(stamps))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    events[0].record()
    for event in events[1:]:
        action()
        event.record()
    torch.cuda.synchronize(device)
    return median(a.elapsed_time(b) for a, b in pairwise(events))


def prior_only(run: Distiller, calls: int, steps: int, warmup: int) -> float:
    """Milliseconds of what no engine can save: views encoded, `calls` predictions of each in one forward, through the
    ControlNet if there is one, and the encoder's gradient."""
    prior, views = run.prior, run.settings.views
    image = torch.rand(views, 3, run.size, run.size, device=prior.device).requires_grad_()
    text = prior.text([PROMPT, ""])
    cond = Cond.cat([text.select(torch.full((views,), i % 2, device=text.tokens.device)) for i in range(calls)])
    if run.settings.control:
        cond = replace(cond, control=image.detach().repeat(calls, 1, 1, 1))
    t = torch.full((views * calls,), prior.schedule.steps // 2, device=prior.device)

    def alone() -> None:
        x = prior.encode(image)
        with torch.no_grad():
            eps = prior.predict(x.detach().repeat(calls, 1, 1, 1), t, cond)
        torch.autograd.grad((x * eps[:views]).sum(), image)

    for _ in range(warmup):
        alone()
    return typical(alone, steps, prior.device)


def _like(name: str) -> str:
    """The name whose preset a prior is measured at."""
    return "sd15" if name in ARCHITECTURES else name


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device, part: str) -> dict[str, int]:
    return {part: torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {}


def summarise(records: Sequence[dict[str, float]], total: float) -> tuple[dict[str, float], dict[str, float]]:
    """A total in ms split by the parts' shares of all the time spent, and those shares."""
    whole = sum(r["total"] for r in records)
    share = {part: sum(r[part] for r in records) / whole for part in (*PARTS, "rest")}
    ms = {part: total * s for part, s in share.items()}
    return ms | {"total": total}, share | {"total": 1.0}
