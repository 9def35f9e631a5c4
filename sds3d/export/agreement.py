"""Does a surface lie where the views' pictures say?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sds3d.export.mesh import Mesh, vertex_normals
from sds3d.export.texture import bare_soup, gather
from sds3d.export.views import Views
from sds3d.export.volume import silhouettes
from sds3d.render.mesh import render_soup

POINTS = 20_000  # vertices, at most, that are asked for their colours


@dataclass(frozen=True)
class Agreement:
    """How a mesh stands to some views."""

    iou: float  # of what it and what the views cover, all together
    gap: float  # median distance in depth where both are
    variance: float  # of the colours that the views show at one of its points

    def better(self, other: Agreement) -> bool:
        """Nearer, and of one mind? Depths alone mislead where one sees through a surface to what is behind it."""
        return self.gap < other.gap and self.variance < other.variance


@dataclass(frozen=True)
class _Vertices:
    positions: Tensor
    normals: Tensor


def agreement(mesh: Mesh, views: Views) -> Agreement:
    """The mesh's silhouettes and depths against the views', and how far the views are from agreeing on a colour for
    each of its points: photo-consistency (Seitz & Dyer 1999). The less they differ, the better a texture shows all."""
    drawn, depths = render_soup(bare_soup(mesh), views.cameras, views.size, supersample=2)
    covered, expected = drawn[..., 3] > 127, silhouettes(views).numpy()
    both, either = covered & expected, covered | expected
    gap = np.abs(depths - views.depth.numpy())[both]
    some = slice(None, None, 1 + len(mesh.vertices) // POINTS)
    points = _Vertices(torch.from_numpy(mesh.vertices[some]), torch.from_numpy(vertex_normals(mesh)[some]))
    moments, weight = gather(points, depths, views, torch.cat([views.rgb, views.rgb.square()], 1))
    spread = (moments[:, 3:] - moments[:, :3].square()).clamp_min(0).mean(1, keepdim=True)
    return Agreement(
        float(both.sum() / max(either.sum(), 1)),
        float(np.median(gap)) if len(gap) else np.inf,
        float((spread * weight).sum() / weight.sum().clamp_min(1e-12)),
    )
