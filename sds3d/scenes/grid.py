"""`--scene grid`: a radiance field over a multi-resolution grid, rendered by marching through an occupancy grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.render.fallback import warn_if_slow
from sds3d.render.occupancy import OccupancyGrid
from sds3d.render.volume import (
    Samples,
    available_backends,
    ball_bounds,
    choose_backend,
    composite,
    cull,
    march,
    weights,
)
from sds3d.scenes import regularisers
from sds3d.scenes.backdrop import Backdrop
from sds3d.scenes.base import Field, Frame, ParamGroup
from sds3d.scenes.encodings import DenseGrid, Encoding, HashGrid
from sds3d.scenes.field import Blob, Direct, Network, RadianceField
from sds3d.scenes.grid_config import GridConfig, Span
from sds3d.scenes.shading import Light, draw_light, lambert
from sds3d.streams import stream

BOUND = 1.0  # the object lives in the unit ball


class GridScene:
    """A Scene (scenes/base.py). Training renders, those that record gradients, shift every ray's samples by a random
    part of a step, drawn from stream(seed, "jitter", step) with the counter kept in the state; others do not. Light and
    the learned background are for training renders too, drawn from "light" and "backdrop"."""

    def __init__(self, config: GridConfig, device: torch.device | str, generator: torch.Generator) -> None:
        self.config, self.device = config, torch.device(device)
        self.backend = choose_backend(config.backend, self.device)
        if config.backend == "auto":
            warn_if_slow("grids", self.backend, self.device, available_backends)
        self.field = _field(config, self.device, generator)
        self.occupancy = OccupancyGrid(
            config.occupancy, BOUND, config.occupancy_threshold, config.occupancy_decay, self.device
        )
        self.seed = int(torch.randint(2**31, (1,), generator=generator))
        self.backdrop = Backdrop(self.device) if config.background == "learned" else None
        self.steps, self.progress = 0, 0.0
        self._activate()
        self._update_occupancy(generator)

    @classmethod
    def create(cls, config: GridConfig, device: torch.device | str, generator: torch.Generator) -> GridScene:
        """A new scene: a soft grey blob."""
        return cls(config, device, generator)

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB.

        `extra`, in training, holds "table" (the encoding as this step read it), "marched" (how many samples were looked
        at) and "samples" (how many of them light reaches).
        """
        cameras, background = cameras.to(self.device), background.to(self.device)
        table = self.field.table()
        if torch.is_grad_enabled():
            return self._render(cameras, size, background, table)
        frames = [self._render(cameras[i : i + 1], size, background[i : i + 1], table) for i in range(len(cameras))]
        rgb, alpha, depth = (torch.cat([getattr(f, name) for f in frames]) for name in ("rgb", "alpha", "depth"))
        normals = [f.normal for f in frames if f.normal is not None]
        return Frame(rgb, alpha, depth, torch.cat(normals) if normals else None)

    def _render(self, cameras: Cameras, size: int, background: Tensor, table: Tensor) -> Frame:
        origins, directions = cameras.rays(size)  # (B, size^2, 3)
        cosine = (directions * cameras.forward[:, None]).sum(-1).view(-1)
        origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
        near, far = ball_bounds(origins, directions, self.occupancy.reach)
        phase = self._phase(len(near)) if torch.is_grad_enabled() else None
        step = _at(self.config.step, self.progress)
        marched = march(origins, directions, self.occupancy.cells, BOUND, near, far, step, phase, self.backend)
        with torch.no_grad():
            samples = cull(marched, self.field.density(table, marched.points), backend=self.backend)
        sigma, color = self.field(table, samples.points)
        extra: dict[str, Any] = {"table": table, "marched": len(marched), "samples": len(samples)}
        training = torch.is_grad_enabled()
        if training and max(self.config.shading.share) > 0:
            color = self._lit(table, samples, color, cameras, size)
        out = composite(samples, sigma, color, self.backend)
        if training and self.config.spread > 0 and self.progress >= self.config.spread_from:
            middle = (samples.start + samples.end) / 2
            away = (middle - out.depth.detach()[samples.ray]).square()[:, None].expand(-1, 3)
            extra["spread"] = regularisers.spread(composite(samples, sigma, away, self.backend).rgb[:, 0], out.alpha)

        def image(pixels: Tensor) -> Tensor:  # (B size^2, C) -> (B, C, size, size)
            return pixels.view(len(cameras), size, size, -1).permute(0, 3, 1, 2)

        normal = None
        if self.config.normals or (training and max(self.config.orientation) > 0):
            normals = self._normals(table, samples.points)
            if training and max(self.config.orientation) > 0:
                w = weights(samples, sigma.detach(), self.backend)
                extra["orientation"] = regularisers.orientation(w, normals, directions[samples.ray], samples.rays)
            if self.config.normals:
                mean = composite(samples, sigma, normals, self.backend).rgb
                normal = torch.nn.functional.normalize(image(mean), dim=1)
        alpha = image(out.alpha[:, None])
        behind = background[:, :, None, None]
        if training and self.backdrop is not None:
            behind = torch.where(self._on_backdrop(len(cameras)), image(self.backdrop(directions)), behind)
        rgb = image(out.rgb) + (1 - alpha) * behind
        return Frame(rgb, alpha, image((out.depth * cosine)[:, None]), normal, extra)

    def _normals(self, table: Tensor, points: Tensor) -> Tensor:
        return self.field.normals(table, points, BOUND / self.config.occupancy)

    def _lit(self, table: Tensor, samples: Samples, color: Tensor, cameras: Cameras, size: int) -> Tensor:
        """Colours (P, 3) of the samples under this step's light."""
        generator = stream(self.seed, "light", self.steps)
        light: Light = draw_light(self.config.shading, self.progress, cameras, generator)
        view = samples.ray // size**2  # (P,)
        chosen = light.on[view].nonzero()[:, 0]
        if not len(chosen):
            return color
        points, view = samples.points[chosen], view[chosen]
        shade = lambert(self._normals(table, points), points, light.position[view], self.config.shading)
        surface = torch.where(light.white[view, None], torch.ones_like(shade), color[chosen])
        return color.index_copy(0, chosen, surface * shade)

    def _on_backdrop(self, views: int) -> Tensor:
        """(B, 1, 1, 1) bool: which of this step's views have the learned background."""
        chance = torch.rand(views, generator=stream(self.seed, "backdrop", self.steps))
        return (chance < self.config.background_share).to(self.device).view(-1, 1, 1, 1)

    def _phase(self, rays: int) -> Tensor:
        return torch.rand(rays, generator=stream(self.seed, "jitter", self.steps)).to(self.device)

    def parameters(self) -> list[ParamGroup]:
        c = self.config
        groups = [ParamGroup("encoding", self.field.encoding.parameters(), *c.lr)]
        network = self.field.decoder.parameters()
        if network:
            groups.append(ParamGroup("network", network, *c.lr_network))
        if self.backdrop is not None:
            groups.append(ParamGroup("background", [self.backdrop.coefficients], *c.lr_background))
        return groups

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Weighted sum of the configured terms; 0 where every weight is 0."""
        c, extra = self.config, frame.extra or {}
        loss = frame.alpha.new_zeros(())
        if (weight := _at(c.sparsity, progress)) > 0:
            loss = loss + weight * regularisers.sparsity(frame.alpha)
        if (weight := _at(c.opacity, progress)) > 0:
            loss = loss + weight * regularisers.opacity(frame.alpha)
        if (weight := _at(c.entropy, progress)) > 0:
            loss = loss + weight * regularisers.entropy(frame.alpha)
        if "spread" in extra:
            share = (progress - c.spread_from) / max(1 - c.spread_from, 1e-6)
            loss = loss + c.spread * share * extra["spread"]
        if (weight := _at(c.variation, progress)) > 0:
            loss = loss + weight * regularisers.total_variation(extra["table"])
        if (weight := _at(c.orientation, progress)) > 0:
            loss = loss + weight * extra["orientation"]
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
        self._activate()
        if self.steps % self.config.occupancy_every == 0 or step + 1 == total:
            self._update_occupancy(generator)

    def _activate(self) -> None:
        """Let the encoding's levels come in."""
        c, encoding = self.config, self.field.encoding
        if c.progressive > 0:
            first = min(c.first_levels, encoding.count)
            more = (encoding.count - first) * self.progress / c.progressive
            encoding.active = min(encoding.count, first + int(more + 1e-9))

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
        if self.backdrop is not None:
            state["backdrop"] = self.backdrop.coefficients.detach()
        return {**state, **{name: torch.tensor(value, dtype=torch.float64) for name, value in own.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place: optimisers keep their hold on the parameters."""
        for name, part in (("encoding", self.field.encoding), ("decoder", self.field.decoder)):
            for key, value in part.state_dict().items():
                value.copy_(state[f"{name}.{key}"])
        prefix = "occupancy."
        self.occupancy.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        if self.backdrop is not None:
            self.backdrop.coefficients.copy_(state["backdrop"])
        self.seed, self.steps, self.progress = int(state["seed"]), int(state["steps"]), float(state["progress"])
        self._activate()


def _field(config: GridConfig, device: torch.device, generator: torch.Generator) -> RadianceField:
    kind = config.encoding if config.encoding != "auto" else "hash" if device.type == "cuda" else "dense"
    if kind == "hash" and max(config.variation) > 0:
        raise UserError("grid.variation is of neighbouring voxels: add grid.encoding=dense, or leave it out")
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
