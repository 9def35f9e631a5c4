"""Colour on surfaces: a field over the ball, learned on top of a base, so that there are no seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds3d.render.mesh_distance import fill, nearest
from sds3d.render.trilinear import trilinear
from sds3d.scenes.base import ParamGroup
from sds3d.scenes.encodings import DenseGrid, Encoding, HashGrid

BOUND = 1.0
EXTREME = 0.004  # colours this near to 0 and 1 are taken for them: logits must stay finite
Span = tuple[float, float]  # a value at the start and at the end of a run
Painter = Callable[[NDArray[np.int32], NDArray[np.float32]], NDArray[np.float32]]  # face (P,), shares (P, 3) -> (P, 3)


@dataclass(frozen=True)
class VoxelConfig:
    """Nested voxel grids of logits."""

    resolution: int = 64  # cells a side at the finest level
    levels: int = 4


@dataclass(frozen=True)
class HashedConfig:
    """A multi-resolution hash grid, decoded by a small network."""

    levels: int = 12
    features: int = 2
    log2_size: int = 17  # entries per level
    coarsest: int = 16
    finest: int = 512
    hidden: int = 32


@dataclass(frozen=True)
class ColorConfig:
    """The field of a mesh scene's colours. Spans are (start, end) of the run."""

    encoding: Literal["auto", "dense", "hash"] = "auto"  # auto: dense on the CPU, hash on CUDA
    dense: VoxelConfig = field(default_factory=VoxelConfig)
    hash: HashedConfig = field(default_factory=HashedConfig)
    base: int = 64  # cells a side of the colours that it starts from
    lr: Span = (3e-2, 1e-2)
    lr_network: Span = (1e-2, 3e-3)  # of the hash grid's decoder


class ColorField:
    """sRGB = sigmoid(base + learned): the base is fixed, given by `start_from` or grey."""

    def __init__(self, config: ColorConfig, device: torch.device, generator: torch.Generator) -> None:
        self.config, self.device = config, device
        kind = config.encoding if config.encoding != "auto" else "hash" if device.type == "cuda" else "dense"
        self.network: list[torch.nn.Parameter] = []
        if kind == "dense":
            dense = config.dense
            self.encoding: Encoding = DenseGrid(3, dense.resolution, dense.levels, BOUND, device=device)
        else:
            h = config.hash
            self.encoding = HashGrid(h.levels, h.features, h.log2_size, h.coarsest, h.finest, BOUND, generator, device)
            inner = (torch.rand(h.hidden, self.encoding.width, generator=generator) * 2 - 1) * self.encoding.width**-0.5
            self.network = [torch.nn.Parameter(m.to(device)) for m in (inner, torch.zeros(3, h.hidden))]
        self.base = torch.zeros(config.base + 1, config.base + 1, config.base + 1, 3, device=device)

    def start_from(self, corners: NDArray[np.float32], painter: Painter) -> None:
        """Take the colours of the triangles `corners` (F, 3, 3) for the base: every voxel near the surface that of the
        surface's nearest point."""
        n = self.config.base
        spacing = 2 * BOUND / n
        near = nearest(corners, -BOUND, spacing, n + 1, 2.5 * spacing)
        known = near.face >= 0
        colors = np.full((*known.shape, 3), 0.5, np.float32)
        if known.any():
            colors[known] = painter(near.face[known], near.shares[known])
            colors = fill(colors, known)
        self.base = torch.logit(torch.from_numpy(colors), EXTREME).to(self.device)

    def table(self) -> Tensor:
        """What one step reads again and again."""
        return self.encoding.table()

    def learned(self, table: Tensor, points: Tensor) -> Tensor:
        """(P, 3) logits on top of the base."""
        features = self.encoding.encode(table, points)
        if not self.network:
            return features
        inner, outer = self.network
        return torch.relu(features @ inner.T) @ outer.T

    def __call__(self, table: Tensor, points: Tensor) -> Tensor:
        """(P, 3) sRGB at points (P, 3); differentiable in the field, not in the points."""
        points = points.detach()
        return torch.sigmoid(self.learned(table, points) + self.start(points))

    def start(self, points: Tensor) -> Tensor:
        """(P, 3) logits of the base."""
        return trilinear(self.base, points, BOUND)

    def parameters(self) -> list[ParamGroup]:
        groups = [ParamGroup("color", self.encoding.parameters(), *self.config.lr)]
        return [*groups, ParamGroup("color_network", self.network, *self.config.lr_network)] if self.network else groups

    def state_dict(self) -> dict[str, Tensor]:
        network = {f"network{i}": p.detach() for i, p in enumerate(self.network)}
        return {**self.encoding.state_dict(), **network, "base": self.base}
