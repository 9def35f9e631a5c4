"""Deterministic and noisy paths between noise levels: DDIM in either direction, inversions, grids (OBJECTIVES 3.4).

A path is a list of `State`. Each state's `noise` is the prediction that it was built with, so that the evaluation at
the last but one level is the `noise` of the last state: interval objectives reuse it instead of asking again.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sds3d.guidance.base import Context, State, guided, guided_calls, iid_noise
from sds3d.guidance.evaluate import evaluate
from sds3d.schedule import Schedule
from sds3d.transfer import put_like


def ddim_step(
    z: Tensor,
    eps: Tensor,
    t: Tensor,
    s: Tensor | None,
    schedule: Schedule,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """From level t (B,) to level s (B,), cleaner or noisier, or to the clean image where s is None.

    Song et al. (arXiv 2010.02502) eq. 12 and 16: eta = 0 is the deterministic ODE step, eta = 1 (towards cleaner
    levels) DDPM's ancestral one. `generator` is asked only where eta > 0.
    """
    alpha, sigma = schedule.alpha_sigma(t, z)
    clean = (z - sigma * eps) / alpha
    if s is None:
        return clean
    alpha_s, sigma_s = schedule.alpha_sigma(s, z)
    if eta == 0:
        return alpha_s * clean + sigma_s * eps
    spread = eta * ddim_spread(t, s, schedule, z)
    noise = put_like(torch.randn(z.shape, generator=generator), z)
    return alpha_s * clean + (sigma_s**2 - spread**2).clamp(min=0).sqrt() * eps + spread * noise


def ddim_spread(t: Tensor, s: Tensor, schedule: Schedule, like: Tensor) -> Tensor:
    """Standard deviation (B, 1, 1, 1) of the noise in a step of eta = 1 between levels t and s (B,): with a the cleaner
    and b the noisier of the two, sigma_a / sigma_b sqrt(1 - alpha_b^2 / alpha_a^2)."""
    alpha_a, sigma_a = schedule.alpha_sigma(torch.minimum(t, s), like)
    alpha_b, sigma_b = schedule.alpha_sigma(torch.maximum(t, s), like)
    return sigma_a / sigma_b * (1 - (alpha_b / alpha_a) ** 2).clamp(min=0).sqrt()


def ve_step(z: Tensor, eps: Tensor, t: Tensor, s: Tensor, schedule: Schedule) -> Tensor:
    """The ODE step dy = e dlambda in variance-exploding coordinates y = z / alpha, lambda = sigma / alpha.

    Equal to `ddim_step` with eta = 0.
    """
    alpha_t, sigma_t = schedule.alpha_sigma(t, z)
    alpha_s, sigma_s = schedule.alpha_sigma(s, z)
    return alpha_s * (z / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * eps)


def state_at(z: Tensor, t: Tensor, schedule: Schedule, noise: Tensor | None = None) -> State:
    """z (B, C, h, w) as a state at level t (B,)."""
    return State(z, t, *schedule.alpha_sigma(t, z), noise)


def grid(start: int, end: Tensor, step: int) -> Tensor:
    """Levels (L, B) from `start` to each view's own `end` (B,), `step` apart, the last step shorter.

    A view that has arrived waits at its end while the others go on.
    """
    distance = (end - start).abs()
    hops = -(-int(distance.max()) // step)
    ticks = step * torch.arange(hops + 1, device=end.device)
    return start + (end - start).sign() * torch.minimum(ticks[:, None], distance)


def path(
    c: Context,
    z: Tensor,
    levels: Tensor,
    scale: float = 0.0,
    eta: float = 0.0,
    pos: str = "pos",
    null: str = "null",
) -> list[State]:
    """DDIM steps from z (B, C, h, w) at levels[0] through every row of `levels` (L, B): L states.

    The prior is asked at every level but the last, with guidance e_null + scale (e_pos - e_null), and only for the
    views that moved since the row before. `eta` adds that share of DDPM's noise on top of each step without taking
    anything off the deterministic part (SDI's perturbation; `ddim_step` has the variance-preserving one).
    """
    schedule = c.prior.schedule
    states = [state_at(z, levels[0], schedule)]
    moved = torch.ones_like(levels[0], dtype=torch.bool)
    eps = torch.zeros_like(z)
    for now, after in zip(levels[:-1], levels[1:], strict=True):
        eps = _ask(c, states[-1].z, now, moved, eps, scale, pos, null)
        z = ddim_step(states[-1].z, eps, now, after, schedule)
        if eta > 0:
            z = z + eta * ddim_spread(now, after, schedule, z) * iid_noise(c)
        states.append(state_at(z, after, schedule, eps))
        moved = after != now
    return states


def guided_eps(c: Context, z: Tensor, t: Tensor, scale: float, pos: str = "pos", null: str = "null") -> Tensor:
    """e_null + scale (e_pos - e_null) at z (B, C, h, w) and t (B,), counted in `c.nfe`, without an objective's options
    (rescale, guidance interval)."""
    states = {"t": state_at(z, t, c.prior.schedule)}
    return guided(evaluate(guided_calls(scale, pos, null), states, c), scale, pos, null)


def _ask(c: Context, z: Tensor, t: Tensor, moved: Tensor, last: Tensor, scale: float, pos: str, null: str) -> Tensor:
    """The guided prediction, new for the views that `moved` (B,) bool, the `last` one for the others."""
    if bool(moved.all()):
        return guided_eps(c, z, t, scale, pos, null)
    rows = moved.nonzero()[:, 0]
    conds = {call.cond: c.conds[call.cond].repeat(len(z)) for call in guided_calls(scale, pos, null)}
    some = replace(c, conds={name: cond.select(rows.to(cond.tokens.device)) for name, cond in conds.items()})
    return last.index_copy(0, rows, guided_eps(some, z[rows], t[rows], scale, pos, null).to(last))
