"""Noise sources beside `iid_noise` (OBJECTIVES 3.4): kept for a run, shared by two assets, refined by the prior."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.guidance.base import Context, State, q_sample
from sds3d.guidance.evaluate import predict
from sds3d.streams import stream
from sds3d.transfer import put_like


def run_fixed(c: Context, bins: int = 0, name: str = "run-noise") -> Tensor:
    """(B, C, h, w) N(0, I) drawn once per run: the same for all views, or one draw for each of `bins` azimuth bins.

    Nothing is stored: the draw is that of the run's seed and `name`. Errors: ValueError for bins without a view.
    """
    shape = c.x.shape[1:]
    if not bins:
        return put_like(torch.randn(shape, generator=stream(c.seed, name)), c.x).expand(c.x.shape)
    if c.view is None:
        raise ValueError("noise by view bin needs Context.view")
    index = (c.view.cameras.azimuth.cpu().double() % 360 / 360 * bins).long() % bins
    return put_like(torch.stack([torch.randn(shape, generator=stream(c.seed, name, int(i))) for i in index]), c.x)


def shared(c: Context, t: Tensor, noise: Tensor) -> dict[str, State]:
    """States "t" of the render and "src" of the source asset with one noise (B, C, h, w): editing objectives cancel it.

    Errors: ValueError when the context has no source.
    """
    if c.x_src is None:
        raise ValueError("this objective edits a source asset, but Context.x_src is None")
    return {"t": q_sample(c.x, t, noise, c.prior.schedule), "src": q_sample(c.x_src, t, noise, c.prior.schedule)}


def refined(c: Context, t: Tensor, noise: Tensor, rounds: int, cond: str) -> Tensor:
    """n <- e_cond(alpha x + sigma n), `rounds` times from `noise`: the noise that the prior finds in the render.

    RFDS-Rev (arXiv 2406.03293) writes it as n + (1 - s) (v + x - n) with the velocity v at flow time s, which is e.
    One prediction per round, counted. For N(mu, c^2 I) it converges to (sigma / alpha) (x - mu) / c^2.
    """
    for _ in range(rounds):
        noise = predict(c, cond, q_sample(c.x, t, noise, c.prior.schedule).z, t)
    return noise
