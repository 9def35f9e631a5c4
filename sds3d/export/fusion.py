"""Depth fusion (Curless & Levoy 1996): a surface from rendered depths instead of the scene's own field."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.camera import Cameras, fit_distance
from sds3d.export.views import Views
from sds3d.export.volume import Volume, hull_volume, project, silhouettes

VIEWS, SIZE = 40, 192  # pictures that are fused, and their pixels
TRUNCATION = 8  # cells behind a depth up to which it counts
GOLDEN = 180 * (3 - math.sqrt(5))  # degrees


def all_around(n: int = VIEWS, low: float = -70.0, high: float = 85.0, fov: float = 40.0) -> Cameras:
    """n cameras spread evenly over the sphere between two elevations, on a spiral."""
    sines = torch.tensor([math.sin(math.radians(edge)) for edge in (low, high)])
    share = (torch.arange(n) + 0.5) / n
    elevation = torch.rad2deg(torch.asin(torch.lerp(sines[0], sines[1], share)))
    fovs = torch.full((n,), fov)
    return Cameras((torch.arange(n) * GOLDEN) % 360, elevation, fovs, fit_distance(fovs))


def fuse(views: Views, bound: float, resolution: int) -> tuple[Volume, Tensor]:
    """Occupancy, one half at the surface and inside where no view looks, and the hull (X, Y, Z) of the views.

    Each view that sees a point in front of its depth, or no object there at all, votes for empty by how far it lies in
    front, up to TRUNCATION cells; those that see it as far behind vote for full; a point hidden deeper has no vote.
    """
    place, inside, points = hull_volume(views, bound, resolution)
    reach = TRUNCATION * place.spacing
    covered = silhouettes(views)
    total, votes = torch.zeros(len(points)), torch.zeros(len(points))
    for i in range(len(views.cameras)):
        where, depth = project(points, views.cameras[i : i + 1])
        picture = torch.stack([views.depth[i], covered[i].float()])[None]
        seen = F.grid_sample(picture, where.view(1, 1, -1, 2), mode="nearest", align_corners=False)[0, :, 0]
        gap, background = seen[0] - depth, seen[1] < 0.5
        counts = background | (gap > -reach)
        total += counts * torch.where(background, 1.0, (gap / reach).clamp(-1, 1))
        votes += counts
    distance = torch.where(votes > 0, total / votes.clamp_min(1), -1.0)
    place.values[inside] = 0.5 - 0.5 * distance
    return place, inside
