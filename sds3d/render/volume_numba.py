"""CPU kernels of the volume renderer: marching, culling and compositing, a loop over rays each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.render.jit import in_parallel, kernel, ranges

PIECES = 16  # blocks of rays that threads share out


@kernel
def _march(first, last, origins, directions, cells, bound, near, far, step, offsets, fill, start, end, points):  # type: ignore[no-untyped-def]
    """Count the samples of rays first..last into offsets[r + 1], or write them from offsets[r] on."""
    n = cells.shape[0]
    one = near.dtype.type(1)
    half = step / near.dtype.type(2)
    scale = near.dtype.type(n) / (bound + bound)
    for r in range(first, last):
        ox, oy, oz = origins[r, 0], origins[r, 1], origins[r, 2]
        dx, dy, dz = directions[r, 0], directions[r, 1], directions[r, 2]
        k, found = one - one, 0
        middle = near[r] + half
        while middle < far[r]:
            x, y, z = ox + dx * middle, oy + dy * middle, oz + dz * middle
            i = min(max(int((x + bound) * scale), 0), n - 1)
            j = min(max(int((y + bound) * scale), 0), n - 1)
            m = min(max(int((z + bound) * scale), 0), n - 1)
            if cells[m, j, i]:
                if fill:
                    p = offsets[r] + found
                    start[p] = near[r] + k * step
                    end[p] = start[p] + step
                    points[p, 0], points[p, 1], points[p, 2] = x, y, z
                found += 1
            k += one
            middle = near[r] + k * step + half
        if not fill:
            offsets[r + 1] = found


@kernel
def _visible(first, last, sigma, start, end, offsets, thickest, kept):  # type: ignore[no-untyped-def]
    """kept[r + 1] = how many samples of ray r have less than `thickest` optical depth before them."""
    for r in range(first, last):
        depth = thickest - thickest
        count = 0
        for p in range(offsets[r], offsets[r + 1]):
            if depth > thickest:
                break
            count += 1
            depth += sigma[p] * (end[p] - start[p])
        kept[r + 1] = count


@kernel
def _compact(first, last, old, new, start, end, points, start_out, end_out, points_out):  # type: ignore[no-untyped-def]
    for r in range(first, last):
        shift = old[r] - new[r]
        for p in range(new[r], new[r + 1]):
            start_out[p] = start[p + shift]
            end_out[p] = end[p + shift]
            for c in range(3):
                points_out[p, c] = points[p + shift, c]


@kernel
def _composite(first, last, sigma, rgb, start, end, offsets, out):  # type: ignore[no-untyped-def]
    """out[r] = sum of w (r, g, b, 1, t)."""
    one = out.dtype.type(1)
    half = one / out.dtype.type(2)
    for r in range(first, last):
        light = one
        for p in range(offsets[r], offsets[r + 1]):
            passed = light * np.exp(-sigma[p] * (end[p] - start[p]))
            w = light - passed
            for c in range(3):
                out[r, c] += w * rgb[p, c]
            out[r, 3] += w
            out[r, 4] += w * (start[p] + end[p]) * half
            light = passed


@kernel
def _composite_backward(first, last, sigma, rgb, start, end, offsets, out, grad, grad_sigma, grad_rgb):  # type: ignore[no-untyped-def]
    """d/d sigma_i = delta_i (T_{i+1} v_i - sum_{j>i} w_j v_j), with v the sample's value under the gradient."""
    one = out.dtype.type(1)
    half = one / out.dtype.type(2)
    for r in range(first, last):
        rest = one - one  # sum of w v over the samples not yet passed
        for c in range(5):
            rest += grad[r, c] * out[r, c]
        light = one
        for p in range(offsets[r], offsets[r + 1]):
            delta = end[p] - start[p]
            passed = light * np.exp(-sigma[p] * delta)
            w = light - passed
            value = grad[r, 3] + grad[r, 4] * (start[p] + end[p]) * half
            for c in range(3):
                value += grad[r, c] * rgb[p, c]
                grad_rgb[p, c] = grad[r, c] * w
            rest -= w * value
            grad_sigma[p] = delta * (passed * value - rest)
            light = passed


def march(
    origins: Tensor, directions: Tensor, cells: Tensor, bound: float, near: Tensor, far: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Start, end, points and offsets of `volume.march`."""
    kind = near.numpy().dtype.type
    fixed: tuple[Any, ...] = (
        *(t.contiguous().numpy() for t in (origins, directions, cells)),
        kind(bound),
        near.contiguous().numpy(),
        far.contiguous().numpy(),
        kind(step),
    )
    pieces = ranges(len(near), PIECES)
    offsets = torch.zeros(len(near) + 1, dtype=torch.long)
    out = _empty(0, near.dtype)
    in_parallel(_march, [(*piece, *fixed, offsets.numpy(), False, *(t.numpy() for t in out)) for piece in pieces])
    offsets = offsets.cumsum(0)
    out = _empty(int(offsets[-1]), near.dtype)
    in_parallel(_march, [(*piece, *fixed, offsets.numpy(), True, *(t.numpy() for t in out)) for piece in pieces])
    return *out, offsets


def _empty(n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty(n, dtype=dtype),
        torch.empty(n, dtype=dtype),
        torch.empty(n, 3, dtype=dtype),
    )


def cull(
    start: Tensor, end: Tensor, points: Tensor, offsets: Tensor, sigma: Tensor, opaque: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Start, end, points and offsets of the samples that `volume.cull` keeps."""
    thickest = sigma.numpy().dtype.type(-np.log(opaque))
    kept = torch.zeros_like(offsets)
    pieces = ranges(len(offsets) - 1, PIECES)
    lengths = (sigma.contiguous().numpy(), start.numpy(), end.numpy(), offsets.numpy())
    in_parallel(_visible, [(*piece, *lengths, thickest, kept.numpy()) for piece in pieces])
    kept = kept.cumsum(0)
    if int(kept[-1]) == len(start):
        return start, end, points, offsets
    out = _empty(int(kept[-1]), start.dtype)
    arrays = [t.numpy() for t in (offsets, kept, start, end, points, *out)]
    in_parallel(_compact, [(*piece, *arrays) for piece in pieces])
    return *out, kept


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sigma: Tensor, rgb: Tensor, start: Tensor, end: Tensor, offsets: Tensor) -> Tensor:
        sigma, rgb = sigma.detach().contiguous(), rgb.detach().contiguous()
        out = sigma.new_zeros(len(offsets) - 1, 5)
        arrays = [t.numpy() for t in (sigma, rgb, start, end, offsets, out)]
        in_parallel(_composite, [(*piece, *arrays) for piece in ranges(len(out), PIECES)])
        ctx.save_for_backward(sigma, rgb, start, end, offsets, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        grad_sigma, grad_rgb = torch.empty_like(saved[0]), torch.empty_like(saved[1])
        arrays = [t.numpy() for t in (*saved, grads[0].contiguous(), grad_sigma, grad_rgb)]
        in_parallel(_composite_backward, [(*piece, *arrays) for piece in ranges(len(saved[-1]), PIECES)])
        return grad_sigma, grad_rgb, None, None, None


def composite(sigma: Tensor, rgb: Tensor, start: Tensor, end: Tensor, offsets: Tensor) -> Tensor:
    """(R, 5) sums of w (r, g, b, 1, t); differentiable once, in sigma (P,) and rgb (P, 3)."""
    return _Composite.apply(sigma, rgb, start, end, offsets)
