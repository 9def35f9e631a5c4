"""`--scene mesh`: a triangle mesh, cut anew at every step from a signed distance on a tetrahedral lattice.

DMTet (Shen et al. 2021) without a network: distances and shifts of the lattice's vertices are nested voxel grids, whose
coarse levels carry a pull at the outline into the surface's neighbourhood.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.render.mesh_distance import signed_distance
from sds3d.render.mesh_draw import Light, Points, draw
from sds3d.render.mesh_topology import Edges, bending, edges_of, laplacian, taubin
from sds3d.scenes.base import Field, Frame, OwnMesh, ParamGroup
from sds3d.scenes.encodings import DenseGrid
from sds3d.scenes.first_file import unchanged
from sds3d.scenes.foreground import opaque
from sds3d.scenes.mesh_color import BOUND, ColorConfig, ColorField, Painter
from sds3d.scenes.mesh_field import occupancy
from sds3d.scenes.tetra import Lattice, place
from sds3d.scenes.thin import held, with_thin_parts, within

REACH = 0.98  # the surface stays within this radius
SHIFT = 0.3  # most that a lattice vertex moves along an axis, in cells: no tetrahedron turns inside out
MARGIN = 0.01  # between that and what a file begins with
STAGES = ("splats", "grid")  # values of `init` that are an earlier stage
INITS = (*STAGES, "ball")  # those that are no files
Span = tuple[float, float]  # a value at the start and at the end of a run


@dataclass(frozen=True)
class MeshConfig:
    """The mesh scene. Spans are (start, end) of the run."""

    init: str = "splats"  # what it begins as: a stage of splats or grid, a ball, or a file or finished run's folder
    init_digest: str = ""  # of the file's content, filled in
    resolution: int = 40  # cells a side of the lattice
    levels: int = 4  # of the nested grids of distances
    radius: float = 0.6  # of the ball that it starts as
    keep: float = 0.5  # of what it begins as, parts thinner than two cells keep their width to within 1 - this; 0: free
    smooth: int = 6  # rounds that take the lattice's pattern off the surface (Taubin 1995), in training too
    opaque: bool = False  # leave out what would paint the surface like its view's background; it darkens, on white
    supersample: int = 2  # samples a side of a pixel, in training
    light: Literal["none", "camera"] = "none"  # camera: in training, lit as the embedded prior's pictures are
    color: ColorConfig = field(default_factory=ColorConfig)
    lr_distance: Span = (2e-3, 5e-4)  # world units
    lr_shift: Span = (1e-2, 3e-3)
    entropy: Span = (0.0, 0.0)  # of the signs along cut edges: fewer holes and bubbles (Munkberg et al. 2022, eq. 2)
    eikonal: Span = (0.05, 0.05)  # mean (|gradient| - 1)^2 near the surface: distances stay distances
    bending: Span = (0.05, 0.05)  # mean 1 - cosine between neighbouring faces
    laplacian: Span = (0.0, 0.0)  # mean squared distance to the neighbours' mean, in cells
    after_stage: float = 0.33  # of all these rates, after an earlier stage: its shape and colours are good already
    lr_steps: int = 150  # from the first noise level to the last that the rates are for: with more they are smaller

    def __post_init__(self) -> None:
        if not 8 <= self.resolution <= 512:
            raise UserError(f"mesh.resolution must lie between 8 and 512, not {self.resolution}")
        if not 0 < self.radius < REACH:
            raise UserError(f"mesh.radius must lie between 0 and {REACH}, not {self.radius}")
        if not 0 <= self.keep < 1:
            raise UserError(f"mesh.keep is a share from 0 to below 1, not {self.keep}")
        if not 0 < self.after_stage <= 1:
            raise UserError(f"mesh.after_stage is a share above 0 and up to 1, not {self.after_stage}")
        if self.lr_steps < 1:
            raise UserError(f"mesh.lr_steps must be at least 1, not {self.lr_steps}")
        if not 0 <= self.smooth <= 100:
            raise UserError(f"mesh.smooth is a number of rounds from 0 to 100, not {self.smooth}")
        if not 1 <= self.supersample <= 8:
            raise UserError(f"mesh.supersample must lie between 1 and 8, not {self.supersample}")


@dataclass(frozen=True)
class Cut:
    """The surface as this step cuts it."""

    vertices: Tensor  # (V, 3), differentiable
    faces: Tensor  # (F, 3)
    edges: Edges
    values: Tensor  # (V, 2) distances at the ends of the cut edges, the first inside


class MeshScene:
    """A Scene (scenes/base.py)."""

    def __init__(self, config: MeshConfig, device: torch.device | str, generator: torch.Generator) -> None:
        self.config, self.device = config, torch.device(device)
        self.cells = config.resolution
        self.lattice = Lattice(config.resolution, BOUND, self.device)
        self.distances = DenseGrid(1, config.resolution, config.levels, BOUND, device=self.device)
        self.shifts = DenseGrid(3, config.resolution, 1, BOUND, device=self.device)
        self.start = self.lattice.points.norm(dim=-1) - config.radius
        self.limits: tuple[Tensor, Tensor] | None = None  # of the distances
        self.color = ColorField(config.color, self.device, generator)

    @classmethod
    def create(cls, config: MeshConfig, device: torch.device | str, generator: torch.Generator) -> MeshScene:
        """A new scene: the mesh of the file that `config.init` names, else a grey ball, as before a stage is taken."""
        scene = cls(config, device, generator)
        if config.init not in INITS:
            corners, painter = of_file(config)
            scene.start_from(corners, painter)
        return scene

    def start_from(self, corners: NDArray[np.float32], painter: Painter) -> None:
        """Take the surface of the triangles `corners` (F, 3, 3), within the unit ball, and the colours that `painter`
        tells at points of it. What is thinner than a cell becomes a cell thick."""
        n, spacing = self.config.resolution, self.lattice.spacing
        grids = [
            signed_distance(corners, -BOUND + shift, spacing, side, 3 * spacing)
            for shift, side in ((0.0, n + 1), (spacing / 2, n))
        ]
        solid = torch.from_numpy(np.concatenate([g.ravel() for g in grids])).to(self.device)
        self.start = with_thin_parts(solid, self.lattice, corners)
        self._hold_thin_parts()
        self.color.start_from(corners, painter)

    def _hold_thin_parts(self) -> None:
        """High noise hides legs from the prior: what has gone has no outline left to be pulled back by, and what can
        only grow does."""
        if self.config.keep:
            self.limits = held(self.start, self.lattice, self.config.keep)

    def sdf(self) -> Tensor:
        """(n_vertices,) the distances that the surface is the zero of."""
        learned = self.lattice.spread(self.distances.table())[:, 0]
        sdf = torch.maximum(self.start + learned, self.lattice.points.norm(dim=-1) - REACH)
        return sdf if self.limits is None else within(sdf, *self.limits)

    def cut(self, sdf: Tensor) -> Cut:
        """The surface of `sdf`."""
        shifts = torch.tanh(self.lattice.spread(self.shifts.table()))
        moved = self.lattice.points + SHIFT * self.lattice.spacing * shifts
        crossings = self.lattice.crossings(sdf)
        edges = edges_of(crossings.faces)
        values = sdf.index_select(0, crossings.ends.flatten()).view(-1, 2)
        return Cut(taubin(place(moved, sdf, crossings), edges, self.config.smooth), crossings.faces, edges, values)

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB. Pictures for looking at are not lit."""
        cameras, background = cameras.to(self.device), background.to(self.device)
        sdf = self.sdf()
        cut = self.cut(sdf)
        table = self.color.table()
        training = torch.is_grad_enabled()

        def color(points: Points) -> Tensor:
            painted = self.color(table, points.positions)
            return opaque(painted, background[points.view]) if self.config.opaque else painted

        seen = draw(
            cut.vertices,
            cut.faces,
            cut.edges,
            cameras,
            size,
            background,
            color,
            Light() if training and self.config.light == "camera" else None,
            supersample=self.config.supersample if training else 1,
        )
        extra = {"cut": cut, "sdf": sdf} if training else None
        return Frame(seen.rgb, seen.alpha, seen.depth, seen.normal, extra)

    def parameters(self) -> list[ParamGroup]:
        c = self.config
        groups = [
            ParamGroup("distances", self.distances.parameters(), *c.lr_distance),
            ParamGroup("shifts", self.shifts.parameters(), *c.lr_shift),
            *self.color.parameters(),
        ]
        share = c.after_stage if c.init in STAGES else 1.0
        return [replace(g, lr=share * g.lr, final=share * g.final, steps=c.lr_steps) for g in groups]

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Weighted sum of the configured terms; 0 where every weight is 0."""
        assert frame.extra is not None
        cut, sdf = frame.extra["cut"], frame.extra["sdf"]
        c, spacing = self.config, self.lattice.spacing
        loss = sdf.sum() * 0
        if not len(cut.faces):
            return loss
        if (weight := _at(c.entropy, progress)) > 0:
            loss = loss + weight * sign_entropy(cut.values / spacing)
        if (weight := _at(c.eikonal, progress)) > 0:
            loss = loss + weight * self._eikonal(sdf)
        if (weight := _at(c.bending, progress)) > 0:
            loss = loss + weight * bending(cut.vertices, cut.faces, cut.edges)
        if (weight := _at(c.laplacian, progress)) > 0:
            loss = loss + weight * laplacian(cut.vertices / spacing, cut.edges)
        return loss

    def _eikonal(self, sdf: Tensor) -> Tensor:
        n = self.config.resolution
        corners = sdf[: (n + 1) ** 3].view(n + 1, n + 1, n + 1)
        near = sdf.detach()[(n + 1) ** 3 :].view(n, n, n).abs() < 1.5 * self.lattice.spacing
        slopes = []
        for axis in range(3):
            slope = corners.diff(dim=axis) / self.lattice.spacing
            for other in {0, 1, 2} - {axis}:
                slope = (slope.narrow(other, 0, n) + slope.narrow(other, 1, n)) / 2
            slopes.append(slope[near])
        length = (torch.stack(slopes).square().sum(0) + 1e-12).sqrt()
        return (length - 1).square().mean() if len(length) else sdf.sum() * 0

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
        """Nothing to keep: the surface is cut anew."""

    @torch.no_grad()
    def own_mesh(self) -> OwnMesh:
        """The surface as it is cut now. UserError when there is none."""
        cut = self.cut(self.sdf())
        if not len(cut.faces):
            raise UserError("the mesh has vanished: lower mesh.lr_distance, or start from another seed")
        return OwnMesh(cut.vertices.cpu(), cut.faces.cpu())

    @torch.no_grad()
    def surface(self) -> Field:
        """Occupancy from the distances, one half at the surface, and the colours."""
        n = self.config.resolution + 1
        return occupancy(self.sdf()[: n**3].view(n, n, n), self.color)

    def state_dict(self) -> dict[str, Tensor]:
        parts: dict[str, DenseGrid | ColorField] = {"distances": self.distances, "shifts": self.shifts}
        parts["color"] = self.color
        state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        return {**state, "start": self.start}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place: optimisers keep their hold on the parameters."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])
        self._hold_thin_parts()


def of_file(config: MeshConfig) -> tuple[NDArray[np.float32], Painter]:
    """Triangles (F, 3, 3) of the mesh in the file `config.init`, within REACH, and its colours. UserError if the file
    is missing, unreadable or changed, or holds Gaussians."""
    from sds3d.assets import load_mesh

    mesh = load_mesh(unchanged(config.init, config.init_digest))
    longest = np.linalg.norm(mesh.vertices, axis=1).max()
    corners = mesh.vertices[mesh.faces] * np.float32(min(1.0, (REACH - MARGIN) / longest))
    return corners, lambda face, shares: mesh.colors_at(face, shares)[:, :3]


def sign_entropy(values: Tensor) -> Tensor:
    """Mean over cut edges with ends (E, 2) of H(sigmoid(a), sign(b)) + H(sigmoid(b), sign(a))."""
    targets = (values.detach() > 0).to(values)
    return 2 * F.binary_cross_entropy_with_logits(values, targets.flip(-1))


def _at(span: Span, progress: float) -> float:
    return span[0] + (span[1] - span[0]) * progress
