"""Score Jacobian Chaining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls


@dataclass(frozen=True, kw_only=True)
class SJC(Distillation):
    """g = (x - D(z)) / lambda_t, z = x + lambda_t n, and D(z) = z - lambda_t e^s(z / sqrt(1 + lambda_t^2)).

    Wang et al., "Score Jacobian Chaining" (arXiv 2212.00774), eq. 14 and 15: the denoiser D in variance-exploding
    coordinates, averaged over perturbations of the render. z / sqrt(1 + lambda^2) is the state x_t, so that g is SDS
    with weight 1. Without `variance_reduced` z takes the place of x, which leaves the raw score e^s: the same mean
    with more noise. Published: scale 101 (100 in its own convention), t from 0.01 T to 0.97 T.
    """

    weight: str = "uniform"
    cfg: float = 101.0
    variance_reduced: bool = True  # subtract the noise that was added

    summary: ClassVar[str] = "chain rule through a perturb-and-average denoiser (SJC); SDS with weight 1"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return guided_calls(self.cfg)

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state = states["t"]
        level, z = state.sigma / state.alpha, state.z / state.alpha
        clean = z - level * guided(e, self.cfg)
        return ((c.x if self.variance_reduced else z) - clean) / level
