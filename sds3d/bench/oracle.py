"""A renderer recovers a known object from the exact score of its own views (OBJECTIVES 4.3).

No network takes part: what is wrong here is wrong in the scene, in the loop or in the objective.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.camera import orbit
from sds3d.config import load_preset
from sds3d.engine.distill import Distiller, distill, prepare
from sds3d.engine.settings import Settings, from_values
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE
from sds3d.priors.oracle_source import ViewsPrior
from sds3d.render.assets import Look, over, soup_look
from sds3d.scenes import SCENES
from sds3d.view.pictures import frames

PROVED = ("sds", "vsd", "ism", "cfd")  # those that must pass
PASS = 25.0  # dB
NOUN = "car"  # the known object: no symmetry front to back, several colours
HELD_OUT = orbit(8, 15.0, start=22.5)

SCENES_MEASURED = tuple(name for name in SCENES if name != "texture")  # which needs an asset to begin with
SPREAD = 0.5  # of the null condition: anything near a view. Were it the views alone, ism's interval term would vanish

# the images decide, not the scene's own wishes; the null condition does not know the camera
TASK: dict[str, Any] = {
    "camera_guidance": True,
    "guidance_weight": 1.0,
    "background": "white",
    "splats.penalty_size": (0.0, 0.0),
    "grid.sparsity": (0.0, 0.0),
    "grid.entropy": (0.0, 0.0),
}


@dataclass(frozen=True)
class Recovery:
    """How near an objective brought a scene to the known object."""

    scene: str
    guidance: str
    psnr: float | None  # dB over white, held-out views; None where the objective cannot run
    steps: int
    seconds: float
    reason: str = ""  # why it cannot

    @property
    def passed(self) -> bool:
        return self.psnr is not None and self.psnr > PASS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}

    def row(self) -> tuple[str, str, str, str]:
        """For a table: scene, guidance, PSNR, verdict."""
        shown = "" if self.psnr is None else f"{self.psnr:5.1f} dB"
        return self.scene, self.guidance, shown, self.reason or ("passed" if self.passed else f"below {PASS:.0f} dB")


def known_object(noun: str = NOUN) -> Look:
    """A procedural object of the corpus as a function that draws it."""
    from sds3d.embedded.corpus.procedural import GENERATORS
    from sds3d.embedded.corpus.variants import normalise

    return soup_look(normalise(GENERATORS[noun](np.random.default_rng(1))[1]))


def oracle_settings(scene: str, guidance: str, steps: int, extra: Mapping[str, Any] | None = None) -> Settings:
    """The default preset without regularisers and at guidance scale 1; `extra` by dotted key on top."""
    chosen = {"scene": scene, "guidance": guidance, "steps": steps, "prompt": "it", **TASK}
    if hasattr(GUIDANCE[guidance](), "cfg"):
        chosen[f"{guidance}.cfg"] = 1.0  # the score itself
    return from_values({**load_preset("default"), **chosen, **(extra or {})})


def recover(look: Look, settings: Settings, size: int) -> Recovery:
    """Distil the views of `look` into a new scene; its PSNR at cameras that no step used."""
    began = time.perf_counter()
    prior = ViewsPrior(look, spread=SPREAD, size=size)
    try:
        run = prepare(settings, prior)
    except UserError as error:
        return Recovery(settings.scene, settings.guidance, None, 0, 0.0, str(error))
    try:
        for _ in distill(run):
            pass
        quality = psnr(run, look, size)
    except UserError as error:
        return Recovery(settings.scene, settings.guidance, None, run.step, time.perf_counter() - began, str(error))
    finally:
        run.close()
    return Recovery(settings.scene, settings.guidance, quality, run.step, time.perf_counter() - began)


def psnr(run: Distiller, look: Look, size: int) -> float:
    """dB over white from HELD_OUT cameras."""
    seen = torch.cat([frame.rgb for frame in frames(run.scene, HELD_OUT, size)])
    return decibels(seen, over(look(HELD_OUT, size), torch.ones(len(HELD_OUT), 3)))


def decibels(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().clamp_min(1e-10).log10())


def measure(
    guidance: Sequence[str] = PROVED,
    scenes: Sequence[str] = SCENES_MEASURED,
    steps: int = 400,
    size: int = 64,
    tell: Callable[[Recovery], None] = lambda recovery: None,
) -> Iterator[Recovery]:
    """Every objective on every scene. Names that are not in GUIDANCE are a UserError before anything runs."""
    from sds3d.errors import unknown

    for name in guidance:
        if name not in GUIDANCE:
            raise unknown("guidance", name, GUIDANCE)
    look = known_object()
    for scene in scenes:
        for name in guidance:
            recovery = recover(look, oracle_settings(scene, name, steps), size)
            tell(recovery)
            yield recovery
