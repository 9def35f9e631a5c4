"""What the prior itself draws: DDIM and ancestral sampling with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sds3d.camera import orbit
from sds3d.engine.conditions import Conditions
from sds3d.errors import UserError
from sds3d.guidance.paths import ddim_step
from sds3d.priors.base import Cond, Prior, views_per_object
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
    lacking: Sequence[tuple[Cond, float]] = (),
) -> Tensor:
    """x (B, C, h, w) drawn from `noise` under `cond`, all conditions of length B; levels evenly spaced from T - 1.

    e = e_null + cfg (e_cond - e_null) + sum_i w_i (e_cond - e_i), `lacking` being pairs of a `cond` without one of its
    parts and w_i: each part of a condition with a scale of its own, as in Brooks et al. 2023 (arXiv 2211.09800, eq. 3).
    """
    levels = torch.linspace(prior.schedule.steps - 1, 0, steps + 1).long()[:-1]
    z = noise.to(prior.device)
    asked, scales = [cond, null, *(part for part, _ in lacking)], [scale for _, scale in lacking]
    every = Cond.cat(asked)
    for i, level in enumerate(levels):
        t = level.expand(len(z)).to(prior.device)
        e_cond, e_null, *e_lacking = (
            prior.predict(torch.cat([z] * len(asked)), torch.cat([t] * len(asked)), every).to(z).chunk(len(asked))
        )
        e = e_null + cfg * (e_cond - e_null)
        e = e + sum(scale * (e_cond - other) for scale, other in zip(scales, e_lacking, strict=True))
        s = levels[i + 1].expand(len(z)).to(prior.device) if i + 1 < len(levels) else None
        z = ddim_step(z, e, t, s, prior.schedule, eta, generator)
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
    camera_cfg: float = 0.0,
    start: float = 0.0,
    reference: Tensor | None = None,
    image_scale: float = 1.0,
) -> Tensor:
    """(rows, views, 3, H, W) sRGB: each row shares one noise across the views around the object, from azimuth `start`.

    Priors that take a camera get it, with guidance of its own by `camera_cfg`; the others are told the view in words.
    A prior that looks at several views of an object together gets them so, with a noise of its own for each.

    `reference` (1, 3, S, S) sRGB is a picture for the prior to look at, `image_scale` how much: as `ISD.scale`, but the
    same for every view, e(prompt, picture) becomes e(prompt) + image_scale (e(prompt, picture) - e(prompt)).
    Raises UserError where guidance by the camera or a picture is asked of a prior that takes none, and for views that
    make no objects.
    """
    together = views_per_object(prior)
    if views % together:
        raise UserError(
            f"prior {prior.name!r} draws {together} views of an object together: give a multiple as --views"
        )
    if camera_cfg and "camera" not in prior.capabilities:
        raise UserError(f"prior {prior.name!r} takes no camera: leave the camera's guidance out")
    order = torch.arange(views).view(together, -1).T.flatten()  # `together` in a row lie evenly around the object
    ring = orbit(views, elevation, start=start)[order]
    cameras = ring[torch.arange(views).repeat(rows)]
    white = torch.ones(len(cameras), 3, device=prior.device)
    names = ("pos", "null") if reference is None else ("image", "nullimage", "noimage")
    conds = Conditions(prior, prompt, "", names, reference=reference).at(cameras.to(prior.device), white)
    cond, null = (conds[name] for name in names[:2])
    scales = [(cond.with_camera(None), camera_cfg)]
    if reference is not None:
        scales.append((conds["noimage"], cfg * (image_scale - 1)))
    lacking = [(part, scale) for part, scale in scales if scale]
    shape = prior.encode(torch.zeros(1, 3, prior.size, prior.size, device=prior.device)).shape[1:]
    noise = torch.randn((rows, 1 if together == 1 else views, *shape), generator=stream(seed, "imagine"))
    noise = noise.expand(rows, views, *shape).reshape(rows * views, *shape)
    generator = stream(seed, "imagine-steps")
    x = sample(prior, cond, null, noise, generator, steps, cfg, eta, progress, lacking)
    return prior.decode(x).unflatten(0, (rows, views))[:, order.argsort().to(x.device)].cpu()
