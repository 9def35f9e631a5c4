"""Cameras. The world is right-handed, +Y up; an object's front looks along +Z. Inside, OpenCV: x right, y down, z on.

Azimuth 0 sees the front and grows towards +X; elevation 90 is from above. Degrees at every public surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.transfer import put

FILL = 0.95  # the unit ball's share of the image height; the embedded prior was trained with it


def fit_distance(fov: Tensor | float, fill: float = FILL) -> Tensor:
    """Distance at which the unit ball spans `fill` of the field of view `fov` (degrees)."""
    half = torch.deg2rad(torch.as_tensor(fov, dtype=torch.float32)) / 2
    return 1.0 / (torch.sin(half) * fill)


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras that look at the origin, principal point in the middle of a square image."""

    azimuth: Tensor  # (B,) degrees
    elevation: Tensor  # (B,) degrees
    fov: Tensor  # (B,) degrees, vertical = horizontal
    distance: Tensor  # (B,)

    def __len__(self) -> int:
        return len(self.azimuth)

    def __getitem__(self, i: slice | Tensor) -> Cameras:
        return Cameras(self.azimuth[i], self.elevation[i], self.fov[i], self.distance[i])

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(*(put(v, device) for v in (self.azimuth, self.elevation, self.fov, self.distance)))

    @property
    def angles(self) -> Tensor:
        """(B, 3) azimuth, elevation, fov in degrees: what a camera-conditioned prior is given."""
        return torch.stack([self.azimuth, self.elevation, self.fov], -1)

    @property
    def positions(self) -> Tensor:
        """(B, 3) camera centres in the world."""
        return -self.forward * self.distance[:, None]

    @property
    def forward(self) -> Tensor:
        """(B, 3) unit viewing directions."""
        a, e = torch.deg2rad(self.azimuth), torch.deg2rad(self.elevation)
        return -torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], -1)

    def world_to_camera(self) -> Tensor:
        """(B, 4, 4) OpenCV world-to-camera matrices. Well defined at the poles (up follows the azimuth)."""
        a, e = torch.deg2rad(self.azimuth), torch.deg2rad(self.elevation)
        zero = torch.zeros_like(a)
        right = torch.stack([a.cos(), zero, -a.sin()], -1)
        down = torch.stack([a.sin() * e.sin(), -e.cos(), a.cos() * e.sin()], -1)
        rotation = torch.stack([right, down, self.forward], -2)  # (B, 3, 3)
        matrix = torch.eye(4, device=a.device).repeat(len(a), 1, 1)
        matrix[:, :3, :3] = rotation
        matrix[:, 2, 3] = self.distance  # the origin lies on the axis, `distance` ahead
        return matrix

    def focal(self, size: int) -> Tensor:
        """(B,) focal length in pixels for a size x size image."""
        return size / 2 / torch.tan(torch.deg2rad(self.fov) / 2)

    def rays(self, size: int) -> tuple[Tensor, Tensor]:
        """Origins and unit directions, (B, size*size, 3) each, row-major over pixel centres."""
        pixel = torch.arange(size, device=self.fov.device) + 0.5 - size / 2
        y, x = torch.meshgrid(pixel, pixel, indexing="ij")
        local = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3).repeat(len(self), 1, 1)
        local = local / torch.stack([self.focal(size)] * 2 + [torch.ones_like(self.fov)], -1)[:, None]
        world = local @ self.world_to_camera()[:, :3, :3]  # rows are camera axes: local @ R = R^T local
        return self.positions[:, None].expand_as(world), torch.nn.functional.normalize(world, dim=-1)


def ring(n: int, elevations: tuple[float, ...], start: float = 0.0, fov: float = 40.0) -> Cameras:
    """n cameras evenly around the object, the elevations taken in turn."""
    fovs = torch.full((n,), fov)
    turns = torch.tensor([elevations[i % len(elevations)] for i in range(n)])
    return Cameras(start + torch.arange(n) * (360.0 / n), turns, fovs, fit_distance(fovs))


def orbit(n: int, elevation: float = 15.0, fov: float = 40.0, start: float = 0.0) -> Cameras:
    """n cameras evenly around the object, the first at azimuth `start`, fitted to the unit ball."""
    return ring(n, (elevation,), start, fov)


def sample_cameras(
    n: int,
    generator: torch.Generator,
    elevation: tuple[float, float] = (-10.0, 50.0),
    fov: tuple[float, float] = (35.0, 45.0),
    zoom: tuple[float, float] = (1.0, 1.0),
    group: int = 1,
) -> Cameras:
    """n random cameras, azimuth stratified over the circle, the rest uniform; `zoom` multiplies the fitted distance.

    Every `group` of them, which n is a multiple of, lie evenly around the object and share all but the azimuth.
    """
    groups = n // group

    def uniform(bounds: tuple[float, float]) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(groups, generator=generator)

    offset = torch.rand(1, generator=generator)
    jitter = torch.rand(groups, generator=generator)
    first = ((torch.arange(groups) + jitter) / groups + offset) % 1.0 * 360.0 / group
    azimuth = (first[:, None] + torch.arange(group) * (360.0 / group)).flatten()
    fovs = uniform(fov)
    shared = (uniform(elevation), fovs, fit_distance(fovs) * uniform(zoom))
    return Cameras(azimuth, *(values.repeat_interleave(group) for values in shared))


def view_name(azimuth: float, elevation: float) -> str:
    """The word for a view: overhead above 60 degrees, else front within 45, back beyond 135, else side."""
    if elevation > 60.0:
        return "overhead"
    off = abs((azimuth + 180.0) % 360.0 - 180.0)
    return "front" if off < 45.0 else "back" if off > 135.0 else "side"
