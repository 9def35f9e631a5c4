"""`sds3d compare`: objectives side by side on the same prompt, seeds, cameras and budget."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from sds3d.bench import variance
from sds3d.bench.budget import Budget, default_budget, evaluations, trial
from sds3d.bench.likeness import Likeness, look_at
from sds3d.camera import orbit
from sds3d.engine.distill import distill, prepare
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.engine.stages import in_one
from sds3d.engine.system import hardware, versions
from sds3d.engine.unused import refuse_idle_in_all
from sds3d.errors import UserError, unknown
from sds3d.files import write_bytes
from sds3d.guidance import GUIDANCE
from sds3d.priors import load_prior
from sds3d.priors.base import Prior
from sds3d.prompts import slug
from sds3d.view.pictures import frames, tile, to_pixels
from sds3d.view.sheet import write_png

RING = orbit(8, 15.0)
SIZE = 128  # pixels of a view
DRAWS = 16  # of the variance meter
HEADER = ("objective", "steps", "evaluations", "seconds", "variance", "R@1", "R@5", "colour", "Janus", "diversity", "")


class Listener(Protocol):
    def note(self, text: str) -> None: ...


@dataclass
class Row:
    """What became of an objective. `reason` says why it cannot run on this prior."""

    guidance: str
    reason: str = ""
    steps: int = 0
    evaluations: float = 0.0  # of networks, mean over the seeds
    seconds: float = 0.0  # of optimisation, mean over the seeds
    guidance_weight: float = 0.0  # after levelling
    variance: float | None = None  # tr Cov(g) / |E g|^2, geometric mean over the noise levels
    likeness: Likeness = field(default_factory=Likeness)

    def cells(self) -> tuple[str, ...]:
        """For a table, as HEADER names them."""
        if self.reason:
            return (self.guidance, *[""] * (len(HEADER) - 2), f"cannot: {self.reason}")
        ratio = "" if self.variance is None else variance.show(self.variance)
        cost = (str(self.steps), f"{self.evaluations:.0f}", f"{self.seconds:.1f}", ratio)
        return (self.guidance, *cost, *self.likeness.cells(), "")


@dataclass(frozen=True)
class Contest:
    """What all objectives have in common."""

    prompt: str
    prior: Prior
    overrides: Mapping[str, Any]  # settings by dotted key; options of single objectives are NAME.KEY
    preset: str | None
    seeds: tuple[int, ...]
    budget: Budget | None = None  # None: what sds takes by the preset

    def settings(self, guidance: str, seed: int = 0) -> Settings:
        """The preset and the overrides that concern this objective: an IP-Adapter is around the prior already, and a
        picture is for those that look at it."""
        others = {"ip_adapter", "image_encoder"} | ({"image"} if not looks(guidance) else set())
        mine = {k: v for k, v in self.overrides.items() if k not in others}
        return settings_of(self.prompt, mine, self.preset, guidance, seed)


def settings_of(
    prompt: str, overrides: Mapping[str, Any], preset: str | None, guidance: str, seed: int = 0
) -> Settings:
    """Without the options of other objectives."""
    mine = {k: v for k, v in overrides.items() if k.partition(".")[0] not in set(GUIDANCE) - {guidance}}
    return in_one(resolve(prompt, {**mine, "guidance": guidance, "seed": seed}, preset, shared=True))


def load_for(
    prompt: str, names: Sequence[str], overrides: Mapping[str, Any], preset: str | None, device: torch.device
) -> Prior:
    """The prior of the overrides, changed by the files that they name. UserError where they have a picture for it and
    none of the objectives called `names` looks at one, or another setting that none of them reads."""
    first = next(filter(looks, names), names[0])
    settings = settings_of(prompt, overrides, preset, first)
    unseen = {key: value for key, value in overrides.items() if key not in ("image", "ip_adapter", "image_encoder")}
    refuse_idle_in_all([settings_of(prompt, unseen, preset, name) for name in names], overrides)
    return load_prior(settings.prior, device, **settings.changes)


def looks(guidance: str) -> bool:
    """Whether it looks at a picture."""
    return "image" in GUIDANCE[guidance]().needs()


def compare(contest: Contest, names: Sequence[str], out: Path, listener: Listener) -> tuple[list[Row], Path]:
    """Run every objective; the sheet and the table are written anew after each, so that a stop loses one row only.

    All see the same cameras, noise levels and noises by step and seed. Gradient norms are levelled to those of sds: the
    weight against the scene's regularisers is what a preset tunes for one objective. Returns the rows and the folder.
    """
    for name in names:
        if name not in GUIDANCE:
            raise unknown("guidance", name, GUIDANCE)
    first = contest.settings("sds")
    budget = contest.budget or default_budget(first)
    folder = out / f"compare-{slug(contest.prompt)}"
    level = trial(first, contest.prior).gradient
    x = variance.own_picture(contest.prior, contest.prompt)
    rows: list[Row] = []
    strips: list[Image.Image] = []
    for name in names:
        row, views = run_one(contest, name, budget, level, x)
        rows.append(row)
        listener.note("  " + "  ".join(cell for cell in row.cells() if cell))
        if views is not None:
            strips.append(strip(row, views))
            write_png(folder / "sheet.png", tile(strips, columns=1))
        write_bytes(folder / "compare.json", report(contest, budget, rows).encode())
    if strips:
        listener.note(f"{folder / 'sheet.png'}\n{folder / 'compare.json'}")
    return rows, folder


def run_one(contest: Contest, name: str, budget: Budget, level: float, x: Tensor) -> tuple[Row, Tensor | None]:
    """The row of one objective and its views (seeds, 8, 3, SIZE, SIZE), or the reason and None."""
    row = Row(name)
    try:
        settings = contest.settings(name)
        cost = trial(settings, contest.prior)
        row.steps = budget.steps(cost)
        row.guidance_weight = settings.guidance_weight * (level / cost.gradient if cost.gradient > 0 else 1.0)
        pictures = [_optimise(contest, row, seed) for seed in contest.seeds]
    except UserError as error:
        return Row(name, reason=str(error)), None
    row.evaluations /= len(contest.seeds)
    row.seconds /= len(contest.seeds)
    views = torch.stack(pictures)
    row.variance = _variance(settings, contest.prior, x)
    row.likeness = look_at(contest.prompt, views, RING.azimuth.tolist())
    return row, views


def _optimise(contest: Contest, row: Row, seed: int) -> Tensor:
    """One run within the budget; its cost is added to the row. (8, 3, SIZE, SIZE) of what came out."""
    settings = contest.settings(row.guidance, seed)
    settings = replace(settings, steps=row.steps, guidance_weight=row.guidance_weight)
    run = prepare(settings, contest.prior)
    began = time.perf_counter()
    try:
        for record in distill(run):
            row.evaluations += evaluations(record, settings)
        row.seconds += time.perf_counter() - began
        return torch.cat([frame.rgb for frame in frames(run.scene, RING, SIZE)]).clamp(0, 1)
    finally:
        run.close()


def _variance(settings: Settings, prior: Prior, x: Tensor) -> float | None:
    run = prepare(settings, prior)
    try:
        return variance.Profile(settings.guidance, variance.profile(run, x, DRAWS)).typical
    finally:
        run.close()


def strip(row: Row, views: Tensor) -> Image.Image:
    """A row of the sheet: eight views of the first seed, or four of each of the first ones."""
    seeds = min(len(views), 4)
    shown = views[:seeds, :: 1 if seeds == 1 else 2].flatten(0, 1)  # (n, 3, SIZE, SIZE)
    shown = shown[: 16 if seeds > 2 else 8]
    captions = [""] * len(shown)
    captions[0] = row.guidance
    captions[1] = f"{row.evaluations:.0f} evals"
    return tile(list(to_pixels(shown)), captions)


def report(contest: Contest, budget: Budget, rows: Sequence[Row]) -> str:
    """The rows as JSON, with what they were made by."""
    settings = contest.settings("sds")
    return json.dumps(
        {
            "prompt": contest.prompt,
            "prior": settings.prior,
            "scene": settings.scene,
            "views": settings.views,
            "preset": settings.preset,
            "overrides": {k: str(v) for k, v in contest.overrides.items()},
            "budget": asdict(budget),
            "seeds": list(contest.seeds),
            "hardware": hardware(contest.prior.device),
            "versions": versions(),
            "rows": [asdict(row) for row in rows],
        },
        indent=2,
    )
