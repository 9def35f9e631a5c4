"""The colours of Gaussians that hardly a view sees: they show through the cracks between those in front of them, and
show each side something else, which no surface with a texture can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds3d.camera import ring

if TYPE_CHECKING:
    from sds3d.scenes.splats import SplatScene

VIEWS, SIZE, AT_ONCE = 24, 96, 4
ELEVATIONS = (-5.0, 20.0, 50.0, 80.0)
SEEN = 1e-6  # of a pixel: those that take less in all views have no colour before them


def before(scene: SplatScene) -> tuple[Tensor, Tensor]:
    """Of VIEWS pictures from all around, by Gaussian: (N,) what all pixels take of it in units of a pixel, and (N, 3)
    the mean colour of the pixels by what they take of it: its own and that of whatever is before or behind it there.

    What a pixel takes of a colour is the derivative of the picture with respect to it.
    """
    cameras = ring(VIEWS, ELEVATIONS)
    colors = scene.params["colors"]
    taken, shown = torch.zeros_like(colors), torch.zeros_like(colors)
    with torch.enable_grad():
        for i in range(0, VIEWS, AT_ONCE):
            some = cameras[i : i + AT_ONCE]
            frame = scene.render(some, SIZE, torch.zeros(len(some), 3, device=scene.device))
            straight = (frame.rgb / frame.alpha.clamp_min(1e-3)).detach()  # (B, 3, H, W)
            taken += torch.autograd.grad(frame.rgb.sum(), colors, retain_graph=True)[0]
            shown += torch.autograd.grad((frame.rgb * straight).sum(), colors)[0]
    own = colors.detach().sigmoid()
    slope = (own * (1 - own)).clamp_min(1e-6)
    return (taken / slope).mean(-1), shown / taken.clamp_min(SEEN * slope)


def visibility(scene: SplatScene, taken: Tensor) -> Tensor:
    """(N,) share of its own light, opacity times area, that a Gaussian sends to the cameras of `before`."""
    cameras = ring(VIEWS, ELEVATIONS)
    splats = {name: value.detach() for name, value in scene.splats().items()}
    area = 2 * torch.pi * splats["scales"].sort(-1).values[:, 1:].prod(-1)
    pixel = float((cameras.distance / cameras.focal(SIZE)).mean())
    return (taken * pixel**2 / (VIEWS * splats["opacities"] * area).clamp_min(1e-12)).clamp(0, 1)


@torch.no_grad()
def unveil(scene: SplatScene, share: float) -> None:
    """Give each Gaussian of visibility v the colour (v c + share m) / (v + share), m what is seen where it is: what is
    hidden takes the colour of what is before it. Changes the colours alone."""
    taken, shown = before(scene)
    colors = scene.params["colors"].sigmoid()
    own = visibility(scene, taken)[:, None]
    mixed = (own * colors + share * shown) / (own + share)
    mixed = torch.where(taken[:, None] > SEEN, mixed, colors)
    scene.params["colors"].copy_(torch.logit(mixed, eps=1e-4))
