"""The prior's half of a step: from pictures to the gradient on their pixels. It is cut from the renderer's half, so it
can be done again with less memory when memory runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.guidance import Context, View, distill_gradient, surrogate
from sds3d.guidance.step import Stats, image_gradient
from sds3d.priors.base import Cond
from sds3d.scenes.base import Frame
from sds3d.streams import stream

if TYPE_CHECKING:
    from sds3d.engine.distill import Distiller


@dataclass(frozen=True)
class Guided:
    """What the objective wants of a step's views."""

    pixels: Tensor  # (B, 3, H, W) gradient of the loss
    loss: Tensor
    geometry: Tensor | None  # the objective's own loss on depth and coverage
    stats: Stats
    context: Context


def guide(
    run: Distiller, cameras: Cameras, background: Tensor, conds: dict[str, Cond], frame: Frame, t: Tensor
) -> Guided:
    """The objective at the frame, at noise levels t (B,); the same for the same step however often it is asked."""
    settings, step = run.settings, run.step
    image = frame.rgb.detach().requires_grad_()
    x = run.prior.encode(image)
    context = Context(
        x.detach(),
        conds,
        run.prior,
        stream(settings.seed, "noise", step),
        step / settings.steps,
        run.critic,
        View(cameras, frame.alpha, frame.depth),
        settings.seed,
        step,
        x_src=_encode_source(run, cameras, background),
        prompt=settings.prompt,
        cache=run.cache,
    )
    g, stats = distill_gradient(run.objective, context, t)
    loss = settings.guidance_weight * surrogate(x, g)
    (pixels,) = torch.autograd.grad(loss, image)
    if run.objective.image_weight > 0:
        twin = image_gradient(run.objective, context, g, t, image.detach())
        pixels += settings.guidance_weight * run.objective.image_weight / len(x) * twin
    return Guided(pixels, loss, run.objective.geometry_loss(g, context), stats, context)


@torch.no_grad()
def _encode_source(run: Distiller, cameras: Cameras, background: Tensor) -> Tensor | None:
    """What the edited scene showed to the same cameras when it was new, encoded."""
    return None if run.source is None else run.prior.encode(run.source.render(cameras, run.size, background).rgb)
