"""When Gaussians become two and when they go: densification and pruning with gsplat's operations.

The default strategy of Kerbl et al. 2023 (`adaptive`) grows what exceeds a fixed screen gradient. In distillation the
gradient's scale depends on the prior, the objective and its weight, so the strategy "share" (`refine`) lets those with
the largest gradients grow, a share of them at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from sds3d.scenes.splats_config import SplatsConfig

LEAST = 64  # pruning never leaves fewer Gaussians than this
LIMIT = 1.2  # means farther out than this are pruned
CELL = 0.08  # edge of the cells in which neighbouring Gaussians count as one part
Optimizers = dict[str, torch.optim.Optimizer]


@dataclass
class Statistics:
    """Screen gradients since the last refinement, in the form gsplat's operations resize."""

    rows: dict[str, Tensor]  # "grad2d" (N,) summed norms, "count" (N,) views they were summed over

    @classmethod
    def empty(cls, n: int, device: torch.device) -> Statistics:
        return cls({name: torch.zeros(n, device=device) for name in ("grad2d", "count")})

    def add(self, gradient: Tensor, radii: Tensor, unit: float = 1.0) -> None:
        """Gradients with respect to means2d (B, N, 2) in pixels; radii (B, N, 2), 0 where not drawn. `unit` is how many
        pixels are one in what is counted."""
        pull = torch.linalg.vector_norm(gradient, dim=-1)  # not finite where the step will not count
        drawn = (radii > 0).all(-1) & pull.isfinite()
        self.rows["grad2d"] += pull.where(drawn, 0).sum(0) * unit
        self.rows["count"] += drawn.sum(0)

    def mean(self) -> Tensor:
        return self.rows["grad2d"] / self.rows["count"].clamp_min(1)

    def reset(self) -> None:
        for row in self.rows.values():
            row.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.rows)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.rows = {name: state[name] for name in self.rows}


@torch.no_grad()
def refine(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    config: SplatsConfig,
    generator: torch.Generator,
) -> None:
    """Two for one where the screen gradient is largest, none for the faint, the huge and the lost."""
    _prune(params, optimizers, statistics, config, faint(params, config.prune_opacity))
    gradient = statistics.mean()
    n = len(gradient)
    if (room := min(int(config.grow * n), config.cap - n)) > 0:
        chosen = torch.zeros(n, dtype=torch.bool, device=gradient.device)
        chosen[torch.topk(gradient, room).indices] = True
        _grow(params, optimizers, statistics, chosen & (gradient > 0), config, generator)
    statistics.reset()


@torch.no_grad()
def adaptive(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    config: SplatsConfig,
    generator: torch.Generator,
) -> None:
    """Two for one where the screen gradient exceeds a threshold (the largest first where the cap is near), then none
    for the faint, the huge and the lost: the order of gsplat's DefaultStrategy."""
    gradient = statistics.mean()
    chosen = gradient > config.default.gradient
    if (room := config.cap - len(gradient)) < int(chosen.sum()):
        chosen = torch.zeros_like(chosen)
        chosen[torch.topk(gradient, max(0, room)).indices] = True
    _grow(params, optimizers, statistics, chosen, config, generator, config.default.revised)
    _prune(params, optimizers, statistics, config, params["opacities"].sigmoid() < config.prune_opacity)
    statistics.reset()


@torch.no_grad()
def reset_opacities(params: dict[str, Parameter], optimizers: Optimizers, config: SplatsConfig) -> None:
    """No opacity above twice the limit of pruning (Kerbl et al. 2023): what views need grows again, haze does not."""
    from gsplat.strategy import ops

    ops.reset_opa(params, optimizers, {}, min(2 * config.prune_opacity, 0.99))


@torch.no_grad()
def clean(params: dict[str, Parameter], optimizers: Optimizers, statistics: Statistics, config: SplatsConfig) -> None:
    """Remove haze (faint Gaussians) and islands (parts with little opacity in all)."""
    remove(params, optimizers, statistics, faint(params, config.clean_opacity))
    remove(params, optimizers, statistics, islands(params, config.clean_island))


def faint(params: dict[str, Parameter], limit: float) -> Tensor:
    """(N,) bool: opacity below `limit`; in a scene that is faint as a whole, below half of its most opaque tenth's."""
    opacities = params["opacities"].detach().sigmoid()
    return opacities < torch.quantile(opacities, 0.9).div(2).clamp_max(limit)


def remove(params: dict[str, Parameter], optimizers: Optimizers, statistics: Statistics, gone: Tensor) -> None:
    """Drop the Gaussians in the mask (N,), but keep at least LEAST of the most opaque."""
    from gsplat.strategy import ops

    keep = torch.topk(params["opacities"], min(LEAST, len(gone))).indices
    if int((~gone).sum()) < len(keep):
        gone = torch.ones_like(gone)
        gone[keep] = False
    if gone.any():
        ops.remove(params, optimizers, statistics.rows, gone)


def _prune(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    config: SplatsConfig,
    gone: Tensor,
) -> None:
    """Drop the mask (N,), the huge and the lost."""
    gone = gone | (params["scales"].exp().amax(-1) > config.prune_scale)
    remove(params, optimizers, statistics, gone | (params["means"].norm(dim=-1) > LIMIT))


def _grow(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    chosen: Tensor,
    config: SplatsConfig,
    generator: torch.Generator,
    revised: bool = False,
) -> None:
    """Copy the small of the chosen (N,) Gaussians, split the large."""
    from gsplat.strategy import ops

    n = len(chosen)
    large = params["scales"].exp().amax(-1) > config.split_scale
    if (small := chosen & ~large).any():
        ops.duplicate(params, optimizers, statistics.rows, small)
    split = torch.cat([chosen & large, chosen.new_zeros(len(params["means"]) - n)])
    if split.any():
        seed = int(torch.randint(2**31, (1,), generator=generator))
        devices = [chosen.device] if chosen.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # gsplat draws the halves' places from the global generator
            torch.manual_seed(seed)
            ops.split(params, optimizers, statistics.rows, split, revised_opacity=revised)


def effective(scales: Tensor, smooth: float) -> Tensor:
    """Standard deviations as they are drawn: a 3D low-pass filter of width `smooth` on top (Mip-Splatting, Yu et al.
    2024, eq. 8, without its opacity factor)."""
    return (scales.square() + smooth**2).sqrt()


def raw(scales: Tensor, smooth: float) -> Tensor:
    """The inverse of `effective`; what the filter alone exceeds becomes a hundredth of it."""
    return (scales.square() - smooth**2).clamp_min((0.01 * max(smooth, 1e-4)) ** 2).sqrt()


def islands(params: dict[str, Parameter], share: float) -> Tensor:
    """(N,) bool: belongs to a connected part whose summed opacity is below `share` of the largest part's.

    A Gaussian covers the cells of its mean and of the points 1.5 standard deviations along its axes, and connects them;
    neighbouring cells, diagonals included, are connected too.
    """
    from scipy import ndimage
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    from sds3d.render.projection import rotation_matrices

    means, scales = params["means"].detach().cpu(), params["scales"].detach().cpu().exp()
    axes = rotation_matrices(params["quats"].detach().cpu()) * scales[:, None] * 1.5  # (N, 3, 3), columns
    points = torch.cat([means[:, None], means[:, None] + axes.mT, means[:, None] - axes.mT], 1)  # (N, 7, 3)
    side = 2 * int(1.5 * LIMIT / CELL)
    cells = (points / CELL + side / 2).long().clamp(0, side - 1)
    flat = (cells[..., 0] * side + cells[..., 1]) * side + cells[..., 2]
    covered = np.zeros(side**3, bool)
    covered[flat.flatten().numpy()] = True
    labels, count = ndimage.label(covered.reshape(side, side, side), structure=np.ones((3, 3, 3)))
    label = labels.reshape(-1)[flat.numpy()]  # (N, 7)
    ends = label[:, :1].repeat(6, 1).ravel(), label[:, 1:].ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), (count + 1, count + 1))
    part = torch.from_numpy(connected_components(graph, directed=False)[1])[label[:, 0]].long()
    weight = torch.zeros(count + 1).index_add_(0, part, params["opacities"].detach().cpu().sigmoid())
    return (weight < share * weight.max())[part].to(params["means"].device)
