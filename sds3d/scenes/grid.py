"""`--scene grid`: a radiance field over a multi-resolution grid, rendered by marching through an occupancy grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.render.occupancy import OccupancyGrid
from sds3d.render.volume import Samples, ball_bounds, choose_backend, composite, cull, march, weights
from sds3d.scenes.base import Field, Frame, ParamGroup
from sds3d.scenes.encodings import DenseGrid, Encoding, HashGrid
from sds3d.scenes.field import Blob, Direct, Network, RadianceField
from sds3d.streams import stream

BOUND = 1.0  # the object lives in the unit ball
Span = tuple[float, float]  # a weight at the start and at the end of a run, linear between


@dataclass(frozen=True)
class DenseConfig:
    """Nested voxel grids."""

    resolution: int = 64  # cells a side at the finest level
    levels: int = 4
    features: int = 0  # per voxel, decoded by the network; 0 stores density and colour themselves


@dataclass(frozen=True)
class HashConfig:
    """Multi-resolution hash grid."""

    levels: int = 12
    features: int = 2
    log2_size: int = 17  # entries per level
    coarsest: int = 16
    finest: int = 512


@dataclass(frozen=True)
class GridConfig:
    """The grid scene. Spans are (start, end) of the run."""

    encoding: Literal["auto", "dense", "hash"] = "auto"  # auto: dense on the CPU, hash on CUDA
    backend: str = "auto"  # of volume.available_backends()
    dense: DenseConfig = field(default_factory=DenseConfig)
    hash: HashConfig = field(default_factory=HashConfig)
    hidden: int = 32  # width of the decoding network
    activation: Literal["exp", "softplus"] = "exp"  # of the density
    blob_strength: float = 2.0  # raw density in the middle of the first blob
    blob_radius: float = 0.6  # where it has fallen to 0
    step: Span = (0.05, 0.03)  # length of a ray sample
    occupancy: int = 64  # cells a side
    occupancy_every: int = 16  # steps between updates
    occupancy_decay: float = 0.8
    occupancy_threshold: float = 0.3  # density below which a cell is empty
    lr: Span = (3e-2, 1e-2)  # encoding
    lr_network: Span = (1e-2, 3e-3)
    sparsity: Span = (1.0, 3.0)  # mean of sqrt(alpha^2 + 0.01): less matter
    entropy: Span = (0.0, 5.0)  # mean binary entropy of alpha: no half transparent pixels
    variation: Span = (0.0, 0.0)  # mean |difference| of neighbouring voxels (dense encoding)
    orientation: Span = (0.0, 0.0)  # mean w max(n . d, 0)^2: no surface that faces away (Ref-NeRF, eq. 11)


class GridScene:
    """A Scene (scenes/base.py). Training renders, those that record gradients, shift every ray's samples by a random
    part of a step, drawn from stream(seed, "jitter", step) with the counter kept in the state; others do not."""

    def __init__(self, config: GridConfig, device: torch.device | str, generator: torch.Generator) -> None:
        self.config, self.device = config, torch.device(device)
        self.backend = choose_backend(config.backend, self.device)
        self.field = _field(config, self.device, generator)
        self.occupancy = OccupancyGrid(
            config.occupancy, BOUND, config.occupancy_threshold, config.occupancy_decay, self.device
        )
        self.seed = int(torch.randint(2**31, (1,), generator=generator))
        self.steps, self.progress = 0, 0.0
        self._update_occupancy(generator)

    @classmethod
    def create(cls, config: GridConfig, device: torch.device | str, generator: torch.Generator) -> GridScene:
        """A new scene: a soft grey blob."""
        return cls(config, device, generator)

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB.

        `extra`, in training, holds "table" (the encoding as this step read it) and "samples" (how many were shaded).
        """
        cameras, background = cameras.to(self.device), background.to(self.device)
        table = self.field.table()
        if torch.is_grad_enabled():
            return self._render(cameras, size, background, table)
        frames = [self._render(cameras[i : i + 1], size, background[i : i + 1], table) for i in range(len(cameras))]
        rgb, alpha, depth = (torch.cat([getattr(f, name) for f in frames]) for name in ("rgb", "alpha", "depth"))
        return Frame(rgb, alpha, depth)

    def _render(self, cameras: Cameras, size: int, background: Tensor, table: Tensor) -> Frame:
        origins, directions = cameras.rays(size)  # (B, size^2, 3)
        cosine = (directions * cameras.forward[:, None]).sum(-1).view(-1)
        origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
        near, far = ball_bounds(origins, directions, self.occupancy.reach)
        phase = self._phase(len(near)) if torch.is_grad_enabled() else None
        step = _at(self.config.step, self.progress)
        samples = march(origins, directions, self.occupancy.cells, BOUND, near, far, step, phase, self.backend)
        with torch.no_grad():
            samples = cull(samples, self.field.density(table, samples.points), backend=self.backend)
        sigma, color = self.field(table, samples.points)
        out = composite(samples, sigma, color, self.backend)
        extra: dict[str, Any] = {"table": table, "samples": len(samples)}
        if torch.is_grad_enabled() and max(self.config.orientation) > 0:
            extra["orientation"] = self._orientation(table, samples, directions, sigma.detach())

        def image(pixels: Tensor) -> Tensor:  # (B size^2, C) -> (B, C, size, size)
            return pixels.view(len(cameras), size, size, -1).permute(0, 3, 1, 2)

        alpha = image(out.alpha[:, None])
        rgb = image(out.rgb) + (1 - alpha) * background[:, :, None, None]
        return Frame(rgb, alpha, image((out.depth * cosine)[:, None]), extra=extra)

    def _orientation(self, table: Tensor, samples: Samples, directions: Tensor, sigma: Tensor) -> Tensor:
        """Mean over the rays of sum w max(n . d, 0)^2, normals n from central differences of the density."""
        shift = BOUND / self.config.occupancy * torch.eye(3, device=self.device)
        slope = [
            self.field.density(table, samples.points + e) - self.field.density(table, samples.points - e) for e in shift
        ]
        normal = -torch.nn.functional.normalize(torch.stack(slope, -1), dim=-1, eps=1e-8)
        away = (normal * directions[samples.ray]).sum(-1).clamp(min=0)
        return (weights(samples, sigma, self.backend) * away.square()).sum() / samples.rays

    def _phase(self, rays: int) -> Tensor:
        return torch.rand(rays, generator=stream(self.seed, "jitter", self.steps)).to(self.device)

    def parameters(self) -> list[ParamGroup]:
        c = self.config
        groups = [ParamGroup("encoding", self.field.encoding.parameters(), *c.lr)]
        network = self.field.decoder.parameters()
        return [*groups, ParamGroup("network", network, *c.lr_network)] if network else groups

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Weighted sum of the configured terms; 0 where every weight is 0."""
        c = self.config
        loss = frame.alpha.new_zeros(())
        if (weight := _at(c.sparsity, progress)) > 0:
            loss = loss + weight * (frame.alpha.square() + 0.01).sqrt().mean()
        if (weight := _at(c.entropy, progress)) > 0:
            alpha = frame.alpha.clamp(1e-3, 1 - 1e-3)
            loss = loss + weight * torch.nn.functional.binary_cross_entropy(alpha, alpha)
        if (weight := _at(c.variation, progress)) > 0 and isinstance(self.field.encoding, DenseGrid):
            assert frame.extra is not None
            loss = loss + weight * total_variation(frame.extra["table"])
        if (weight := _at(c.orientation, progress)) > 0:
            assert frame.extra is not None
            loss = loss + weight * frame.extra["orientation"]
        return loss

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
        """Count the step; every `occupancy_every` steps, and after the last one, look where matter is now."""
        self.steps, self.progress = self.steps + 1, (step + 1) / total
        if self.steps % self.config.occupancy_every == 0 or step + 1 == total:
            self._update_occupancy(generator)

    @torch.no_grad()
    def _update_occupancy(self, generator: torch.Generator) -> None:
        table = self.field.table()
        self.occupancy.update(lambda points: self.field.density(table, points), generator)

    def surface(self) -> Field:
        """Density and colour as they are now; the density is 0 outside of the ball, where nothing is rendered."""
        with torch.no_grad():
            table = self.field.table().clone()

        @torch.no_grad()
        def density(points: Tensor) -> Tensor:
            return self.field.density(table, points) * (points.norm(dim=-1) < BOUND)

        @torch.no_grad()
        def color(points: Tensor) -> Tensor:
            return self.field(table, points)[1]

        return Field(density, color, BOUND)

    def state_dict(self) -> dict[str, Tensor]:
        parts = {"encoding": self.field.encoding, "decoder": self.field.decoder, "occupancy": self.occupancy}
        state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        own = {"seed": self.seed, "steps": self.steps, "progress": self.progress}
        return {**state, **{name: torch.tensor(value, dtype=torch.float64) for name, value in own.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place: optimisers keep their hold on the parameters."""
        for name, part in (("encoding", self.field.encoding), ("decoder", self.field.decoder)):
            for key, value in part.state_dict().items():
                value.copy_(state[f"{name}.{key}"])
        prefix = "occupancy."
        self.occupancy.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.seed, self.steps, self.progress = int(state["seed"]), int(state["steps"]), float(state["progress"])


def _field(config: GridConfig, device: torch.device, generator: torch.Generator) -> RadianceField:
    kind = config.encoding if config.encoding != "auto" else "hash" if device.type == "cuda" else "dense"
    dense, table = config.dense, config.hash
    blob = Blob(config.blob_strength, config.blob_radius)
    if kind == "dense" and not dense.features:
        direct = DenseGrid(4, dense.resolution, dense.levels, BOUND, device=device)
        return RadianceField(direct, Direct(direct, blob), config.activation)
    if kind == "dense":
        encoding: Encoding = DenseGrid(dense.features, dense.resolution, dense.levels, BOUND, 0.1, generator, device)
    else:
        sizes = (table.levels, table.features, table.log2_size, table.coarsest, table.finest)
        encoding = HashGrid(*sizes, BOUND, generator, device)
    network = Network(encoding.width, config.hidden, blob, generator, device)
    return RadianceField(encoding, network, config.activation)


def _at(span: Span, progress: float) -> float:
    return span[0] + (span[1] - span[0]) * progress


def total_variation(grid: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a grid (n, n, n, C), summed over the three axes."""
    return torch.stack([grid.diff(dim=axis).abs().mean() for axis in range(3)]).sum()
