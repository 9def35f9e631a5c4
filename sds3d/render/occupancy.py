"""Where a density field is worth sampling: a bit per cell, kept by a decaying maximum (Müller et al. 2022, app. C).

The same pure-torch grid serves every backend (nerfacc's marching takes its bits), so that one state resumes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class OccupancyGrid:
    """Cells over [-bound, bound]^3, those outside of the ball of radius `bound` always empty.

    `cells` (n, n, n) bool is indexed [z, y, x]; `values` (n, n, n) is the running maximum of the density.
    """

    def __init__(
        self,
        resolution: int,
        bound: float = 1.0,
        threshold: float = 0.3,
        decay: float = 0.8,
        device: torch.device | str = "cpu",
    ) -> None:
        self.bound, self.threshold, self.decay = bound, threshold, decay
        edge = torch.linspace(-bound, bound, resolution + 1, device=device)
        centre = (edge[:-1] + edge[1:]) / 2
        z, y, x = torch.meshgrid(centre, centre, centre, indexing="ij")
        self.centres = torch.stack([x, y, z], -1)  # (n, n, n, 3)
        half = bound / resolution
        self.inside = (self.centres.abs() - half).clamp(min=0).norm(dim=-1) < bound  # (n, n, n) touches the ball
        self._farthest = (self.centres.abs() + half).norm(dim=-1)
        self.values = torch.zeros_like(self._farthest)
        self.cells = self.inside.clone()
        self.reach = bound

    @torch.no_grad()
    def update(self, density: Callable[[Tensor], Tensor], generator: torch.Generator) -> None:
        """Look at one random point of every cell in the ball; `density` maps (P, 3) points to (P,)."""
        centres = self.centres[self.inside]
        jitter = torch.rand(centres.shape, generator=generator).to(centres) - 0.5
        seen = density(centres + jitter * (2 * self.bound / len(self.cells)))
        self.values[self.inside] = torch.maximum(self.values[self.inside] * self.decay, seen)
        self._mark()

    def _mark(self) -> None:
        """Occupied: denser than the threshold (or the mean, where that is less), and the neighbours, for growth."""
        dense = self.values > min(self.threshold, float(self.values[self.inside].mean()))
        grown = torch.nn.functional.max_pool3d(dense.float()[None], 3, stride=1, padding=1)[0] > 0
        self.cells = grown & self.inside
        self.reach = min(self.bound, float((self._farthest * self.cells).max())) if self.cells.any() else 0.0

    @property
    def occupied(self) -> float:
        """Share of the ball's cells that are occupied."""
        return float(self.cells.sum() / self.inside.sum())

    def state_dict(self) -> dict[str, Tensor]:
        return {"values": self.values, "cells": self.cells, "reach": torch.tensor(self.reach, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.values = state["values"].to(self.values).clone()
        self.cells = state["cells"].to(self.cells).clone()
        self.reach = float(state["reach"])
