"""`sds3d bench janus`: how often does an objective repeat a front that the prior shows too often? (OBJECTIVES 4.3)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sds3d.bench.oracle import decibels, known_object, oracle_settings
from sds3d.camera import Cameras, orbit
from sds3d.engine.distill import distill, prepare
from sds3d.errors import UserError, unknown
from sds3d.priors.oracle_source import ViewsPrior
from sds3d.render.assets import Look, over
from sds3d.scenes import SCENES
from sds3d.view.pictures import frames

SIZE = 64
BEYOND = orbit(6, 15.0, start=60.0)[:5]  # 60 to 300 degrees: views that are not the front


@dataclass(frozen=True)
class Repeated:
    """What an objective made of the biased prior."""

    guidance: str
    fronts: float | None = None  # share of the other views that look more like the front than like themselves
    psnr: float | None = None  # dB of those views against the truth
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def row(self) -> tuple[str, ...]:
        """For a table: objective, share, PSNR, reason."""
        if self.fronts is None:
            return self.guidance, "", "", self.reason
        return self.guidance, f"{self.fronts:.0%}", f"{self.psnr:.1f} dB", ""


def measure(guidance: Sequence[str], share: float = 0.9, scene: str = "splats", steps: int = 400) -> Iterator[Repeated]:
    """Each objective against a prior of which `share` shows the front whatever the camera says. UserError for a scene
    that there is not."""
    if scene not in SCENES:
        raise unknown("scene", scene, SCENES)
    prior = ViewsPrior(known_object(), front=share, size=SIZE, name="oracle:janus")
    for name in guidance:
        try:
            yield _one(prior, name, scene, steps)
        except UserError as error:
            yield Repeated(name, reason=str(error))


def _one(prior: ViewsPrior, name: str, scene: str, steps: int) -> Repeated:
    run = prepare(oracle_settings(scene, name, steps), prior)
    try:
        for _ in distill(run):
            pass
        seen = torch.cat([frame.rgb for frame in frames(run.scene, BEYOND, SIZE)])
    finally:
        run.close()
    return repeated(name, seen, prior.look)


def repeated(name: str, seen: torch.Tensor, look: Look) -> Repeated:
    """The verdict on views seen (5, 3, SIZE, SIZE) from BEYOND."""
    white = torch.ones(len(BEYOND), 3)
    front = Cameras(torch.zeros_like(BEYOND.azimuth), BEYOND.elevation, BEYOND.fov, BEYOND.distance)
    truth, wrong = (over(look(cameras, SIZE), white) for cameras in (BEYOND, front))
    own, other = ((seen - target).square().flatten(1).mean(1) for target in (truth, wrong))
    return Repeated(name, float((other < own).float().mean()), decibels(seen, truth))
