"""Stein Score Distillation (SteinDreamer)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls
from sds3d.guidance.statistics import running_mean
from sds3d.guidance.tensors import ratio, required_noise

BINS = 10  # of t, for the regression


def constant(z: Tensor, c: Context) -> Tensor:
    """phi = -1: the control variate is -n, that of SDS."""
    return z.new_full((len(z),), -1.0)


def smoothness(z: Tensor, c: Context) -> Tensor:
    """phi = -(mean squared difference of neighbouring pixels of x_t)."""
    return -(z.diff(dim=-1).square().mean((1, 2, 3)) + z.diff(dim=-2).square().mean((1, 2, 3))) / 2


def depth(z: Tensor, c: Context) -> Tensor:
    """phi = correlation - 1 between the rendered depth and x_t's brightness, blurred as shading is."""
    if c.view is None:
        raise UserError("stein_ssd's baseline 'depth' needs the depth of a scene: choose constant or smoothness")
    shading = F.avg_pool2d(z.mean(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    seen = F.interpolate(c.view.depth.detach().to(z), size=z.shape[-2:], mode="area")
    return F.cosine_similarity(_centred(shading), _centred(seen)) - 1


def _centred(image: Tensor) -> Tensor:
    flat = image.flatten(1)
    return flat - flat.mean(1, keepdim=True)


# phi(x_t, context) -> (B,), differentiable in x_t. Add one's own here, such as one around a depth network.
BASELINES: dict[str, Callable[[Tensor, Context], Tensor]] = {
    "constant": constant,
    "smoothness": smoothness,
    "depth": depth,
}


def control_variate(baseline: Callable[[Tensor, Context], Tensor], state: State, c: Context) -> Tensor:
    """C = n phi(x_t) - sigma_t grad phi(x_t) (B, C, h, w), whose mean over n is zero by Stein's identity."""
    with torch.enable_grad():
        z = state.z.detach().requires_grad_()
        phi = baseline(z, c)
        slope = torch.autograd.grad(phi.sum(), z)[0] if phi.requires_grad else torch.zeros_like(z)
    return required_noise(state) * phi.detach().view_as(state.alpha) - state.sigma * slope


@dataclass(frozen=True, kw_only=True)
class SteinSSD(Distillation):
    """g = w(t) [e^s(x_t) + mu C], C = n phi(x_t) - sigma_t grad phi(x_t), with a baseline phi of one's choice.

    Wang et al., "SteinDreamer" (arXiv 2401.00604): by Stein's identity E[C] = 0 for any phi, so that mu may minimise
    the variance. The gradient is with respect to x_t, and its sign is the one that this identity demands for x_t =
    alpha x + sigma n. phi = -1 with mu = 1 is SDS, mu = 0 the raw score. mu is fitted per channel and tenth of T by
    running least squares, mu = -E[e C] / E[C^2]. Engine choice: phi, this fit and its memory; the paper's phi is the
    error of a monocular depth network, for which `stein_ssd.BASELINES` has room.
    """

    cfg: float = 7.5
    baseline: str = "smoothness"  # a name in BASELINES
    mu: float | None = None  # a fixed factor instead of the fitted one
    memory: float = 0.95  # what a step keeps of the fit

    summary: ClassVar[str] = "a fitted control variate from Stein's identity in the place of the noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in BASELINES:
            raise unknown("baseline", self.baseline, BASELINES)
        if not 0 <= self.memory < 1:
            raise UserError("guidance memory is a share: choose a number from 0 up to but not including 1")

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.cfg)

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        score = guided(e, self.cfg)
        variate = control_variate(BASELINES[self.baseline], states["t"], c)
        return score + (self.fit(score, variate, states["t"], c) if self.mu is None else self.mu) * variate

    def fit(self, score: Tensor, variate: Tensor, state: State, c: Context) -> Tensor:
        """mu (B, C, 1, 1): the least-squares factor of this step and the ones before it."""
        rows = (state.t * BINS // c.prior.schedule.steps).to(score.device)
        moments = torch.stack([score * variate, variate.square()]).sum((-2, -1))  # (2, B, C)
        by_bin = moments.new_zeros(2, BINS, moments.shape[-1]).index_add(1, rows, moments)
        products, squares = running_mean(c.cache, "stein_ssd", by_bin, self.memory)[:, rows]
        return -ratio(products, squares)[..., None, None]
