"""Gaussians on the CPU: projection, binning and rasterisation as numba kernels with hand-written gradients.

All views of a step go through together. Tiles are 8 x 8; the forward pass goes front to back and remembers the last
Gaussian of every pixel, the backward pass goes back to front from there. The mathematics is projection.py's and
splats_torch.py's. Results are the same bytes for any number of threads: pieces of work are fixed by the number of
views, gradients of a piece have their own buffer, buffers are summed in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sds3d.camera import Cameras
from sds3d.render.jit import in_parallel, ranges
from sds3d.render.projection import DILATION, Raster
from sds3d.render.splats_projection import GRADS, SCREEN, project, project_backward
from sds3d.render.splats_raster import TILE, count_hits, fill_hits, raster_backward, raster_forward

PIECES = 16  # pieces of work a step is cut into, whatever the number of threads


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
    """Raster of N Gaussians in B views, float32 on the CPU."""
    probe = torch.zeros(len(cameras), len(means), 2, requires_grad=torch.is_grad_enabled())
    radii = torch.zeros_like(probe, requires_grad=False)
    absolute = torch.zeros_like(radii) if absgrad else None
    view = cameras.world_to_camera().contiguous().numpy()
    seen_by = (view, cameras.focal(size).numpy(), size, np.float32(dilation))
    image = _Rasterize.apply(means, quats, scales, opacities, colors, probe, radii, absolute, seen_by)
    if absgrad:
        probe.absgrad = absolute  # type: ignore[attr-defined]
    return Raster(image[:, :4], image[:, 4:], probe, radii)


def _bin(screen: np.ndarray, keys: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Per view and tile the Gaussians that touch it, front to back: offsets (B, tiles + 1) into the list of indices."""
    views = ranges(len(screen), len(screen))
    offsets = np.zeros((len(screen), side * side + 1), np.int32)
    in_parallel(count_hits, [(screen, offsets, side, *v) for v in views])
    np.cumsum(offsets, 1, out=offsets)
    ends = np.cumsum(offsets[:, -1])
    offsets[1:] += ends[:-1, None].astype(np.int32)
    keys.sort(1)  # depth, then index: a stable order
    hits = np.empty(ends[-1], np.int32)
    in_parallel(fill_hits, [(screen, keys, offsets, hits, side, *v) for v in views])
    return offsets, hits


def _rows(views: int, side: int) -> list[tuple[int, int, int]]:
    """(view, first tile row, last tile row) of each piece of a step."""
    return [(b, *r) for b in range(views) for r in ranges(side, max(1, PIECES // views))]


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        probe: Tensor,
        radii: Tensor,
        absolute: Tensor | None,
        seen_by: tuple[np.ndarray, np.ndarray, int, np.float32],
    ) -> Tensor:
        """`seen_by`: the cameras' matrices and focal lengths, the size of the image, the dilation."""
        shape = [np.ascontiguousarray(p.detach().numpy()) for p in (means, quats, scales, opacities)]
        view, _, size, _ = seen_by
        views, n, side = len(view), len(means), -(-size // TILE)
        paint = colors.detach() if colors.dim() == 3 else colors.detach()[None]  # (1 or B, N, 3)
        opaque = opacities.detach()[None, :, None].expand(len(paint), n, 1)
        shade = np.ascontiguousarray(torch.cat([paint, opaque], -1).numpy())
        screen = np.empty((views, n, SCREEN), np.float32)
        keys = np.empty((views, n), np.int64)
        in_parallel(project, [(*shape, *seen_by, screen, keys, *r) for r in ranges(n, PIECES)])
        offsets, hits = _bin(screen, keys, side)
        image = np.empty((views, 5, size, size), np.float32)
        last = np.empty((views, side * side, TILE * TILE), np.float32)
        pieces = _rows(views, side)
        in_parallel(raster_forward, [(screen, shade, offsets, hits, image, last, side, *p) for p in pieces])
        probe.data.copy_(torch.from_numpy(screen[..., 0:2]))
        radii.copy_(torch.from_numpy(screen[..., 6:8]))
        ctx.state = (
            shape,
            shade,
            seen_by,
            screen,
            offsets,
            hits,
            image,
            last,
            pieces,
            absolute,
            colors.shape,
        )
        return torch.from_numpy(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        shape, shade, seen_by, screen, offsets, hits, image, last, pieces, absolute, painted = ctx.state
        views, n, side = len(seen_by[0]), shade.shape[1], -(-seen_by[2] // TILE)
        upstream = np.ascontiguousarray(grad.numpy())
        buffers = np.zeros((len(pieces), n, GRADS), np.float32)
        sums = None if absolute is None else np.zeros((len(pieces), n, 2), np.float32)
        raster = (screen, shade, offsets, hits, image, last, upstream, buffers, sums, side)
        in_parallel(raster_backward, [(*raster, i, *p) for i, p in enumerate(pieces)])
        out = [np.empty((n, k), np.float32) for k in (3, 4, 3, 1)] + [np.zeros((len(shade), n, 3), np.float32)]
        probe = np.empty((views, n, 2), np.float32)
        per_view = len(pieces) // views
        in_parallel(
            project_backward,
            [(*shape, *seen_by, buffers, per_view, *out, probe, *r) for r in ranges(n, PIECES)],
        )
        d_means, d_quats, d_scales, d_opacities, d_colors = (torch.from_numpy(g) for g in out)
        if absolute is not None and sums is not None:
            absolute.copy_(torch.from_numpy(sums.reshape(views, per_view, n, 2).sum(1)))
        d_colors = d_colors.view(painted)
        grads = (d_means, d_quats, d_scales, d_opacities[:, 0], d_colors, torch.from_numpy(probe))
        return *grads, None, None, None
