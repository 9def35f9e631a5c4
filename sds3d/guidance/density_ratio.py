"""log q_t(x_t) / p_t(x_t) between renders and the prior, by a linear discriminant on a coarse summary of the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.guidance.base import State
from sds3d.guidance.statistics import running_mean

GRID = 2  # cells a side
FLOOR = 1e-4  # variance of a cell below which two images count as the same


def summary(x: Tensor) -> Tensor:
    """(B, F) means of the channels over GRID x GRID cells of x (B, C, h, w)."""
    return F.adaptive_avg_pool2d(x, _grid(x)).flatten(1)


def log_ratio(state: State, render: Tensor, target: Tensor, covariance: Tensor) -> Tensor:
    """(B,) log q_t / p_t of the summary of x_t when those of clean renders and targets are two Gaussians.

    render, target (F,) are the means, covariance (F, F) is shared. At level t both have covariance alpha^2 S + sigma^2
    I / (pixels a cell), and the ratio is Fisher's discriminant alpha (m_q - m_p)' S_t^-1 (f - alpha (m_q + m_p) / 2).
    """
    alpha, sigma = state.alpha.flatten(1), state.sigma.flatten(1)  # (B, 1)
    rows, columns = _grid(state.z)
    cell = state.z[0, 0].numel() / (rows * columns)
    unit = torch.eye(len(render), dtype=render.dtype, device=render.device)
    spread = alpha[..., None] ** 2 * (covariance + FLOOR * unit) + sigma[..., None] ** 2 / cell * unit  # (B, F, F)
    gap = alpha * (render - target)  # (B, F)
    offset = summary(state.z) - alpha * (render + target) / 2
    return (gap * torch.linalg.solve(spread, offset)).sum(1)


def fit(cache: dict[str, Any], x: Tensor, target: Tensor, memory: float) -> tuple[Tensor, Tensor, Tensor]:
    """Running means of the summaries of renders x and targets (B, C, h, w), and their pooled covariance."""
    seen, wanted = summary(x), summary(target)
    means = running_mean(cache, "density_ratio.means", torch.stack([seen.mean(0), wanted.mean(0)]), memory)
    gaps = torch.cat([seen - means[0], wanted - means[1]])
    return means[0], means[1], running_mean(cache, "density_ratio.covariance", gaps.T @ gaps / len(gaps), memory)


def _grid(x: Tensor) -> tuple[int, int]:
    return min(GRID, x.shape[2]), min(GRID, x.shape[3])
