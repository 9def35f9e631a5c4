"""Perp-Neg: push guidance away from the views that a camera does not see, only across the prompt's own direction.

Armandpour et al., "Re-imagine the Negative Prompt Algorithm" (arXiv 2304.04968), eq. 6 and section 4.2; the decays of
the weights are those of threestudio.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sds3d.camera import Cameras

NEGATIVES = ("view:front", "view:side")  # conditions: the prompt seen from there
OVERHEAD = 60.0  # degrees of elevation above which no view is wrong


def view_weights(cameras: Cameras) -> dict[str, Tensor]:
    """omega <= 0 by condition, (B, 1, 1, 1): -(a exp(-r / 2) + c), r being how far the camera is between two views.

    From front (r = 1) to side (r = 0) both fade out where they are reached; from side (r = 1) to back (r = 0) the side
    view is pushed away more and more, and the front view all the while. Front at the front and side at the side are 0
    to 1e-3.
    """
    off = 180 - (cameras.azimuth.double() % 360 - 180).abs()  # (B,) degrees from the front
    ahead, r = off < 90, 1 - off.remainder(90.0) / 90
    r = torch.where(off < 180, r, torch.zeros_like(r))
    front = torch.where(ahead, _decay(4, -2.426, r), _decay(1, 0.967, r))
    side = torch.where(ahead, _decay(4, -2.426, 1 - r), _decay(1, -0.606, r))
    seen = cameras.elevation.double() <= OVERHEAD
    return {name: -(seen * w).view(-1, 1, 1, 1) for name, w in zip(NEGATIVES, (front, side), strict=True)}


def _decay(a: float, c: float, r: Tensor) -> Tensor:
    return a * torch.exp(-0.5 * r) + c


def repelled(delta: Tensor, negatives: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """delta + sum_i omega_i (delta_i - <delta_i, delta> delta / ||delta||^2), all (B, C, h, w).

    delta = e_pos - e_null and delta_i = e_i - e_null; the scalar products are per view. The projection on delta stays
    what it was.
    """
    square = delta.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
    total = delta
    for name, negative in negatives.items():
        along = (negative * delta).sum((1, 2, 3), keepdim=True) / square
        total = total + weights[name].to(delta) * (negative - along * delta)
    return total
