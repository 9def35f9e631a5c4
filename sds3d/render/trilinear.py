"""Trilinear reads from a dense grid of features, and the doubling that makes nested grids one grid.

A grid (n + 1, n + 1, n + 1, C), indexed [z, y, x, channel], holds the values at the corners of n^3 cells over
[-bound, bound]^3. Reading is differentiable in the grid, not in the points.
"""

from __future__ import annotations

from typing import Any

import numba
import torch
from torch import Tensor

from sds3d.render.jit import THREADS, in_parallel, kernel, ranges


@kernel
def _locate(u, bound, scale, n):  # type: ignore[no-untyped-def]
    """Cell and place in it, 0 to 1, of a coordinate; points outside are moved to the border."""
    f = (min(max(u, -bound), bound) + bound) * scale
    i = min(int(f), n - 1)
    return i, f - numba.float32(i)


@kernel
def _read(first, last, grid, points, bound, out):  # type: ignore[no-untyped-def]
    n = grid.shape[0] - 1
    scale = numba.float32(n) / (bound + bound)
    for p in range(first, last):
        i, u = _locate(points[p, 0], bound, scale, n)
        j, v = _locate(points[p, 1], bound, scale, n)
        k, w = _locate(points[p, 2], bound, scale, n)
        for c in range(grid.shape[3]):
            a = grid[k, j, i, c] + (grid[k, j, i + 1, c] - grid[k, j, i, c]) * u
            b = grid[k, j + 1, i, c] + (grid[k, j + 1, i + 1, c] - grid[k, j + 1, i, c]) * u
            d = grid[k + 1, j, i, c] + (grid[k + 1, j, i + 1, c] - grid[k + 1, j, i, c]) * u
            e = grid[k + 1, j + 1, i, c] + (grid[k + 1, j + 1, i + 1, c] - grid[k + 1, j + 1, i, c]) * u
            a += (b - a) * v
            d += (e - d) * v
            out[p, c] = a + (d - a) * w


@kernel
def _write(low, high, points, bound, grad, grad_grid):  # type: ignore[no-untyped-def]
    """Adjoint of `_read` for the grid's layers low <= z < high: each is written by one thread, in the points' order."""
    n = grad_grid.shape[0] - 1
    one = numba.float32(1)
    scale = numba.float32(n) / (bound + bound)
    for p in range(points.shape[0]):
        k, w = _locate(points[p, 2], bound, scale, n)
        if k + 1 < low or k >= high:
            continue
        i, u = _locate(points[p, 0], bound, scale, n)
        j, v = _locate(points[p, 1], bound, scale, n)
        for dz in range(2):
            z = k + dz
            if z < low or z >= high:
                continue
            wz = w if dz else one - w
            for dy in range(2):
                wy = wz * (v if dy else one - v)
                for c in range(grad.shape[1]):
                    g = grad[p, c] * wy
                    grad_grid[z, j + dy, i, c] += g * (one - u)
                    grad_grid[z, j + dy, i + 1, c] += g * u


class _Trilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: Tensor, points: Tensor, bound: float) -> Tensor:
        grid, points = grid.detach().contiguous(), points.detach().contiguous()
        out = grid.new_empty(len(points), grid.shape[-1])
        arrays = (grid.numpy(), points.numpy(), numba.float32(bound), out.numpy())
        in_parallel(_read, [(*piece, *arrays) for piece in ranges(len(points), 16)])
        ctx.save_for_backward(points)
        ctx.shape, ctx.bound = grid.shape, bound
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (points,) = ctx.saved_tensors
        out = torch.zeros(ctx.shape)
        arrays = (points.numpy(), numba.float32(ctx.bound), grads[0].contiguous().numpy(), out.numpy())
        layers = ranges(len(out), 2 * THREADS)
        in_parallel(_write, [(*piece, *arrays) for piece in layers])
        return out, None, None


def trilinear(grid: Tensor, points: Tensor, bound: float) -> Tensor:
    """(P, C) values of `grid` (n+1, n+1, n+1, C) at points (P, 3); float32 on the CPU takes the numba kernels."""
    if grid.device.type == "cpu" and grid.dtype == torch.float32:
        return _Trilinear.apply(grid, points, bound)
    place = (points / bound)[None, None, None]
    read = torch.nn.functional.grid_sample(
        grid.permute(3, 0, 1, 2)[None], place, align_corners=True, padding_mode="border"
    )
    return read[0, :, 0, 0].T


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: Tensor) -> Tensor:
        for axis in (2, 1, 0):
            grid = _double(grid, axis)
        return grid

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0]
        for axis in (0, 1, 2):
            grad = _double_adjoint(grad, axis)
        return grad


def _double(grid: Tensor, axis: int) -> Tensor:
    shape = list(grid.shape)
    shape[axis] = 2 * shape[axis] - 1
    out = grid.new_empty(shape)
    fine, coarse = out.transpose(0, axis), grid.transpose(0, axis)
    fine[0::2] = coarse
    torch.add(coarse[:-1], coarse[1:], out=fine[1::2])
    fine[1::2].mul_(0.5)
    return out


def _double_adjoint(grad: Tensor, axis: int) -> Tensor:
    fine = grad.transpose(0, axis)
    coarse = fine[0::2].clone()
    coarse[:-1].add_(fine[1::2], alpha=0.5)
    coarse[1:].add_(fine[1::2], alpha=0.5)
    return coarse.transpose(0, axis).contiguous()


def double(grid: Tensor) -> Tensor:
    """The same trilinear function on twice as many cells: (n+1)^3 corners -> (2n+1)^3, exactly. Differentiable."""
    return _Double.apply(grid)
