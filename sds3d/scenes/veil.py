"""The colours of Gaussians that hardly a view sees: they show through the cracks between those in front of them, as
speckles that no training view is fine enough to resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sds3d.camera import ring

if TYPE_CHECKING:
    from sds3d.scenes.splats import SplatScene

VIEWS, SIZE, AT_ONCE = 24, 96, 4
ELEVATIONS = (-5.0, 20.0, 50.0, 80.0)
NEAR = 0.04  # standard deviation of the weight by distance
NEIGHBOURS = 32


def visibility(scene: SplatScene) -> Tensor:
    """(N,) share of its own light, opacity times area, that a Gaussian sends to VIEWS cameras all around.

    What a pixel takes of a colour is the derivative of the picture with respect to it.
    """
    cameras = ring(VIEWS, ELEVATIONS)
    colors = scene.params["colors"]
    taken = torch.zeros_like(colors)
    with torch.enable_grad():
        for i in range(0, VIEWS, AT_ONCE):
            some = cameras[i : i + AT_ONCE]
            frame = scene.render(some, SIZE, torch.zeros(len(some), 3, device=scene.device))
            taken += torch.autograd.grad(frame.rgb.sum(), colors)[0]
    shown = colors.detach().sigmoid()
    taken = (taken / (shown * (1 - shown)).clamp_min(1e-6)).mean(-1)
    splats = {name: value.detach() for name, value in scene.splats().items()}
    area = 2 * torch.pi * splats["scales"].sort(-1).values[:, 1:].prod(-1)
    pixel = float((cameras.distance / cameras.focal(SIZE)).mean())
    return (taken * pixel**2 / (VIEWS * splats["opacities"] * area).clamp_min(1e-12)).clamp(0, 1)


@torch.no_grad()
def unveil(scene: SplatScene, share: float) -> None:
    """Give each Gaussian of visibility v the colour (v c + share m) / (v + share), m the mean of its neighbours'
    colours by their light: what is hidden takes the colour of what is seen before it. Changes the colours alone."""
    seen = visibility(scene)
    colors = scene.params["colors"].sigmoid()
    means = scene.params["means"].cpu().numpy()
    count = min(NEIGHBOURS + 1, len(means))
    distance, index = cKDTree(means).query(means, k=count)
    distance, index = distance.reshape(len(means), count), index.reshape(len(means), count)
    near = torch.from_numpy(np.exp(-((distance / NEAR) ** 2) / 2)).to(colors)
    near[:, 0] = 0  # itself
    around = torch.from_numpy(index).to(colors.device)
    weight = near * (seen * scene.params["opacities"].sigmoid())[around]  # (N, K)
    total = weight.sum(1, keepdim=True)
    mean = torch.einsum("nk,nkc->nc", weight, colors[around]) / total.clamp_min(1e-9)
    own = torch.where(total > 1e-3, (seen / (seen + share))[:, None], 1.0)
    scene.params["colors"].copy_(torch.logit(own * colors + (1 - own) * mean, eps=1e-4))
