"""A mesh as cameras see it: rasterise, shade the covered pixels, antialias the outlines. Differentiable in the vertices
(outlines, depth, normals, shading) and in whatever the shader's colours depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.camera import Cameras
from sds3d.render.mesh_raster import fragments, project, rasterise
from sds3d.render.mesh_silhouette import antialias, find_outline
from sds3d.render.mesh_topology import Edges, vertex_normals


@dataclass(frozen=True)
class Light:
    """colour = albedo (ambient + diffuse max(0, n . l) + headlight n . view), at most 1, on both sides of a face.

    The defaults are the means of the light that the embedded prior's pictures are taken in; it goes with the camera.
    """

    ambient: float = 0.615
    diffuse: float = 0.315
    headlight: float = 0.1
    direction: tuple[float, float, float] = (0.31, 0.72, 0.62)  # in the camera's axes: x right, y up, z to the viewer

    def shade(self, normals: Tensor, view: Tensor, cameras: Cameras) -> Tensor:
        """(P, 1) factor for unit `normals` (P, 3) in the world, seen from camera `view` (P,)."""
        local = torch.einsum("pij,pj->pi", cameras.world_to_camera()[view, :3, :3].to(normals), normals)
        local = local * torch.where(local[:, 2:] > 0, -1.0, 1.0)  # OpenCV axes: what faces the viewer has z < 0
        towards = F.normalize(local.new_tensor(self.direction), dim=0) * local.new_tensor([1.0, -1.0, -1.0])
        return self.ambient + self.diffuse * (local @ towards)[:, None].clamp(min=0) - self.headlight * local[:, 2:]


@dataclass(frozen=True)
class Points:
    """The covered pixels' places on the surface."""

    positions: Tensor  # (P, 3)
    normals: Tensor  # (P, 3) unit
    face: Tensor  # (P,)
    corners: Tensor  # (P, 3) vertices
    weights: Tensor  # (P, 3) of the corners
    view: Tensor  # (P,) which camera


@dataclass(frozen=True)
class Drawn:
    """B views; `rgb` is over the background, depth and normal are means over the covered part of a pixel."""

    rgb: Tensor  # (B, 3, H, H)
    alpha: Tensor  # (B, 1, H, H)
    depth: Tensor  # (B, 1, H, H)
    normal: Tensor  # (B, 3, H, H)


def draw(
    vertices: Tensor,
    faces: Tensor,
    edges: Edges,
    cameras: Cameras,
    size: int,
    background: Tensor,
    color: Callable[[Points], Tensor],
    light: Light | None = None,
    normals: Tensor | None = None,
    supersample: int = 1,
) -> Drawn:
    """Draw `vertices` (V, 3) and `faces` (F, 3) over `background` (B, 3).

    `edges` are those of the faces or of the same faces with equal vertices welded; `color` gives (P, 3) sRGB at the
    points; `normals` (V, 3) default to the smooth ones of the mesh; `supersample` samples a side are averaged.
    """
    fine, views = size * supersample, len(cameras)
    screen = project(vertices, cameras, fine)
    hits = rasterise(screen, faces, fine)
    seen = fragments(screen, faces, hits)
    smooth = vertex_normals(vertices, faces) if normals is None else normals
    normal = F.normalize(seen.interpolate(smooth), dim=-1, eps=1e-12)
    face = hits.face.flatten()[seen.pixel].long()
    view = seen.pixel // fine**2
    points = Points(seen.interpolate(vertices), normal, face, seen.corners, seen.weights, view)
    rgb = color(points)
    if light is not None:
        rgb = (rgb * light.shade(normal, view, cameras)).clamp(max=1.0)
    covered = torch.cat([rgb, torch.ones_like(rgb[:, :1]), seen.depth[:, None], normal], -1)
    empty = torch.cat([background, background.new_zeros(views, 5)], -1)
    image = empty.repeat_interleave(fine * fine, 0).index_copy(0, seen.pixel, covered)
    image = antialias(image.view(views, fine, fine, 8), screen, edges, find_outline(screen, edges, hits))
    image = image.permute(0, 3, 1, 2)
    if supersample > 1:
        image = F.avg_pool2d(image, supersample)
    rgb, alpha, depth, normal = image.split((3, 1, 1, 3), 1)
    inverse = 1 / alpha.clamp_min(1e-6)
    return Drawn(rgb, alpha, depth * inverse * (alpha > 0), F.normalize(normal, dim=1, eps=1e-12))
