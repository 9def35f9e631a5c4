"""Points over triangles, evenly by area."""

from __future__ import annotations

import torch
from torch import Tensor


def areas(triangles: Tensor) -> Tensor:
    """(F,) areas of triangles (F, 3, 3)."""
    return torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).norm(dim=-1) / 2


def scatter(triangles: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`n` points over `triangles` (F, 3, 3) double, of some area: their faces (n,) and shares of corners (n, 3)."""
    area = areas(triangles)
    place = (torch.arange(n) + torch.rand(n, generator=generator)) / n * float(area.sum())
    face = torch.searchsorted(area.cumsum(0), place.double()).clamp(max=len(area) - 1)
    a, b = torch.rand(2, n, generator=generator)
    a, b = torch.where(a + b > 1, 1 - a, a), torch.where(a + b > 1, 1 - b, b)  # the triangle half of the unit square
    return face, torch.stack([1 - a - b, a, b], -1)
