"""What the prior itself draws: DDIM and ancestral sampling with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sds3d.camera import orbit
from sds3d.engine.conditions import Conditions
from sds3d.guidance.paths import ddim_step
from sds3d.priors.base import Cond, Prior
from sds3d.streams import stream


@torch.no_grad()
def sample(
    prior: Prior,
    cond: Cond,
    null: Cond,
    noise: Tensor,
    generator: torch.Generator,
    steps: int = 50,
    cfg: float = 5.0,
    eta: float = 0.0,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """x (B, C, h, w) drawn from `noise` under `cond`, both conditions of length B; levels evenly spaced from T - 1."""
    levels = torch.linspace(prior.schedule.steps - 1, 0, steps + 1).long()[:-1]
    z = noise.to(prior.device)
    both = Cond.cat([cond, null])
    for i, level in enumerate(levels):
        t = level.expand(len(z)).to(prior.device)
        e_cond, e_null = prior.predict(torch.cat([z, z]), torch.cat([t, t]), both).to(z).chunk(2)
        s = levels[i + 1].expand(len(z)).to(prior.device) if i + 1 < len(levels) else None
        z = ddim_step(z, e_null + cfg * (e_cond - e_null), t, s, prior.schedule, eta, generator)
        progress(i + 1)
    return z


def imagine(
    prior: Prior,
    prompt: str,
    views: int = 8,
    rows: int = 2,
    seed: int = 0,
    steps: int = 50,
    cfg: float = 5.0,
    eta: float = 0.0,
    elevation: float = 15.0,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """(rows, views, 3, H, W) sRGB: each row shares one noise across the views around the object.

    Priors that take a camera get it; the others are told the view in words.
    """
    ring = orbit(views, elevation)
    cameras = ring[torch.arange(views).repeat(rows)]
    white = torch.ones(len(cameras), 3, device=prior.device)
    conds = Conditions(prior, prompt, "", ("pos", "null")).at(cameras.to(prior.device), white)
    shape = prior.encode(torch.zeros(1, 3, prior.size, prior.size, device=prior.device)).shape[1:]
    noise = torch.randn((rows, 1, *shape), generator=stream(seed, "imagine"))
    noise = noise.expand(rows, views, *shape).reshape(rows * views, *shape)
    generator = stream(seed, "imagine-steps")
    x = sample(prior, conds["pos"], conds["null"], noise, generator, steps, cfg, eta, progress)
    return prior.decode(x).unflatten(0, (rows, views)).cpu()
