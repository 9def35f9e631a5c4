"""Analytic views for noise fields and warps: a ball, a plane through the origin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.guidance import Context, View
from sds3d.guidance.surface import unproject

RADIUS = 0.7
DOUBLE = torch.float64


def rays(cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """Origins (B, 1, 1, 3) and directions (B, n, n, 3) of unit length along the view axis."""
    n = len(cameras)
    origins = cameras.positions.to(DOUBLE)[:, None, None]
    return origins, unproject(cameras, torch.ones(n, size, size, dtype=DOUBLE)) - origins


def ball(cameras: Cameras, size: int) -> View:
    """An opaque ball around the origin."""
    origin, way = rays(cameras, size)
    a, b, c = (way * way).sum(-1), (way * origin).sum(-1), (origin * origin).sum(-1) - RADIUS**2
    inside = b * b - a * c
    depth = torch.where(inside > 0, (-b - inside.clamp(min=0).sqrt()) / a, 0.0)
    return View(cameras, (inside > 0).to(DOUBLE)[:, None], depth[:, None])


def plane(cameras: Cameras, size: int, normal: tuple[float, float, float] = (0.2, 0.3, 1.0)) -> View:
    """A plane through the origin that fills every picture."""
    origin, way = rays(cameras, size)
    n = torch.tensor(normal, dtype=DOUBLE)
    depth = -(origin * n).sum(-1) / (way * n).sum(-1)
    return View(cameras, torch.ones_like(depth)[:, None], depth[:, None])


def seen(view: View, size: int, channels: int = 1, seed: int = 0, step: int = 0, prior: Any = None) -> Context:
    """A step's context at latent resolution `size`."""
    x = torch.zeros(len(view.cameras), channels, size, size, dtype=DOUBLE)
    return Context(x, {}, prior, torch.Generator().manual_seed(0), view=view, seed=seed, step=step)
