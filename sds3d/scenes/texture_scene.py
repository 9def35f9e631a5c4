"""`--scene texture`: a mesh from elsewhere. Its colours change, and its geometry within a distance or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.assets.mesh import LoadedMesh
from sds3d.camera import Cameras
from sds3d.render.mesh_distance import signed_distance
from sds3d.render.mesh_draw import Light, Points, draw
from sds3d.render.mesh_topology import edges_of, face_normals, vertex_normals
from sds3d.scenes.base import Field, Frame, OwnMesh, ParamGroup
from sds3d.scenes.encodings import DenseGrid
from sds3d.scenes.foreground import opaque
from sds3d.scenes.mesh_color import BOUND, EXTREME, ColorField
from sds3d.scenes.mesh_field import occupancy
from sds3d.scenes.mesh_subdivide import Pieces, subdivide, whole
from sds3d.scenes.texture_config import TextureConfig

FIELD = 64  # cells a side of the occupancy that `surface` reads

UNUSED = ("lr_colors", "lr_shapes")  # Gaussians' alone


class TextureScene:
    """A Scene (scenes/base.py). Points of the surface keep their colours as they move: the colour field is read where
    they were at first. Shifts come from a field over the ball too, so that nothing tears."""

    def __init__(
        self, config: TextureConfig, loaded: LoadedMesh, device: torch.device | str, generator: torch.Generator
    ) -> None:
        config.refuse(UNUSED, "Gaussians", "a mesh")
        self.config, self.device, self.loaded = config, torch.device(device), loaded
        self.placement = loaded.placement
        self.pieces = _pieces(config, loaded)
        self.rest = torch.from_numpy(self.pieces.vertices).to(self.device)
        self.faces = torch.from_numpy(self.pieces.faces).long().to(self.device)
        joined = torch.from_numpy(_first_of_equal(self.pieces.vertices)).to(self.device)
        self.edges = edges_of(joined[self.faces])
        self.normals = vertex_normals(self.rest, self.faces)
        self.turned, self.lengths = self._cosines(self.rest), self._lengths(self.rest)
        self.color = ColorField(config.color, self.device, generator)
        self.color.start_from(loaded.vertices[loaded.faces], self._own_colors)
        move = config.move
        self.move = DenseGrid(3, move.resolution, move.levels, BOUND, device=self.device) if config.distance else None
        if self.move is not None:
            self.weights = _corner_weights(self.rest, move.resolution)

    def _own_colors(self, face: Any, shares: Any) -> Any:
        return self.loaded.colors_at(face, shares)[:, :3]

    def vertices(self) -> Tensor:
        """(V, 3) within `distance` of where they were: shift = distance * u / sqrt(1 + |u|^2)."""
        if self.move is None:
            return self.rest
        index, weight = self.weights
        table = self.move.table().view(-1, 3)
        u = (table.index_select(0, index.flatten()).view(*index.shape, 3) * weight[..., None]).sum(1)
        return self.rest + self.config.distance * u / (1 + u.square().sum(-1, keepdim=True)).sqrt()

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB. Pictures for looking at are not lit."""
        cameras, background = cameras.to(self.device), background.to(self.device)
        table, vertices = self.color.table(), self.vertices()
        training = torch.is_grad_enabled()

        def color(points: Points) -> Tensor:
            at = self.rest.index_select(0, points.corners.flatten()).view(-1, 3, 3)
            painted = self.color(table, (at * points.weights.detach()[..., None]).sum(1))
            return opaque(painted, background[points.view]) if self.config.opaque else painted

        light = Light() if training and self.config.light == "camera" else None
        normals = self.normals if self.move is None else None
        samples = self.config.supersample if training else 1
        seen = draw(vertices, self.faces, self.edges, cameras, size, background, color, light, normals, samples)
        return Frame(seen.rgb, seen.alpha, seen.depth, seen.normal, {"vertices": vertices} if training else None)

    def parameters(self) -> list[ParamGroup]:
        groups = self.color.parameters()
        if self.move is not None:
            groups.append(ParamGroup("move", self.move.parameters(), *self.config.lr_move))
        return groups

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """How far the angles between neighbouring faces and the lengths of edges are from those of the asset, where it
        moves."""
        if self.move is None:
            return frame.alpha.new_zeros(())
        assert frame.extra is not None
        vertices, c = frame.extra["vertices"], self.config
        bent = (self._cosines(vertices) - self.turned).abs().mean() if c.bending else 0.0
        stretched = (self._lengths(vertices) / self.lengths - 1).square().mean() if c.stretch else 0.0
        return frame.alpha.new_zeros(()) + c.bending * bent + c.stretch * stretched

    def _cosines(self, vertices: Tensor) -> Tensor:
        """(E,) of the angle between the two faces of every inner edge."""
        unit = F.normalize(face_normals(vertices, self.faces), dim=-1, eps=1e-12)
        a, b = self.edges.faces[self.edges.faces[:, 1] >= 0].unbind(-1)
        return (unit.index_select(0, a) * unit.index_select(0, b)).sum(-1)

    def _lengths(self, vertices: Tensor) -> Tensor:
        """(E,) of the edges, above 0."""
        a, b = self.edges.ends.unbind(-1)
        return ((vertices.index_select(0, a) - vertices.index_select(0, b)).square().sum(-1) + 1e-12).sqrt()

    def after_backward(self, step: int, total: int, frame: Frame, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Nothing to collect."""

    def after_step(
        self,
        step: int,
        total: int,
        frame: Frame,
        optimizers: dict[str, torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """Nothing to keep: the distance holds by itself."""

    @torch.no_grad()
    def own_mesh(self) -> OwnMesh:
        """The asset's triangles, where they are now, and their colours with the texture's own detail."""
        table = self.color.table().clone()
        corners = self.rest[self.faces]

        @torch.no_grad()
        def color(points: Tensor, face: Tensor, shares: Tensor) -> Tensor:
            at = torch.einsum("pk,pkc->pc", shares.to(self.device), corners[face.long().to(self.device)])
            coarse = self.color.start(at)
            origin = self.pieces.origin[face.numpy()]
            within = np.einsum("pk,pkj->pj", shares.numpy(), self.pieces.shares[face.numpy()])
            exact = torch.logit(torch.from_numpy(self._own_colors(origin, within)), EXTREME).to(self.device)
            logits = self.color.learned(table, at) + torch.lerp(coarse, exact, self.config.detail)
            return torch.sigmoid(logits).cpu()

        return OwnMesh(self.vertices().cpu(), self.faces.cpu(), True, color)

    @torch.no_grad()
    def surface(self) -> Field:
        """Occupancy, one half at the surface where that is closed, and the colours."""
        spacing = 2 * BOUND / FIELD
        corners = self.vertices()[self.faces].cpu().numpy()
        distance = signed_distance(corners, -BOUND, spacing, FIELD + 1, 2 * spacing)
        return occupancy(torch.from_numpy(distance).to(self.device), self.color)

    def state_dict(self) -> dict[str, Tensor]:
        """What is learned; the asset itself stays in its file."""
        state = {f"color.{key}": value for key, value in self.color.state_dict().items() if key != "base"}
        return state if self.move is None else state | {f"move.{k}": v for k, v in self.move.state_dict().items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place: optimisers keep their hold on the parameters."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])


def _pieces(config: TextureConfig, loaded: LoadedMesh) -> Pieces:
    """The asset with equal vertices (of place and normal) joined, and finer where it is to move."""
    rows = np.concatenate([loaded.vertices, loaded.normals.round(3)], 1)
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    vertices, faces = loaded.vertices[first], number.ravel()[loaded.faces].astype(np.int32)
    return subdivide(vertices, faces, config.edge, config.faces) if config.distance else whole(vertices, faces)


def _first_of_equal(vertices: np.ndarray) -> np.ndarray:
    """(V,) for each vertex the first one at the same place."""
    _, first, number = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    return first[number.ravel()]


def _corner_weights(points: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """(V, 8) indices into a grid [z, y, x] of (n + 1)^3 corners, and their trilinear weights."""
    unit = ((points / BOUND).clamp(-1, 1) + 1) / 2 * n
    cell = unit.long().clamp(max=n - 1)
    bits = torch.arange(8, device=points.device)
    steps = torch.stack([bits & 1, bits >> 1 & 1, bits >> 2 & 1], -1)  # (8, 3) x, y, z
    within = (unit - cell)[:, None]
    weight = torch.where(steps.bool(), within, 1 - within).prod(-1)
    x, y, z = (cell[:, None] + steps).unbind(-1)
    return (z * (n + 1) + y) * (n + 1) + x, weight
