"""One run in stages, each with its own scene: "grid:300", then "mesh:200@0.5" (steps @ noise it starts from)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sds3d.errors import UserError, unknown
from sds3d.scenes import SCENES

if TYPE_CHECKING:
    from sds3d.engine.settings import Settings

OPENING = 0.8  # of a run's steps go to the stage that a later one's scene needs to begin as something
OPENED = 0.3  # strength of what comes after that: what is there is good, and more noise darkens and thickens it
LATER = 0.5  # strength of a stage that does not say its own and starts from what there is
FORM = re.compile(r"([\w-]+):(\d+)(?:@([\d.]+))?")


@dataclass(frozen=True)
class Stage:
    scene: str
    steps: int
    strength: float
    first: int  # steps of the stages before it

    @property
    def last(self) -> int:
        return self.first + self.steps


def parse_stages(texts: Sequence[str]) -> list[Stage]:
    """The stages in words, NAME:STEPS or NAME:STEPS@STRENGTH; UserError for what makes no sense."""
    stages: list[Stage] = []
    for text in texts:
        match = FORM.fullmatch(text.strip())
        if not match:
            raise UserError(f"a stage is SCENE:STEPS or SCENE:STEPS@STRENGTH, such as mesh:200@0.5, not {text!r}")
        name, steps, strength = match[1], int(match[2]), float(match[3] or (LATER if stages else 1.0))
        if name not in SCENES:
            raise unknown("scene", name, SCENES)
        if steps < 1 or not 0 < strength <= 1:
            raise UserError(f"stage {text!r} needs at least one step and a strength above 0 and up to 1")
        if name in {stage.scene for stage in stages}:
            raise UserError(f"there are two stages of {name!r}: each scene may be one stage")
        if stages and not SCENES[name].follows:
            able = [k for k, kind in SCENES.items() if kind.follows]
            raise UserError(f"{name!r} cannot take over from another scene: later stages are {', '.join(able)}")
        stages.append(Stage(name, steps, strength, stages[-1].last if stages else 0))
    return stages


def opening(first: str, then: str, steps: int) -> tuple[str, ...]:
    """A run of `steps` steps of the scene `then` with one of the scene `first` before it, in words; none where there
    are too few."""
    before = round(OPENING * steps)
    return (f"{first}:{before}", f"{then}:{steps - before}@{OPENED}") if 0 < before < steps else ()


def stages_of(settings: Settings) -> list[Stage]:
    """The run's stages; of a plain run its only one."""
    if not settings.stages:
        return [Stage(settings.scene, settings.steps, settings.strength, 0)]
    return parse_stages(settings.stages)


def in_one(settings: Settings) -> Settings:
    """The settings of a run that has one stage; UserError for several, which what measures a single loop cannot do."""
    if settings.stages:
        raise UserError(
            f"one scene is measured here, not the stages {', '.join(settings.stages)}: leave them out; a mesh can "
            "begin with --set mesh.init=ball or mesh.init=FILE"
        )
    return settings


def stage_settings(settings: Settings, i: int) -> Settings:
    """The i-th stage as a run of its own."""
    if not settings.stages:
        return settings
    stages = stages_of(settings)
    stage = stages[i]
    options = settings.scene_options if stage.scene == settings.scene else settings.stage_options[stage.scene]
    if i + 1 < len(stages) and stage.scene == "splats":
        options = replace(options, harden=0.0, unveil=0.0)  # for what is exported; thin parts need their time
    return replace(
        settings,
        scene=stage.scene,
        scene_options=options,
        steps=stage.steps,
        strength=stage.strength * settings.strength,
        stages=(),
        stage_options=None,
    )


def stage_at(settings: Settings, step: int) -> int:
    """Which stage a run of `settings` is in after `step` steps: at the seam, the one before it."""
    stages = stages_of(settings)
    return next(i for i, stage in enumerate(stages) if step <= stage.last or i + 1 == len(stages))
