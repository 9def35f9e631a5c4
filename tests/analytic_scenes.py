"""Scenes with a closed form, for tests of what reads scenes: solids drawn by sphere tracing, and fog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.scenes.base import Field, Frame

Function = Callable[[Tensor], Tensor]


def sphere(radius: float = 0.8, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Function:
    return lambda p: (p - torch.tensor(centre)).norm(dim=-1) - radius


def box(x: float = 0.5, y: float = 0.35, z: float = 0.6) -> Function:
    def distance(p: Tensor) -> Tensor:
        out = p.abs() - torch.tensor([x, y, z])
        return out.clamp_min(0).norm(dim=-1) + out.amax(-1).clamp_max(0)

    return distance


def torus(radius: float = 0.6, tube: float = 0.22) -> Function:
    def distance(p: Tensor) -> Tensor:
        ring = p[..., [0, 2]].norm(dim=-1) - radius
        return torch.stack([ring, p[..., 1]], -1).norm(dim=-1) - tube

    return distance


def union(*parts: Function) -> Function:
    return lambda p: torch.stack([part(p) for part in parts]).amin(0)


def waves(p: Tensor) -> Tensor:
    """A colour that changes slowly enough for a texture to hold it."""
    return 0.5 + 0.45 * torch.sin(4 * p + torch.tensor([0.0, 2.0, 4.0]))


@dataclass
class Solid:
    """A hard surface around `distance` <= 0, drawn by sphere tracing; its field is a steep density."""

    distance: Function
    color: Function = waves
    sharpness: float = 60.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        origins, directions = cameras.rays(size)
        along = (directions * cameras.forward[:, None]).sum(-1)
        travelled = (cameras.distance - 1.1)[:, None].expand(along.shape).clone()
        for _ in range(48):
            travelled += self.distance(origins + directions * travelled[..., None])
        points = origins + directions * travelled[..., None]
        hit = (self.distance(points).abs() < 0.002) & (points.norm(dim=-1) < 2)
        rgb = torch.where(hit[..., None], self.color(points), background[:, None])
        shape = (len(cameras), 1, size, size)
        depth = (travelled * along * hit).view(shape)
        return Frame(rgb.mT.reshape(-1, 3, size, size), hit.float().view(shape), depth)

    def surface(self) -> Field:
        return Field(lambda p: 100 * torch.sigmoid(-self.sharpness * self.distance(p)), self.color, 1.0)


@dataclass
class Fog:
    """A Gaussian cloud of optical depth `thickness` through its middle: nothing in it is hard."""

    thickness: float
    width: float = 0.35
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        origins, directions = cameras.rays(size)
        nearest = origins - directions * (origins * directions).sum(-1, keepdim=True)
        depth = self.thickness * torch.exp(-(nearest**2).sum(-1) / (2 * self.width**2))
        shape = (len(cameras), 1, size, size)
        alpha = (1 - torch.exp(-depth)).view(shape)
        rgb = alpha * 0.7 + (1 - alpha) * background[:, :, None, None]
        return Frame(rgb.expand(-1, 3, -1, -1), alpha, cameras.distance.view(-1, 1, 1, 1) * (alpha > 0))

    def surface(self) -> Field:
        peak = self.thickness / (self.width * (2 * torch.pi) ** 0.5)

        def density(p: Tensor) -> Tensor:
            return peak * torch.exp(-(p**2).sum(-1) / (2 * self.width**2))

        return Field(density, lambda p: torch.full_like(p, 0.7), 1.0)
