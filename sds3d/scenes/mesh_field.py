"""A mesh as the field that the export reads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.scenes.base import Field
from sds3d.scenes.mesh_color import BOUND, ColorField


def occupancy(distances: Tensor, color: ColorField) -> Field:
    """Occupancy from signed distances (n, n, n) at the corners of the cells of [-BOUND, BOUND]^3, one half at the
    surface, and the colours as they are now."""
    corners, table = distances[None, None], color.table().clone()
    spacing = 2 * BOUND / (len(distances) - 1)

    @torch.no_grad()
    def density(points: Tensor) -> Tensor:
        read = F.grid_sample(corners, (points / BOUND)[None, None, None], align_corners=True, padding_mode="border")
        return torch.sigmoid(-2 * read.flatten() / spacing)

    @torch.no_grad()
    def colors(points: Tensor) -> Tensor:
        return color(table, points)

    return Field(density, colors, BOUND)
