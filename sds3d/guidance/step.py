"""One distillation step: from an objective and an encoded render to a gradient on it, with its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sds3d.guidance.base import Call, Context, Objective, Predictions, State, negative_calls
from sds3d.guidance.evaluate import evaluate
from sds3d.priors.codec import resize
from sds3d.schedule import WEIGHTS
from sds3d.transfer import Numbers


@dataclass(frozen=True)
class Stats:
    """Per-step diagnostics, as 0-d tensors on the device: norms are per view, averaged over the views."""

    delta: Tensor  # ||e_pos - e_null||
    residual: Tensor  # ||e_null - n||
    correlation: Tensor  # <e, n> / ||n||^2 of e_null (e_pos where there is no e_null)
    gradient: Tensor  # ||g||
    cosine: Tensor  # between this step's g and the last one's, over the whole batch
    nonfinite: Tensor  # elements of g that were NaN or infinite, now 0
    nfe: int  # prior predictions per view
    critic_nfe: int  # critic predictions per view

    def tensors(self) -> dict[str, Tensor]:
        """What is on the device, by name."""
        return {k: v for k, v in self._values().items() if isinstance(v, Tensor)}

    def plain(self, numbers: Mapping[str, float]) -> dict[str, float | None]:
        """Plain numbers, given those of `tensors`; what this objective does not define is None."""
        values = {k: numbers[k] if isinstance(v, Tensor) else v for k, v in self._values().items()}
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers (one device synchronisation)."""
        return self.plain(Numbers(self.tensors()).read())

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def distill_gradient(objective: Objective, c: Context, t: Tensor) -> tuple[Tensor, Stats]:
    """g (B, C, h, w), the gradient of the objective with respect to `c.x`, at integer timesteps t (B,).

    In this order: combine, weight, the objective's own post-op (masks, balance, rescale), finite check, target clamp,
    per-pixel clip. The check counts non-finite elements for the statistics and sets them to zero; it comes before the
    clamps because those would turn an infinity into a number, or spread it over a pixel's channels.
    """
    c.nfe.clear()
    with torch.no_grad():
        states = objective.states(c, t)
        calls = objective.calls(c, states)
        answers = evaluate([*calls, *negative_calls(calls, objective)], states, c)
        e = Predictions(answers, states, c, objective)
        state = states["t"]
        w = WEIGHTS[objective.weight](state.alpha, state.sigma)
        raw = w * objective.combine(e, states, c)
        g = objective.post(raw, states, c)
        finite = raw.isfinite() & g.isfinite()
        g = torch.where(finite, g, torch.zeros_like(g))
        if objective.clamp > 0:
            g = clamp_target(g, c.x, w, state.sigma / state.alpha, objective.clamp)
        if objective.clip > 0:
            g = clip_pixels(g, objective.clip)
        return g, _statistics(g, e, states, finite, c)


def surrogate(x: Tensor, g: Tensor) -> Tensor:
    """Scalar 0.5 ||x - sg(x - g)||^2 / B, whose gradient with respect to x is g / B (DreamFusion's stop-gradient
    trick): the loss to back-propagate through the encoder and the renderer."""
    return 0.5 * (x - (x - g).detach()).square().sum() / len(x)


def implied_target(g: Tensor, x: Tensor, w: Tensor, ratio: Tensor) -> Tensor:
    """x - (lambda_t / w) g: the clean image this gradient pulls x to. For SDS it is the prior's x0 prediction.

    w and ratio = sigma_t / alpha_t broadcast against x (B, C, h, w).
    """
    return x - ratio / w * g


def image_gradient(objective: Objective, c: Context, g: Tensor, t: Tensor, rgb: Tensor) -> Tensor:
    """HiFA's image-space twin of g: w (alpha / sigma) (I - Dec(x0)) (B, 3, H, W) on the rendered sRGB image I.

    Zhu et al., "HiFA" (arXiv 2305.18766), without the objective's `image_weight`. x0 is the implied target of g,
    so that every objective has one; for SDS it is the prior's prediction. Costs one decoding.
    """
    with torch.no_grad():
        alpha, sigma = c.prior.schedule.alpha_sigma(t, c.x)
        w = WEIGHTS[objective.weight](alpha, sigma)
        target = c.prior.decode(implied_target(g, c.x, w, sigma / alpha))
        return w * alpha / sigma * (rgb - resize(target, rgb.shape[-1]).to(rgb))


def clamp_target(g: Tensor, x: Tensor, w: Tensor, ratio: Tensor, limit: float) -> Tensor:
    """The gradient whose implied target is that of g, clamped to [-limit, limit]."""
    return w / ratio * (x - implied_target(g, x, w, ratio).clamp(-limit, limit))


def clip_pixels(g: Tensor, limit: float) -> Tensor:
    """g scaled per pixel so that no channel exceeds `limit` (PGC-3D): the direction across channels is kept."""
    peak = g.abs().amax(1, keepdim=True)  # (B, 1, h, w)
    return g * (limit / peak.clamp(min=torch.finfo(g.dtype).tiny)).clamp(max=1.0)


def _statistics(g: Tensor, e: Mapping[Call, Tensor], states: Mapping[str, State], finite: Tensor, c: Context) -> Stats:
    nan = g.new_full((), float("nan"))
    pos, null, noise = e.get(Call("pos")), e.get(Call("null")), states["t"].noise
    base = null if null is not None else pos
    last = c.cache.get("gradient")
    c.cache["gradient"] = g
    return Stats(
        delta=nan if pos is None or null is None else _norm(pos - null),
        residual=nan if noise is None or null is None else _norm(null - noise),
        correlation=nan if noise is None or base is None else _correlation(base, noise),
        gradient=_norm(g),
        cosine=nan if last is None or last.shape != g.shape else _cosine(g, last),
        nonfinite=(~finite).sum(),
        nfe=c.nfe["prior"],
        critic_nfe=c.nfe["critic"],
    )


def _norm(v: Tensor) -> Tensor:
    return v.flatten(1).norm(dim=1).mean()


def _correlation(e: Tensor, noise: Tensor) -> Tensor:
    return ((e * noise).flatten(1).sum(1) / noise.flatten(1).square().sum(1)).mean()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
