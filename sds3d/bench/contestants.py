"""What is compared: ways to make the views of a prompt, by sampling the prior or by distilling a scene."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from sds3d.bench.shots import LARGEST, Shot, photograph
from sds3d.camera import Cameras, orbit
from sds3d.engine.distill import Distiller, distill, prepare
from sds3d.engine.interrupt import Flag, Interrupted
from sds3d.engine.resolve import resolve
from sds3d.engine.sample import imagine
from sds3d.engine.settings import Settings
from sds3d.engine.stages import in_one
from sds3d.engine.unused import refuse_idle_in_all
from sds3d.errors import UserError
from sds3d.priors.base import Prior
from sds3d.view.pictures import frames

VIEWS, ELEVATION = 8, 15.0
# Half a step: two views are of the back and none straight at it, where an outline is the front's, mirrored.
START = 22.5
SEEN = {"views": VIEWS, "elevation": ELEVATION, "start": START}


def ring() -> Cameras:
    """The cameras that every result is seen from: VIEWS around it."""
    return orbit(VIEWS, ELEVATION, start=START)


class Contestant(Protocol):
    """One way of making things; a row of the table."""

    @property
    def label(self) -> str: ...

    @property
    def guidance(self) -> str: ...

    @property
    def scene(self) -> str: ...

    def identity(self, prompt: str, seed: int) -> dict[str, Any]:
        """Everything but the prior's weights that decides the result."""
        ...

    def make(self, prior: Prior, prompt: str, seed: int, stop: Flag) -> Shot:
        """The result's views over white. Raises Interrupted when a stop is asked for."""
        ...


@dataclass(frozen=True)
class Samples:
    """2D samples of the prior, one for every view, told the camera and sharing their noise; ancestral by default, as
    the deterministic sampler keeps mistakes of its first steps (a back drawn as a front)."""

    cfg: float
    steps: int
    camera_cfg: float = 0.5  # guidance by the camera alone, of priors that take one
    eta: float = 1.0
    guidance: str = "2D samples"
    scene: str = "-"

    @property
    def label(self) -> str:
        return f"2D samples, cfg {self.cfg:g}"

    def identity(self, prompt: str, seed: int) -> dict[str, Any]:
        kind = {"kind": "samples", "cfg": self.cfg, "camera_cfg": self.camera_cfg, "steps": self.steps, "eta": self.eta}
        return kind | SEEN | {"prompt": prompt, "seed": seed}

    def make(self, prior: Prior, prompt: str, seed: int, stop: Flag) -> Shot:
        def heed(done: int) -> None:
            if stop.asked:
                raise Interrupted

        start = time.perf_counter()
        by_camera = self.camera_cfg if "camera" in prior.capabilities else 0.0
        images = imagine(
            prior, prompt, VIEWS, 1, seed, self.steps, self.cfg, self.eta, ELEVATION, heed, by_camera, START
        )[0]
        return photograph(images, time.perf_counter() - start)


@dataclass(frozen=True)
class Distilled:
    """A scene that the engine's loop makes under a guidance, with settings of its own."""

    guidance: str
    scene: str
    overrides: Mapping[str, Any]
    preset: str | None = None
    varied: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return ", ".join([f"{self.guidance} {self.scene}", *(f"{k}={v}" for k, v in self.varied.items())])

    def settings(self, prompt: str, seed: int) -> Settings:
        """UserError for settings that do not exist or do not fit."""
        chosen = {**self.overrides, **self.varied, "guidance": self.guidance, "scene": self.scene, "seed": seed}
        return in_one(resolve(prompt, chosen, self.preset, shared=True))

    def identity(self, prompt: str, seed: int) -> dict[str, Any]:
        settings = self.settings(prompt, seed)
        kind = {"kind": "scene", "settings": settings.hash}
        return kind | SEEN | {"prompt": prompt, "seed": seed, "guidance": self.guidance, "scene": self.scene}

    def make(self, prior: Prior, prompt: str, seed: int, stop: Flag) -> Shot:
        start = time.perf_counter()
        loop = prepare(self.settings(prompt, seed), prior)
        try:
            failed = _optimise(loop, stop)
            seconds = time.perf_counter() - start
            seen = frames(loop.scene, ring(), min(prior.size, LARGEST))
        finally:
            loop.close()
        return photograph(torch.cat([frame.rgb for frame in seen]), seconds, failed)


def _optimise(loop: Distiller, stop: Flag) -> str | None:
    """The loop to its end; the reason where it came to none."""
    try:
        for _ in distill(loop):
            if stop.asked:
                raise Interrupted
    except UserError as error:  # no finite numbers: a result like any other
        return str(error)
    return None


def vary(choices: Sequence[str]) -> list[dict[str, str]]:
    """["a.b=1,2", "c=3,4"] -> a setting of every combination. Values that hold commas are separated by semicolons."""
    axes = []
    for choice in choices:
        key, equals, values = choice.partition("=")
        key = key.strip()
        if not equals or not key or not values.strip():
            raise UserError(f"--vary takes KEY=VALUE,VALUE,..., not {choice!r}")
        if key in ("guidance", "scene", "seed", "prompt", "prior"):
            raise UserError(f"--vary cannot vary {key}: use --{'seeds' if key == 'seed' else key}")
        axes.append([(key, value.strip()) for value in values.split(";" if ";" in values else ",")])
    return [dict(combination) for combination in itertools.product(*axes)]


def contestants(
    guidances: Sequence[str],
    scenes: Sequence[str],
    overrides: Mapping[str, Any],
    preset: str | None = None,
    varied: Sequence[Mapping[str, str]] = ({},),
) -> list[Distilled]:
    """Every guidance on every scene with every variation, without repetitions.

    An override of one guidance or scene ("sds.cfg") is for that one only; "guidance.cfg" is for all.
    """
    found: dict[str, Distilled] = {}
    for guidance, scene, variation in itertools.product(guidances, scenes, varied):

        def fits(key: str, mine: tuple[str, str] = (guidance, scene)) -> bool:
            head, dot, _ = key.partition(".")
            return not dot or head in mine or head not in (*guidances, *scenes)

        one = Distilled(guidance, scene, _only(overrides, fits), preset, _only(variation, fits))
        found.setdefault(one.settings("x", 0).hash, one)
    refuse_idle_in_all([one.settings("x", 0) for one in found.values()], overrides)
    return list(found.values())


def _only(values: Mapping[str, Any], keep: Callable[[str], bool]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if keep(key)}
