"""Multi-resolution encodings of 3D points over [-bound, bound]^3: dense voxels and hash tables.

Both are used in two moves, because a step reads the same features more than once: `table()` builds what is common to
all reads (differentiable), `encode(table, points)` maps (P, 3) points to (P, width) features.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.render.trilinear import double, trilinear

PRIMES = (1, 2654435761, 805459861)  # Teschner et al. 2003, as in instant-ngp


class Encoding(Protocol):
    """Features of points by levels of grids: a table of them made once a step, then read at points (P, 3)."""

    width: int
    count: int  # levels
    active: int  # levels in use, the coarsest first

    def table(self) -> Tensor: ...

    def encode(self, table: Tensor, points: Tensor) -> Tensor: ...

    def parameters(self) -> list[torch.nn.Parameter]: ...

    def state_dict(self) -> dict[str, Tensor]: ...


class DenseGrid:
    """A sum of nested voxel grids: n cells a side at the finest level, n/2, n/4, ... below it.

    Because the levels nest, their sum is one grid at the finest resolution, so the cost of a read does not depend on
    the number of levels; the coarse levels let one gradient step move a whole region. Of fewer `active` levels the
    sum is a coarser grid, and a cheaper one.
    """

    def __init__(
        self,
        width: int,
        resolution: int,
        levels: int,
        bound: float,
        spread: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Values start uniform in [-spread, spread]; what a network decodes must not start at 0."""
        if levels < 1 or resolution % 2 ** (levels - 1):
            raise UserError(f"a dense grid with {levels} levels needs a resolution divisible by {2 ** (levels - 1)}")
        self.width, self.bound = width, bound
        sides = [resolution // 2**i + 1 for i in reversed(range(levels))]
        shapes = [(n, n, n, width) for n in sides]
        starts = [(torch.rand(s, generator=generator) * 2 - 1) * spread if spread else torch.zeros(s) for s in shapes]
        self.levels = [torch.nn.Parameter(start.to(device)) for start in starts]  # coarse first
        self.count = self.active = levels

    def table(self) -> Tensor:
        """(n+1, n+1, n+1, width): the active levels as one grid, indexed [z, y, x]."""
        grid: Tensor = self.levels[0]
        for level in self.levels[1 : self.active]:
            grid = double(grid) + level
        return grid

    def encode(self, table: Tensor, points: Tensor) -> Tensor:
        return trilinear(table, points, self.bound)

    def parameters(self) -> list[torch.nn.Parameter]:
        return self.levels

    def state_dict(self) -> dict[str, Tensor]:
        return {f"level{i}": level.detach() for i, level in enumerate(self.levels)}


class HashGrid:
    """Müller et al. 2022, eqs. 2 to 4: L grids of geometrically growing resolution, F features each; a level whose
    corners fit the table is stored densely, a finer one through a spatial hash. Features of levels that are not active
    are 0."""

    def __init__(
        self,
        levels: int,
        features: int,
        log2_size: int,
        coarsest: int,
        finest: int,
        bound: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        growth = (finest / coarsest) ** (1 / max(1, levels - 1))
        self.resolutions = [int(coarsest * growth**i + 1e-6) for i in range(levels)]
        self.count = self.active = levels
        self.sizes = [min((n + 1) ** 3, 2**log2_size) for n in self.resolutions]
        self.width, self.bound = levels * features, bound
        start = (torch.rand(features, sum(self.sizes), generator=generator) * 2 - 1) * 1e-4
        self.entries = torch.nn.Parameter(start.to(device))  # (features, entries): reads along the last axis are fast
        bits = torch.arange(8, device=device)
        self.corners = torch.stack([bits & 1, bits >> 1 & 1, bits >> 2 & 1], -1)  # (8, 3)

    def table(self) -> Tensor:
        return self.entries

    def encode(self, table: Tensor, points: Tensor) -> Tensor:
        unit = ((points / self.bound).clamp(-1, 1) + 1) / 2
        features, base = [], 0
        for resolution, size in zip(self.resolutions[: self.active], self.sizes[: self.active], strict=True):
            place = unit * resolution
            cell = place.detach().long().clamp(max=resolution - 1)
            index = self.index(cell[:, None] + self.corners, resolution, size) + base  # (P, 8)
            within = (place - cell)[:, None]  # (P, 1, 3)
            weight = torch.where(self.corners.bool(), within, 1 - within).prod(-1)  # (P, 8)
            corner = table.index_select(1, index.view(-1)).view(-1, *index.shape)  # (F, P, 8)
            features.append((corner * weight).sum(-1))
            base += size
        if self.active < self.count:
            features.append(table.new_zeros(self.width - self.active * len(table), len(points)))
        return torch.cat(features).T

    @staticmethod
    def index(corner: Tensor, resolution: int, size: int) -> Tensor:
        """(...,) entry of integer corners (..., 3) at a level of `size` entries."""
        x, y, z = corner.unbind(-1)
        if (resolution + 1) ** 3 <= size:
            return (z * (resolution + 1) + y) * (resolution + 1) + x
        return (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) & (size - 1)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.entries]

    def state_dict(self) -> dict[str, Tensor]:
        return {"entries": self.entries.detach()}
