"""`--scene grid`: a radiance field over a multi-resolution grid, rendered by marching through an occupancy grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.render.occupancy import OccupancyGrid
from sds3d.render.volume import ball_bounds, choose_backend, composite, cull, march
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
    levels: int = 3
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
    activation: Literal["softplus", "exp"] = "softplus"
    density_scale: float = 10.0
    blob_strength: float = 2.0
    blob_radius: float = 0.5
    step: float = 0.03125  # length of a ray sample
    occupancy: int = 64  # cells a side
    occupancy_every: int = 16  # steps between updates
    occupancy_decay: float = 0.8
    occupancy_threshold: float = 0.3  # density below which a cell is empty
    lr: Span = (3e-2, 1e-2)  # encoding
    lr_network: Span = (3e-3, 1e-3)
    sparsity: Span = (0.0, 0.0)  # mean of sqrt(alpha^2 + 0.01): less matter
    entropy: Span = (0.0, 0.0)  # mean binary entropy of alpha: no half transparent pixels
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
        self.steps = 0
        self._update_occupancy(generator)

    @classmethod
    def create(cls, config: GridConfig, device: torch.device | str, generator: torch.Generator) -> GridScene:
        """A new scene: a soft grey blob."""
        return cls(config, device, generator)

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB.

        `extra` holds "table" (the fused encoding of this step) and, if it is in use, "orientation" (the loss).
        """
        cameras, background = cameras.to(self.device), background.to(self.device)
        table = self.field.encoding.table()
        if torch.is_grad_enabled():
            return self._render(cameras, size, background, table)
        frames = [self._render(cameras[i : i + 1], size, background[i : i + 1], table) for i in range(len(cameras))]
        return Frame(*(torch.cat([getattr(f, name) for f in frames]) for name in ("rgb", "alpha", "depth")))

    def _render(self, cameras: Cameras, size: int, background: Tensor, table: Tensor) -> Frame:
        origins, directions = cameras.rays(size)  # (B, size^2, 3)
        cosine = (directions * cameras.forward[:, None]).sum(-1).view(-1)
        origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
        near, far = ball_bounds(origins, directions, self.occupancy.reach)
        phase = self._phase(len(near)) if torch.is_grad_enabled() else None
        samples = march(
            origins, directions, self.occupancy.cells, BOUND, near, far, self.config.step, phase, self.backend
        )
        with torch.no_grad():
            samples = cull(samples, self.field.density(table, samples.points), backend=self.backend)
        sigma, color = self.field(table, samples.points)
        out = composite(samples, sigma, color, self.backend)

        def image(pixels: Tensor) -> Tensor:  # (B size^2, C) -> (B, C, size, size)
            return pixels.view(len(cameras), size, size, -1).permute(0, 3, 1, 2)

        alpha = image(out.alpha[:, None])
        rgb = image(out.rgb) + (1 - alpha) * background[:, :, None, None]
        return Frame(rgb, alpha, image((out.depth * cosine)[:, None]), extra={"table": table})

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
        """Count the step; every `occupancy_every` steps look where matter is now."""
        self.steps += 1
        if self.steps % self.config.occupancy_every == 0:
            self._update_occupancy(generator)

    @torch.no_grad()
    def _update_occupancy(self, generator: torch.Generator) -> None:
        table = self.field.encoding.table()
        self.occupancy.update(lambda points: self.field.density(table, points), generator)

    def surface(self) -> Field:
        """Density and colour as they are now; the density is 0 outside of the ball, where nothing is rendered."""
        with torch.no_grad():
            table = self.field.encoding.table().clone()

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
        return {**state, "seed": torch.tensor(self.seed), "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place: optimisers keep their hold on the parameters."""
        for name, part in (("encoding", self.field.encoding), ("decoder", self.field.decoder)):
            for key, value in part.state_dict().items():
                value.copy_(state[f"{name}.{key}"])
        prefix = "occupancy."
        self.occupancy.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.seed, self.steps = int(state["seed"]), int(state["steps"])


def _field(config: GridConfig, device: torch.device, generator: torch.Generator) -> RadianceField:
    kind = config.encoding if config.encoding != "auto" else "hash" if device.type == "cuda" else "dense"
    dense, table = config.dense, config.hash
    encoding: Encoding
    if kind == "hash":
        encoding = HashGrid(
            table.levels,
            table.features,
            table.log2_size,
            table.coarsest,
            table.finest,
            BOUND,
            generator,
            device,
        )
    else:
        encoding = DenseGrid(dense.features or 4, dense.resolution, dense.levels, BOUND, device)
    direct = kind == "dense" and not dense.features
    decoder = Direct() if direct else Network(encoding.width, config.hidden, generator, device)
    blob = Blob(config.blob_strength, config.blob_radius)
    return RadianceField(encoding, decoder, blob, config.activation, config.density_scale)


def _at(span: Span, progress: float) -> float:
    return span[0] + (span[1] - span[0]) * progress


def total_variation(grid: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a grid (n, n, n, C)."""
    return sum(((grid.narrow(a, 1, grid.shape[a] - 1) - grid.narrow(a, 0, grid.shape[a] - 1)).abs().mean() for a in range(3)), start=grid.new_zeros(()))
