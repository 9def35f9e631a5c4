"""The batched evaluator: all predictions an objective wants, in one forward pass per network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sds3d.guidance.base import Call, Context, State
from sds3d.priors.base import Cond


def evaluate(calls: Iterable[Call], states: Mapping[str, State], c: Context) -> dict[Call, Tensor]:
    """eps (B, C, h, w) for each distinct call; adds the number of calls to `c.nfe` by network.

    States and conditions of one network are concatenated along the batch. Calls whose tensors cannot share a batch
    (other image size, token length, or with and without image tokens) go in a forward of their own.
    """
    batches: dict[object, list[Call]] = {}
    for call in dict.fromkeys(calls):
        batches.setdefault(_batch_key(call, states, c), []).append(call)
    result: dict[Call, Tensor] = {}
    for batch in batches.values():
        result |= _forward(batch, states, c)
    return result


def predict(c: Context, name: str, z: Tensor, t: Tensor) -> Tensor:
    """eps (B, C, h, w) of the condition `name` at z and t (B,), counted in `c.nfe`: for objectives whose states need
    the network themselves (inversions, ODE paths)."""
    alpha, sigma = c.prior.schedule.alpha_sigma(t, z)
    call = Call(name)
    return evaluate([call], {"t": State(z, t, alpha, sigma, None)}, c)[call]


def _forward(calls: list[Call], states: Mapping[str, State], c: Context) -> dict[Call, Tensor]:
    network = c.prior if calls[0].network == "prior" else c.critic
    if network is None:
        raise ValueError(f"the objective calls {calls[0].cond!r}, but Context.critic is None")
    z = torch.cat([states[call.at].z for call in calls])
    t = torch.cat([states[call.at].t for call in calls])
    eps = network.predict(z, t, Cond.cat([_cond(call, states, c) for call in calls]))
    c.nfe[calls[0].network] += len(calls)
    return dict(zip(calls, eps.chunk(len(calls)), strict=True))


def _cond(call: Call, states: Mapping[str, State], c: Context) -> Cond:
    return c.conds[call.cond].repeat(len(states[call.at].z))


def _batch_key(call: Call, states: Mapping[str, State], c: Context) -> tuple[object, ...]:
    cond = c.conds[call.cond]
    given = (None if v is None else v.shape[1:] for v in (cond.image, cond.pooled, cond.control))
    return call.network, states[call.at].z.shape[1:], cond.tokens.shape[1:], *given
