"""THE LOOP: Scene x Camera -> image -> Prior x Objective -> gradient, one record per step.

Nothing here knows which scene, prior or objective it drives. All randomness comes from `stream(seed, purpose, step)`,
so a run that is stopped and resumed draws what an uninterrupted one draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.camera import Cameras, sample_cameras
from sds3d.engine.checkpoint import part
from sds3d.engine.conditions import Conditions
from sds3d.engine.guide import guide
from sds3d.engine.hints import with_hint
from sds3d.engine.meter import Meter
from sds3d.engine.milestones import Milestone, parse_milestones, size_at
from sds3d.engine.optim import Optimizers
from sds3d.engine.record import Record, Step, Watch, known, verdict
from sds3d.engine.scene_critic import SceneCritic
from sds3d.engine.settings import Settings
from sds3d.engine.setup import (
    background_policy,
    check_prior,
    check_source,
    create_critic,
    create_scene,
    load_source,
    prepare_conditions,
)
from sds3d.guidance import Context, Objective
from sds3d.guidance.critic import LoraCritic
from sds3d.priors.base import Prior, views_per_object
from sds3d.priors.speed import configure, with_relief
from sds3d.scenes.base import Frame, Scene
from sds3d.streams import stream
from sds3d.transfer import Numbers, put


@dataclass
class Distiller:
    """All that a run needs between two steps; `state_dict` is all that a checkpoint needs."""

    settings: Settings
    prior: Prior
    scene: Scene
    objective: Objective
    conditions: Conditions
    optimizers: Optimizers
    critic: LoraCritic | SceneCritic | None
    meter: Meter
    sizes: tuple[Milestone, ...]  # of the rendered views
    background: str  # a policy of draw_background
    source: Scene | None = None  # the finished scene that this one edits, as it was
    step: int = 0
    cache: dict[str, Any] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch, init=False)

    @property
    def failures(self) -> int:
        """Steps in a row, up to the last one that the host has seen, whose numbers were not finite."""
        return self.watch.failures

    @property
    def together(self) -> int:
        """Views of an object that the prior looks at together."""
        return views_per_object(self.prior)

    @property
    def size(self) -> int:
        """Pixels of a view at the present step."""
        return size_at(self.sizes, self.step / self.settings.steps)

    def state_dict(self) -> dict[str, Tensor]:
        parts: dict[str, dict[str, Tensor]] = {
            "scene": self.scene.state_dict(),
            "optim": self.optimizers.state_dict(),
            "cache": {k: v for k, v in self.cache.items() if isinstance(v, Tensor)},
            "critic": self.critic.state_dict() if self.critic is not None else {},
        }
        return {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}

    def load_state_dict(self, state: dict[str, Tensor], step: int) -> None:
        self.scene.load_state_dict(part(state, "scene"))
        self.optimizers = Optimizers(self.scene.parameters(), self.settings.whole_steps)
        self.optimizers.load_state_dict(part(state, "optim"))
        self.cache = {k: v.to(self.scene.device) for k, v in part(state, "cache").items()}
        if self.critic is not None:
            self.critic.load_state_dict(part(state, "critic"))
        self.step = step

    def close(self) -> None:
        """Leave the prior as it was found."""
        if self.critic is not None:
            self.critic.remove()


def prepare(settings: Settings, prior: Prior, synchronise: bool = False, folder: Path | None = None) -> Distiller:
    """A run at step 0, on the prior's device; `synchronise` makes its step timings exact on CUDA. A reference picture
    is kept in `folder`."""
    objective = settings.objective
    check_source(settings)
    check_prior(settings, prior)
    configure(prior, settings.speed)
    source = load_source(settings, prior.device) if settings.source else None
    scene = create_scene(settings, prior.device)
    if source is not None:
        scene.load_state_dict(source.state_dict())
    return Distiller(
        settings=settings,
        prior=prior,
        scene=scene,
        objective=objective,
        conditions=prepare_conditions(settings, prior, objective.needs(), folder),
        optimizers=Optimizers(scene.parameters(), settings.whole_steps),
        critic=create_critic(settings, prior, scene) if objective.critic else None,
        meter=Meter(prior.device, synchronise),
        sizes=parse_milestones(settings.milestones) or ((0.0, settings.size or prior.size),),
        background=background_policy(settings, prior),
        source=source,
    )


def distill(run: Distiller) -> Iterator[Record]:
    """`steps`, each waited for: what it did."""
    return (step.record() for step in steps(run))


def steps(run: Distiller) -> Iterator[Step]:
    """Steps until the end, yielding after each; the caller may save, draw or stop between two of them.

    On CUDA the device may not have made them yet. Raises UserError after PATIENCE steps in a row whose numbers are not
    finite, as soon as that is known.
    """
    if run.step == 0:
        probe_largest(run)
    while run.step < run.settings.steps:
        yield _step(run)
    run.watch.finish()


def probe_largest(run: Distiller) -> None:
    """Draw the run's largest views once, there and back, so that memory runs out now and not in the middle."""
    largest = max(pixels for _, pixels in run.sizes)
    if largest == run.size:
        return
    white = torch.ones(run.settings.views, 3)
    cameras = draw_cameras(run.settings, 0, run.together).to(run.scene.device)
    image = run.scene.render(cameras, largest, white.to(run.scene.device)).rgb
    image.backward(torch.zeros_like(image))
    run.optimizers.zero_grad()


def _step(run: Distiller) -> Step:
    settings, step, meter = run.settings, run.step, run.meter
    progress = step / settings.steps
    meter.start()
    cameras = draw_cameras(settings, step, run.together).to(run.scene.device)
    background = put(draw_background(settings, step, run.background, run.together), run.scene.device)
    conds = run.conditions.at(cameras, background)
    fraction = draw_times(settings, progress, step, run.together)
    t = put(run.prior.schedule.timestep(fraction), run.prior.device)
    meter.lap("rest")

    frame = run.scene.render(cameras, run.size, background)
    penalty = run.scene.regulariser(frame, progress)
    meter.lap("renderer")
    if settings.control:
        conds = with_hint(conds, settings.control_kind, cameras, frame)

    notes: list[str] = []
    guided = with_relief(run.prior, lambda: guide(run, cameras, background, conds, frame, t), notes.append)
    loss, geometry, stats = guided.loss, guided.geometry, guided.stats
    penalty = penalty if geometry is None else penalty + geometry
    meter.lap("prior")

    run.optimizers.zero_grad()
    ends, seeds = [frame.rgb], [guided.pixels]
    if penalty.requires_grad:
        ends, seeds = [*ends, penalty], [*seeds, torch.ones_like(penalty)]
    torch.autograd.backward(ends, seeds)
    meter.lap("renderer")

    checked = _checked(loss, penalty, frame, stats.nonfinite, run.optimizers.gradients())
    skip = verdict(checked)
    meter.lap("rest")
    found = {} if known(skip) else _update(run, frame, guided.context, progress, skip)
    numbers = Numbers({**checked, **stats.tensors(), **found, "skipped": skip})
    run.watch.add(step, numbers)
    run.step += 1
    return Step(run.step, settings.steps, fraction.mean().item(), meter.read(), tuple(notes), numbers, stats)


def _update(run: Distiller, frame: Frame, context: Context, progress: float, skip: Tensor) -> dict[str, Tensor]:
    """Optimisers and critic, which leave all as it is where `skip` is 1, and the scene's housekeeping; returns the
    critic's loss by name."""
    settings, step, meter = run.settings, run.step, run.meter
    adams = run.optimizers.by_name
    run.scene.after_backward(step, settings.steps, frame, adams)
    run.optimizers.step(progress, skip)
    meter.lap("optimiser")
    found = {}
    if run.critic is not None:
        generator = stream(settings.seed, "critic", step)
        found["critic_loss"] = run.critic.train_step(context.x, context.conds["critic"], generator, skip)
    meter.lap("prior")
    run.scene.after_step(step, settings.steps, frame, adams, stream(settings.seed, "scene", step))
    meter.lap("optimiser")
    return found


def draw_cameras(settings: Settings, step: int, together: int = 1) -> Cameras:
    """A step's cameras; `together` views of an object, one after the other, lie evenly around it."""
    c = settings.camera
    return sample_cameras(settings.views, stream(settings.seed, "camera", step), c.elevation, c.fov, c.zoom, together)


def draw_background(settings: Settings, step: int, policy: str, together: int = 1) -> Tensor:
    """(B, 3) sRGB: white, or for a share of the views a uniform grey or colour ("grey", "random"), the same for the
    `together` views of an object."""
    if policy == "white":
        return torch.ones(settings.views, 3)
    generator, objects = stream(settings.seed, "background", step), settings.views // together
    chosen = torch.rand(objects, 1, generator=generator) < settings.random_background
    colour = torch.rand(objects, 1 if policy == "grey" else 3, generator=generator).expand(objects, 3)
    return torch.where(chosen, colour, torch.ones(objects, 3)).repeat_interleave(together, 0)


def draw_times(settings: Settings, progress: float, step: int, together: int = 1) -> Tensor:
    """(B,) shares of T, the same for the `together` views of an object."""
    time = settings.time.weakened(settings.strength)
    n = settings.views // together if time.per == "view" else 1
    return time.sample(progress, n, stream(settings.seed, "time", step)).repeat_interleave(settings.views // n)


def _checked(
    loss: Tensor, penalty: Tensor, frame: Frame, nonfinite: Tensor, gradients: list[Tensor]
) -> dict[str, Tensor]:
    """0-d tensors that tell whether the step is sound. A sum is finite only if its terms are."""
    total = torch.stack([g.detach().sum(dtype=torch.float32) for g in gradients]).sum() if gradients else loss * 0
    return {
        "loss": loss,
        "regulariser": penalty,
        "alpha": frame.alpha.mean(),
        "image": frame.rgb.sum(),
        "nonfinite": nonfinite,
        "slopes": total,
    }
