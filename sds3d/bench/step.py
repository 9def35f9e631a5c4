"""What a step costs, and whose cost it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from sds3d.engine.distill import distill, prepare
from sds3d.engine.meter import PARTS
from sds3d.engine.settings import resolve
from sds3d.engine.system import hardware, versions
from sds3d.priors import load_prior
from sds3d.priors.base import Prior
from sds3d.scenes import SCENES

PROMPT = "a red chair"


@dataclass(frozen=True)
class StepCost:
    """Medians over the measured steps, in milliseconds; the parts are scaled to add up to the total."""

    scene: str
    guidance: str
    prior: str
    views: int
    size: int
    steps: int
    ms: dict[str, float]  # prior, renderer, optimiser, rest, total
    share: dict[str, float]  # of the total
    hardware: dict[str, Any]
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For a table: scene, part, ms, share."""
        return [(self.scene, part, f"{self.ms[part]:8.2f}", f"{self.share[part]:6.1%}") for part in self.ms]


def measure(
    prior: str, scene: str | None, guidance: str, steps: int, warmup: int, device: torch.device
) -> list[StepCost]:
    """The cost of `steps` steps after `warmup` ones, for one scene or for all, at the prior's default preset.

    A run's steps change as the scene grows, so the measured steps are its first ones. CUDA is synchronised between
    the parts.
    """
    loaded = load_prior(prior, device)
    return [measure_scene(loaded, prior, name, guidance, steps, warmup) for name in ([scene] if scene else SCENES)]


def measure_scene(prior: Prior, name: str, scene: str, guidance: str, steps: int, warmup: int) -> StepCost:
    settings = resolve(PROMPT, {"prior": name, "scene": scene, "guidance": guidance, "steps": steps + warmup})
    run = prepare(settings, prior, synchronise=True)
    try:
        records = [record.ms for record in distill(run)][warmup:]
    finally:
        run.close()
    ms, share = summarise(records)
    return StepCost(
        scene=scene,
        guidance=guidance,
        prior=prior.name,
        views=settings.views,
        size=run.size,
        steps=steps,
        ms=ms,
        share=share,
        hardware=hardware(prior.device),
        versions=versions(),
    )


def summarise(records: Iterable[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Median total in ms split by the parts' shares of all the time spent, and those shares."""
    records = list(records)
    whole = sum(r["total"] for r in records)
    share = {part: sum(r[part] for r in records) / whole for part in (*PARTS, "rest")}
    total = median(r["total"] for r in records)
    ms = {part: total * s for part, s in share.items()}
    return ms | {"total": total}, share | {"total": 1.0}
