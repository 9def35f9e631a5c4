"""Gaussians in plain torch, every Gaussian against every pixel: the oracle of the other backends, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sds3d.camera import Cameras
from sds3d.render.projection import DILATION, MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE, Raster, project

PAIRS = 1 << 22  # pixel-Gaussian pairs held at once


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    cameras: Cameras,
    size: int,
    absgrad: bool = False,
    dilation: float = DILATION,
) -> Raster:
    """Raster of N Gaussians in B views; O(B N size^2) work, memory bounded by recomputing blocks of pixels."""
    means2d, conics, depths, radii = project(means, quats, scales, opacities, cameras, size, dilation)
    if means2d.requires_grad:
        means2d.retain_grad()
    absolute = torch.zeros_like(means2d) if absgrad else None
    if absgrad:
        means2d.absgrad = absolute  # type: ignore[attr-defined]
    paint = colors.expand(len(cameras), *colors.shape[-2:])  # (B, N, 3)
    views = [
        _view(
            means2d[b],
            conics[b],
            depths[b],
            radii[b, :, 0] > 0,
            opacities,
            paint[b],
            size,
            None if absolute is None else absolute[b],
        )
        for b in range(len(cameras))
    ]
    sums = torch.stack(views).mT.reshape(len(cameras), 5, size, size)
    return Raster(sums[:, :4], 1 - sums[:, 4:], means2d, radii)


def _view(
    means2d: Tensor,
    conics: Tensor,
    depths: Tensor,
    drawn: Tensor,
    opacities: Tensor,
    colors: Tensor,
    size: int,
    absolute: Tensor | None,
) -> Tensor:
    """(size * size, 5) of one view: rgb, depth and alpha sums."""
    order = torch.argsort(depths.detach(), stable=True)
    order = order[drawn[order]]
    values = torch.cat([colors, depths[:, None], torch.ones_like(depths[:, None])], -1)[order]  # (M, 5)
    centre = torch.arange(size, device=means2d.device) + 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2)  # (H W, 2)
    sink = None if absolute is None else (absolute, order)
    inputs = (means2d[order], conics[order], opacities[order], values, sink)
    block = max(1, PAIRS // max(1, len(order)))
    return torch.cat([checkpoint(_composite, p, *inputs, use_reentrant=False) for p in pixels.split(block)])


class _Listen(torch.autograd.Function):
    """The identity on (P, M, 2); backward adds sum_p |gradient| to rows `order` of `absolute` (N, 2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, absolute: Tensor, order: Tensor) -> Tensor:
        ctx.sink = absolute, order
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        absolute, order = ctx.sink
        absolute[order] += grads[0].abs().sum(0)
        return grads[0], None, None


def _composite(
    pixels: Tensor,
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    values: Tensor,
    sink: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """(P, 2) pixels, M Gaussians front to back -> (P, 5) weighted sums of `values`."""
    offset = pixels[:, None] - means2d  # (P, M, 2)
    dx, dy = (offset if sink is None else _Listen.apply(offset, *sink)).unbind(-1)  # (P, M)
    power = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    alpha = (opacities * torch.exp(-power)).clamp_max(MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    return torch.where(after > MIN_TRANSMITTANCE, alpha * before, torch.zeros_like(alpha)) @ values
