"""Stable Score Distillation (Tang et al.)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State
from sds3d.guidance.tensors import inner, norm, ratio, required_noise


@dataclass(frozen=True, kw_only=True)
class StableSSD(Distillation):
    """g = w h for t > M, else g = (|w h| / |e'|) e', with h = e_pos - e_null and e' = e_pos - (<e_pos, n> / |n|^2) n.

    Tang et al., "Stable Score Distillation for High-Quality 3D Generation" (arXiv 2312.09305): the mode-disengaging
    term h at high noise, the mode-seeking term at low noise with its noise taken out, scaled to the size of h. Products
    and norms are per view. Engine choice: the exact projection onto the complement of n; published code divides by |n|
    and sums over the batch. `threshold` is M / T, 100 of 1000 in that code.
    """

    threshold: float = 0.1  # share of T

    summary: ClassVar[str] = "classifier direction at high noise, noise-free score at low noise, equal norms"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 1:
            raise UserError("guidance threshold is a share of T: choose a number between 0 and 1")

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state, pos = states["t"], e[Call("pos")]
        noise, away = required_noise(state), pos - e[Call("null")]
        seeking = pos - ratio(inner(pos, noise), inner(noise, noise)) * noise
        high = (state.t > self.threshold * c.prior.schedule.steps).to(pos.device).view_as(state.alpha)
        return torch.where(high, away, ratio(norm(away), norm(seeking)) * seeking)
