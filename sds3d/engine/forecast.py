"""`sds3d doctor --prior X`: how much memory and time an asset would take, told before any weights are loaded.

Parameters come from the headers of the weight files, the cost of a step from the network's config (`symbolic`), the
evaluations a step makes from a few steps without a prior (`evaluations`), this device's speed from a second of trying
(`throughput`), the scene's share from rendering one small view. It is an estimate: first steps, no compilation, and a
device that does nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sds3d.engine.distill import draw_cameras
from sds3d.engine.doctor import Row, available_memory
from sds3d.engine.evaluations import count
from sds3d.engine.milestones import parse_milestones
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.setup import create_scene
from sds3d.engine.symbolic import encoding_cost, prediction_cost, symbolic_prior
from sds3d.engine.tally import Tally
from sds3d.engine.throughput import measure, now
from sds3d.priors import ORACLE, PRIORS, find_folder, is_here, references_of
from sds3d.priors.diffusion import precisions
from sds3d.priors.folder import family_of, inspect
from sds3d.priors.part import Part
from sds3d.priors.speed import configure

PROMPT = "a red chair"
TRIAL_SIZE, TRIAL_VIEWS = 128, 4  # pixels and views that are rendered to see what the scene costs
CONTEXT = 0.5e9  # bytes that CUDA itself takes
LIBRARIES = 0.2e9  # bytes of what a run imports later than this does
TEXTS = ("text_encoder", "tokenizer")


@dataclass(frozen=True)
class Forecast:
    """Bytes and seconds."""

    prior: str
    family: str
    parameters: dict[str, int]  # by component
    precision: dict[str, str]
    weights: int  # bytes that stay in memory
    encoders: int  # bytes of text encoders, there only while new prompts are encoded
    activations: int  # bytes at the step's peak
    scene: int
    base: int  # of the process, or of CUDA
    evaluations: float  # of the network a step, views counted
    rows: int  # of the largest batch
    tflops: float  # of a step
    prior_seconds: float  # a step
    scene_seconds: float
    steps: int
    views: int
    size: int

    @property
    def memory(self) -> int:
        """Bytes at the peak: in the loop, or while the prompts are encoded beside the network."""
        return self.base + self.weights + max(self.activations + self.scene, self.encoders)

    @property
    def step_seconds(self) -> float:
        return self.prior_seconds + self.scene_seconds

    @property
    def seconds(self) -> float:
        """Of the optimisation; export and pictures come on top."""
        return self.steps * self.step_seconds

    def as_dict(self) -> dict[str, Any]:
        more = {"memory": self.memory, "step_seconds": self.step_seconds, "seconds": self.seconds}
        return asdict(self) | more


def forecast(
    prior: str, device: torch.device, overrides: Mapping[str, Any] | None = None, preset: str | None = None
) -> Forecast:
    """What a run of `prior` with the settings `overrides` of `preset` would take on `device`.

    Raises UserError for a prior that is missing, broken or not supported, and for settings that do not go together.
    """
    folder = find_folder(prior)
    settings = resolve(PROMPT, {**(overrides or {}), "prior": prior}, preset)
    parts, family = inspect(folder), family_of(folder)
    dtypes = precisions(folder, family, device, torch.float32 if settings.speed.float32 else None)
    symbolic = symbolic_prior(folder, parts, dtypes)
    grown = [pixels for _, pixels in parse_milestones(settings.milestones)]
    size = max(grown, default=settings.size or symbolic.size)
    evaluations, rows = count(settings, symbolic.capabilities, symbolic.views_per_object)
    configure(symbolic, replace(settings.speed, compile="off"))
    predicting, (encoding, held) = prediction_cost(symbolic, rows), encoding_cost(symbolic, settings.views, size)
    step = predicting * (evaluations / rows) + encoding
    scene_seconds, scene_bytes = scene_cost(settings, size, device)
    resident = [part for part in parts if not part.name.startswith(TEXTS)]
    encoders = [part for part in parts if part.name.startswith(TEXTS)]
    return Forecast(
        prior=prior,
        family=family.name,
        parameters={part.name: part.parameters for part in parts if part.parameters},
        precision={part.name: str(dtypes[part.name]).removeprefix("torch.") for part in parts if part.parameters},
        weights=sum(_bytes(part, dtypes) for part in resident),
        encoders=sum(_bytes(part, dtypes) for part in encoders),
        activations=max(held + predicting.peak, encoding.peak),
        scene=scene_bytes,
        base=int(CONTEXT) if device.type == "cuda" else resident_memory() + int(LIBRARIES),
        evaluations=evaluations,
        rows=rows,
        tflops=sum(step.flops.values()) / 1e12,
        prior_seconds=measure(step, device).seconds(step),
        scene_seconds=scene_seconds,
        steps=settings.steps,
        views=settings.views,
        size=size,
    )


def _bytes(part: Part, dtypes: Mapping[str, torch.dtype]) -> int:
    return part.parameters * (dtypes.get(part.name) or torch.float32).itemsize


def scene_cost(settings: Settings, size: int, device: torch.device) -> tuple[float, int]:
    """(seconds, bytes) of rendering a step's views of a new scene and of their gradient, by a few of them, at most
    TRIAL_SIZE wide, the second time."""
    scene = create_scene(settings, device)
    views, small = min(settings.views, TRIAL_VIEWS), min(size, TRIAL_SIZE)
    cameras = draw_cameras(replace(settings, views=views), 0).to(device)
    background = torch.ones(views, 3, device=device)
    share = settings.views / views * (size / small) ** 2
    parameters = [p for group in scene.parameters() for p in group.params]
    for _ in range(2):
        began = now(device)
        with Tally() as tally:
            frame = scene.render(cameras, small, background)
            torch.autograd.grad(frame.rgb.sum(), parameters, allow_unused=True)
        seconds = now(device) - began
    held = sum(p.nbytes for p in parameters) * 4  # values, gradients and Adam's two moments
    return seconds * share, int(held + tally.cost.peak * share)


def resident_memory() -> int:
    """Bytes that this process holds now, where Linux says so."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def rows(
    prior: str, device: torch.device, overrides: Mapping[str, Any] | None = None, preset: str | None = None
) -> list[Row]:
    """The forecast for people; for a prior that is not on this machine, what would be downloaded."""
    if prior.startswith(ORACLE):
        return [Row("prior", "ok", f"{prior} is a closed form: there is nothing to load")]
    if not is_here(prior):
        return [missing(prior)]
    return table(forecast(prior, device, overrides, preset), device)


def missing(prior: str) -> Row:
    """What a prior of the hub that is not in the cache would take to download."""
    from sds3d.priors import hub

    source = PRIORS.get(prior)
    known = f"about {source.gigabytes:.0f} GB" if source and source.gigabytes else "of unknown size"
    terms = f", licence {source.terms}" if source else ""
    if hub.offline():
        return Row("prior", "note", f"{prior} is not on this machine ({known}{terms})", f"sds3d download {prior}")
    plan = hub.first_plan(prior, references_of(prior))
    return Row("prior", "note", f"not on this machine; {plan.summary}{terms}", f"sds3d download {prior}")


def table(found: Forecast, device: torch.device) -> list[Row]:
    """The forecast as rows."""
    sizes = ", ".join(f"{name} {n / 1e6:.3g} M" for name, n in found.parameters.items())
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    memory = (
        f"{_gb(found.memory)} at the peak: weights {_gb(found.weights)}, a step {_gb(found.activations)}, scene "
        f"{_gb(found.scene)}, process {_gb(found.base)}; text encoders {_gb(found.encoders)} once, for new prompts"
    )
    tight = free is not None and found.memory - (found.base if device.type == "cpu" else 0) > free
    step = (
        f"{found.step_seconds:.2f} s: prior {found.prior_seconds:.2f} s ({found.evaluations:.0f} evaluations, "
        f"{found.tflops:.2g} TFLOP), scene {found.scene_seconds:.2f} s; {found.views} views of {found.size} pixels"
    )
    remedy = f"{_gb(free or 0)} are free: lower views or size" if tight else ""
    return [
        Row("prior", "ok", f"{found.prior}, family {found.family}; parameters: {sizes}"),
        Row("precision", "ok", ", ".join(f"{name} {dtype}" for name, dtype in found.precision.items())),
        Row("memory", "problem" if tight else "ok", memory, remedy),
        Row("step", "ok", step),
        Row("asset", "ok", f"{found.steps} steps: {duration(found.seconds)} on {device}, and the export"),
        Row("note", "note", "an estimate from configs and a second of trying; sds3d bench step measures"),
    ]


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
