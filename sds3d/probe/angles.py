"""Angles around an object, and what happens when its back is taken for its front."""

from __future__ import annotations

import torch
from torch import Tensor

FRONT, BACK = 45.0, 135.0  # degrees from the front, as in sds3d.camera.view_name


def angular_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """(B,) degrees between two azimuths, 0 to 180."""
    return ((predicted - truth + 180) % 360 - 180).abs()


def janus(predicted: Tensor, truth: Tensor) -> float | None:
    """Share of views of the back that are taken for the front; None without views of the back."""
    zero = torch.zeros(1)
    back = angular_error(truth, zero) > BACK
    return float((angular_error(predicted[back], zero) < FRONT).float().mean()) if back.any() else None
