"""The loop over a run's stages. A run without stages has one, which is all that makes the difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sds3d.engine.distill import Distiller, prepare, steps
from sds3d.engine.hand_over import hand_over
from sds3d.engine.meter import Meter
from sds3d.engine.optim import Optimizers
from sds3d.engine.record import Step
from sds3d.engine.remarks import noting_warnings
from sds3d.engine.settings import Settings
from sds3d.engine.setup import create_critic, create_scene
from sds3d.engine.stages import stage_at, stage_settings, stages_of
from sds3d.priors.base import Prior
from sds3d.scenes.base import Scene


class Staged:
    """All stages as one loop with one count of steps. A checkpoint holds the stage that its last step belonged to: what
    follows from a finished stage is made again, and the same."""

    def __init__(self, settings: Settings, prior: Prior, folder: Path | None, tell: Callable[[str], None]) -> None:
        self.settings, self.prior, self.folder, self.tell = settings, prior, folder, tell
        self.stages = stages_of(settings)
        self.seams = {stage.last for stage in self.stages}
        self.index = 0
        self.loop: Distiller = prepare(stage_settings(settings, 0), prior, folder=folder)

    @property
    def scene(self) -> Scene:
        return self.loop.scene

    @property
    def step(self) -> int:
        return self.stages[self.index].first + self.loop.step

    def steps(self) -> Iterator[Step]:
        """Steps to the end of the last stage, counted over all of them."""
        while True:
            stage = self.stages[self.index]
            if len(self.stages) > 1:
                self.tell(f"  stage {self.index + 1}/{len(self.stages)}: {stage.scene}, {stage.steps} steps")
            for step in steps(self.loop):
                yield replace(step, step=step.step + stage.first, total=self.stages[-1].last)
            if self.index + 1 == len(self.stages):
                return
            self._advance()

    def _advance(self) -> None:
        """On to the next stage, whose scene starts from what this one's has become."""
        settings = stage_settings(self.settings, self.index + 1)
        with noting_warnings(self.tell):
            scene = create_scene(settings, self.prior.device)
        hand_over(self.scene, scene)
        self._enter(self.index + 1, settings, scene)

    def _enter(self, index: int, settings: Settings, scene: Scene) -> None:
        """A loop at its first step for `scene`, which asks the prior under the same conditions."""
        self.loop.close()
        adapted = self.loop.critic is not None
        self.loop = replace(
            self.loop,
            settings=settings,
            scene=scene,
            optimizers=Optimizers(scene.parameters(), settings.whole_steps),
            critic=create_critic(settings, self.prior, scene) if adapted else None,
            meter=Meter(self.prior.device, self.loop.meter.synchronise),
            step=0,
            cache={},
        )
        self.index = index

    def state_dict(self) -> dict[str, Tensor]:
        return self.loop.state_dict()

    def load_state_dict(self, state: dict[str, Tensor], step: int) -> None:
        index = stage_at(self.settings, step)
        if index != self.index:
            settings = stage_settings(self.settings, index)
            self._enter(index, settings, create_scene(settings, self.prior.device))
        self.loop.load_state_dict(state, step - self.stages[index].first)

    def close(self) -> None:
        """Leave the prior as it was found."""
        self.loop.close()
