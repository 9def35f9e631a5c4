"""Which words go with a view: DreamFusion's four, or their states blended as the camera moves between them.

Poole et al. 2022, section 3.2, for the words; Armandpour et al. 2023 (Perp-Neg), section 4.2, for the blend by azimuth.
The blend into the view from above is ours: centred on the elevation where the word begins.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.priors.base import Cond
from sds3d.prompts import VIEWS

RISE = (45.0, 75.0)  # degrees of elevation over which "overhead" takes the place of the other words


def nearest(cameras: Cameras) -> Tensor:
    """(B,) rows of prompts.VIEWS: the word for each view."""
    off = _from_the_front(cameras)
    around = (off >= 45).long() + (off > 135)
    return around.masked_fill(cameras.elevation > 60, len(VIEWS) - 1)


def shares(cameras: Cameras) -> Tensor:
    """(B, 4) of prompts.VIEWS, adding up to 1: all front at azimuth 0, side at 90, back at 180, linear between."""
    turn = _from_the_front(cameras) / 90
    round_about = torch.stack([(1 - turn).clamp(min=0), 1 - (turn - 1).abs(), (turn - 1).clamp(min=0)], -1)
    above = ((cameras.elevation - RISE[0]) / (RISE[1] - RISE[0])).clamp(0, 1)[:, None]
    return torch.cat([round_about * (1 - above), above], -1)


def _from_the_front(cameras: Cameras) -> Tensor:
    """(B,) degrees of azimuth from 0 to 180."""
    return 180 - (cameras.azimuth % 360 - 180).abs()


def blend(cond: Cond, weights: Tensor) -> Cond:
    """Mixtures of the V conditions of `cond` by `weights` (B, V); a token is real if it is in any of those mixed."""
    weights = weights.to(cond.tokens.device)
    mixed = cond.select(weights.argmax(-1))
    mask = ((weights > 0).float() @ cond.mask.float()) > 0
    pooled = None if cond.pooled is None else _mix(cond.pooled, weights)
    return replace(mixed, tokens=_mix(cond.tokens, weights), mask=mask, pooled=pooled)


def _mix(values: Tensor, weights: Tensor) -> Tensor:
    """(V, ...) and (B, V) -> (B, ...)"""
    return torch.einsum("bv,v...->b...", weights, values.to(weights.dtype)).to(values.dtype)
