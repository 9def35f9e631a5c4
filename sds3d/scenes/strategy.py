"""When Gaussians become two and when they go: densification and pruning with gsplat's operations.

gsplat's default strategy grows what exceeds a fixed screen gradient. Here the gradient's scale depends on the prior,
the objective and its weight, so it is the Gaussians with the largest gradients that grow, a share of them at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

LEAST = 64  # pruning never leaves fewer Gaussians than this
LIMIT = 1.2  # means farther out than this are pruned
CELL = 0.08  # edge of the cells in which neighbouring Gaussians count as one part
Optimizers = dict[str, torch.optim.Optimizer]


class Policy(Protocol):
    """What is needed of SplatsConfig."""

    @property
    def grow(self) -> float: ...
    @property
    def cap(self) -> int: ...
    @property
    def split_scale(self) -> float: ...
    @property
    def prune_opacity(self) -> float: ...
    @property
    def prune_scale(self) -> float: ...
    @property
    def clean_opacity(self) -> float: ...
    @property
    def clean_island(self) -> float: ...


@dataclass
class Statistics:
    """Screen gradients since the last refinement, in the form gsplat's operations resize."""

    rows: dict[str, Tensor]  # "grad2d" (N,) summed norms, "count" (N,) views they were summed over

    @classmethod
    def empty(cls, n: int, device: torch.device) -> Statistics:
        return cls({name: torch.zeros(n, device=device) for name in ("grad2d", "count")})

    def add(self, gradient: Tensor, radii: Tensor) -> None:
        """Gradients with respect to means2d (B, N, 2) in pixels; radii (B, N, 2), 0 where not drawn."""
        drawn = (radii > 0).all(-1)
        self.rows["grad2d"] += (torch.linalg.vector_norm(gradient, dim=-1) * drawn).sum(0)
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
    policy: Policy,
    generator: torch.Generator,
) -> None:
    """Two for one where the screen gradient is largest, none for the faint, the huge and the lost."""
    gone = faint(params, policy.prune_opacity)
    gone |= params["scales"].exp().amax(-1) > policy.prune_scale
    gone |= params["means"].norm(dim=-1) > LIMIT
    remove(params, optimizers, statistics, gone)
    _grow(params, optimizers, statistics, policy, generator)
    statistics.reset()


@torch.no_grad()
def clean(params: dict[str, Parameter], optimizers: Optimizers, statistics: Statistics, policy: Policy) -> None:
    """Remove haze (faint Gaussians) and islands (parts with little opacity in all)."""
    remove(params, optimizers, statistics, faint(params, policy.clean_opacity))
    remove(params, optimizers, statistics, islands(params, policy.clean_island))


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


def _grow(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    policy: Policy,
    generator: torch.Generator,
) -> None:
    from gsplat.strategy import ops

    gradient = statistics.mean()
    n = len(gradient)
    room = min(int(policy.grow * n), policy.cap - n)
    if room <= 0:
        return
    chosen = torch.zeros(n, dtype=torch.bool, device=gradient.device)
    chosen[torch.topk(gradient, room).indices] = True
    chosen &= gradient > 0
    large = params["scales"].exp().amax(-1) > policy.split_scale
    if (small := chosen & ~large).any():
        ops.duplicate(params, optimizers, statistics.rows, small)
    split = torch.cat([chosen & large, chosen.new_zeros(len(params["means"]) - n)])
    if split.any():
        seed = int(torch.randint(2**31, (1,), generator=generator))
        devices = [gradient.device] if gradient.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # gsplat draws the halves' places from the global generator
            torch.manual_seed(seed)
            ops.split(params, optimizers, statistics.rows, split)


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
