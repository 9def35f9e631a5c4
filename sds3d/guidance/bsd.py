"""Balanced Score Distillation (PlacidDreamer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, Distillation, State
from sds3d.guidance.tensors import inner, norm, ratio, required_noise


def least_norm(c: Tensor, d: Tensor) -> Tensor:
    """The shortest vector on the segment from c to d, per view: its product with either is no less than its square."""
    share = ratio(inner(d - c, d), inner(d - c, d - c)).clamp(0, 1)
    return d + share * (c - d)


@dataclass(frozen=True, kw_only=True)
class BSD(Distillation):
    """g = w(t) [a c + (1 - a) d] of least norm, with c = s (e_pos - e_null) and d = e_null; w = alpha_t.

    Huang et al., "PlacidDreamer" (arXiv 2407.13976): classifier and denoising directions are two objectives, and their
    min-norm combination is a step that serves both (multiple-gradient descent). s = 15 and the weight are those of the
    published code; products are per view.
    """

    weight: str = "alpha"
    scale: float = 15.0  # of the classifier direction

    summary: ClassVar[str] = "classifier and denoising direction balanced by least norm (PlacidDreamer)"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        null = e[Call("null")]
        return least_norm(self.scale * (e[Call("pos")] - null), null)


@dataclass(frozen=True, kw_only=True)
class BSDAuto(BSD):
    """g = sigma_t |r| / 50 [a c + (1 - a) d] of least norm, with c = e_pos - e_null, d = 1.25 r and r = e_null - n.

    The automatic variant in the published code of PlacidDreamer (arXiv 2407.13976): the noise is subtracted, so that
    both directions are of one size, and the weight follows the residual.
    """

    weight: str = "uniform"
    scale: float = 1.0
    denoising: float = 1.25  # factor of r
    unit: float = 50.0  # size of r at which the weight is sigma_t

    summary: ClassVar[str] = "bsd with the noise subtracted and a weight that follows the residual"

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state, null = states["t"], e[Call("null")]
        residual = null - required_noise(state)
        mixed = least_norm(self.scale * (e[Call("pos")] - null), self.denoising * residual)
        return state.sigma * norm(residual) / self.unit * mixed
