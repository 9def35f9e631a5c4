"""`--budget 5min,8GB`: settings that fit, chosen by trying a few steps on this machine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch

from sds3d.engine.distill import distill, prepare
from sds3d.engine.remarks import noting_warnings
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.priors import load_prior
from sds3d.priors.base import Prior, views_per_object
from sds3d.priors.speed import vae

UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
ASIDE = 15.0  # seconds for export and pictures
SLACK = 0.9  # share of the rest that is planned: steps grow dearer as a scene grows
FEWEST = 100  # steps; below, fewer views are better
TRIED, WARMUP = 3, 2  # steps


@dataclass(frozen=True)
class Budget:
    """What a run may take; None: as much as it wants."""

    seconds: float | None = None
    bytes: int | None = None  # of a CUDA device


def parse_budget(text: str) -> Budget:
    """ "5min", "90s", "8GB" or both with a comma. UserError for anything else."""
    budget = Budget()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", part)
        number, unit = (float(found[1]), found[2].lower()) if found else (0.0, "")
        if number > 0 and unit in UNITS:
            budget = replace(budget, seconds=number * UNITS[unit])
        elif number > 0 and unit == "gb":
            budget = replace(budget, bytes=int(number * 1e9))
        else:
            raise UserError(f"--budget takes a time, a size or both, such as 5min, 90s or 5min,8GB, not {text!r}")
    return budget


def afford(
    settings: Settings, budget: Budget, device: torch.device, tell: Callable[[str], None]
) -> tuple[Settings, Prior]:
    """`settings` with as many steps and views as the budget allows, never more than they had, and their prior, loaded.

    Memory comes first: the VAE computes twice, then views are halved. Then time: fewer steps down to FEWEST, then fewer
    views. UserError where nothing fits.
    """
    if budget.bytes is not None and device.type != "cuda":
        raise UserError("--budget can keep to a memory size only on a CUDA device: give it a time alone")
    if settings.stages:
        raise UserError(
            "--budget cannot shorten a run in stages, as --stages and --scene mesh make: give their steps instead"
        )
    began = time.perf_counter()
    with noting_warnings(tell):
        prior = load_prior(settings.prior, device, **settings.changes)
    loading = time.perf_counter() - began
    while True:
        with noting_warnings(tell):
            seconds, used = try_steps(settings, prior)
        chosen = fit(settings, budget, seconds, used, loading, bool(vae(prior)), views_per_object(prior))
        if chosen.views == settings.views and chosen.speed == settings.speed:
            break
        settings = chosen
    tell(
        f"  {1e3 * seconds:.0f} ms a step"
        + (f", {used / 1e9:.1f} GB" if used else "")
        + f": {chosen.steps} steps of {chosen.views} views"
    )
    return chosen, prior


def fit(
    settings: Settings, budget: Budget, seconds: float, used: int, loading: float, has_vae: bool, together: int = 1
) -> Settings:
    """The next settings to try where a step of these takes `seconds` and `used` bytes; the last have the same views.
    These stay a multiple of `together`, the views of an object that the prior looks at together."""
    if budget.bytes is not None and used > budget.bytes:
        for way in ("vae_checkpointing", "vae_slicing"):
            if has_vae and not getattr(settings.speed, way):
                return replace(settings, speed=replace(settings.speed, **{way: True}))
        return _fewer_views(settings, together, f"{used / 1e9:.1f} GB")
    if budget.seconds is None:
        return settings
    steps = int(SLACK * (budget.seconds - loading - ASIDE) / seconds)
    if steps < min(FEWEST, settings.steps):
        takes = f"{FEWEST * seconds / SLACK + loading + ASIDE:.0f} s for {FEWEST} steps"
        return _fewer_views(settings, together, takes)
    return replace(settings, steps=min(steps, settings.steps))


def _fewer_views(settings: Settings, together: int, takes: str) -> Settings:
    if settings.views <= together:
        views = "one view" if together == 1 else f"{together} views"
        raise UserError(f"--budget is too small: {views} a step takes {takes}; give more or choose a smaller prior")
    return replace(settings, views=max(1, settings.views // (2 * together)) * together)


def try_steps(settings: Settings, prior: Prior) -> tuple[float, int]:
    """(median seconds of a step, most bytes of a CUDA device)."""
    if prior.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(prior.device)
    run = prepare(replace(settings, steps=max(settings.steps, WARMUP + TRIED)), prior, synchronise=True)
    try:
        records = [record for _, record in zip(range(WARMUP + TRIED), distill(run), strict=False)]
    finally:
        run.close()
    used = torch.cuda.max_memory_allocated(prior.device) if prior.device.type == "cuda" else 0
    return median(record.ms["total"] for record in records[WARMUP:]) / 1e3, used
