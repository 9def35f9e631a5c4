"""Noise that is attached to the object: views that see the same surface see the same noise there (OBJECTIVES 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.camera import FILL
from sds3d.errors import UserError
from sds3d.guidance.base import Context, Distillation
from sds3d.guidance.counter_noise import refreshing
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.surface import project, surface_depth, unproject
from sds3d.streams import stream

OPAQUE = 0.1  # coverage from which a pixel has a surface
BITS = 18  # of a voxel's index along each axis


@dataclass(frozen=True, kw_only=True)
class FieldNoise(Distillation):
    """An objective whose noise is the field, of fine voxels; what has no `Context.view` has one noise for the run."""

    texels: int = 2  # voxels of the field along a pixel that sees the object from the fitted distance

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.texels < 1:
            raise UserError("guidance texels must be at least 1")

    def field(self, c: Context, gamma: float = 0.0) -> Tensor:
        """(B, C, h, w) the field as the views see it, at `Context.step`."""
        if c.view is None:
            return run_fixed(c)
        if c.view.depth.device.type == "cpu":
            from sds3d.guidance.noise_field_numba import drawn

            background, edge = run_fixed(c, name="noise-background"), voxel_edge(c, self.texels)
            return drawn(c.view, background, self.texels, edge, OPAQUE, BITS, salt(c.seed), c.step, gamma).to(c.x)
        return gather(c, *visible(c, self.texels), gamma)


def voxel_edge(c: Context, texels: int) -> float:
    """Side of the noise's voxels, in the world's units: a texel of the prior's x holds so many along a side."""
    return 2 / (FILL * c.x.shape[-1] * texels)


def salt(seed: int) -> int:
    """What makes the voxels' numbers those of the run."""
    return int(torch.randint(1 << 62, (), generator=stream(seed, "noise-field")))


def visible(c: Context, texels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The voxels (V,) that each view sees, as (view, voxel key, pixel), one pixel for each: where its centre projects.

    A pixel sees a voxel where the surface behind one of its 2 `texels` x 2 `texels` points lies in it. No voxel belongs
    to two pixels of a view, so the field is white within a view.
    """
    assert c.view is not None
    size = c.x.shape[-1]
    edge = voxel_edge(c, texels)
    depth, coverage = (v.detach() for v in surface_depth(c.view, 2 * texels * size))
    seen = coverage > OPAQUE
    view, row, column = seen.nonzero().unbind(1)
    index = (unproject(c.view.cameras, depth)[seen] / edge).floor()
    where, _ = project(c.view.cameras[view], (index[:, None] + 0.5) * edge)
    x, y = ((where[:, 0] + 1) / 2 * size).floor().long().unbind(1)
    own = (y == row // (2 * texels)) & (x == column // (2 * texels))
    i, j, k = (index[own].long() + (1 << BITS - 1)).unbind(1)
    key = view[own] << 3 * BITS | i << 2 * BITS | j << BITS | k  # up to 2^9 views
    key, place = key.unique(return_inverse=True)
    pixels = torch.empty_like(key).index_copy_(0, place, (y * size + x)[own])
    return key >> 3 * BITS, key & ((1 << 3 * BITS) - 1), pixels


def gather(c: Context, views: Tensor, voxels: Tensor, pixels: Tensor, gamma: float) -> Tensor:
    """(B, C, h, w): per pixel the sum of its voxels' numbers by the root of their count, exactly N(0, 1).

    Pixels without a voxel take a noise of the run that is fixed in the image.
    """
    batch, channels, h, w = c.x.shape
    keys = voxels ^ salt(c.seed)
    at = views * h * w + pixels
    count = c.x.new_zeros(batch * h * w).index_add_(0, at, torch.ones_like(at, dtype=c.x.dtype))
    sums = [
        c.x.new_zeros(batch * h * w).index_add_(0, at, refreshing(keys, lane, c.step, gamma, c.x))
        for lane in range(channels)
    ]
    field = (torch.stack(sums) / count.clamp_min(1).sqrt()).view(channels, batch, h, w).movedim(0, 1)
    return torch.where(count.view(batch, 1, h, w) > 0, field, run_fixed(c, name="noise-background"))
