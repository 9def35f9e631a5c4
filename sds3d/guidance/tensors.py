"""Per-view algebra on predictions, shared by the objectives that are not plain sums."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.guidance.base import State


def denoised(state: State, e: Tensor) -> Tensor:
    """x0(e) = (x_t - sigma_t e) / alpha_t, the clean image (B, C, h, w) that the prediction e stands for."""
    return (state.z - state.sigma * e) / state.alpha


def inner(a: Tensor, b: Tensor) -> Tensor:
    """(B, 1, 1, 1) scalar product over each view's channels and pixels."""
    return (a * b).sum((1, 2, 3), keepdim=True)


def norm(a: Tensor) -> Tensor:
    """(B, 1, 1, 1) Euclidean norm of each view."""
    return inner(a, a).sqrt()


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator for a denominator >= 0, and 0 where that is 0."""
    return torch.where(denominator > 0, numerator / denominator, torch.zeros_like(numerator))


def required_noise(state: State) -> Tensor:
    """The noise that the state was built with."""
    assert state.noise is not None
    return state.noise
