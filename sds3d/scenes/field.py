"""Radiance fields: an encoding, a decoder, and the activations between features, density and colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sds3d.scenes.encodings import DenseGrid, Encoding


class _TruncExp(torch.autograd.Function):
    """exp whose gradient is clamped (instant-ngp), so that one dense sample cannot blow a step up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x.clamp(max=11.0))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * torch.exp(x.clamp(-11.0, 11.0))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": torch.nn.functional.softplus,
    "exp": lambda x: _TruncExp.apply(x),
}


@dataclass(frozen=True)
class Blob:
    """The soft ball that a scene starts as: raw density strength (1 - r / radius) (Magic3D's form)."""

    strength: float
    radius: float

    def __call__(self, points: Tensor) -> Tensor:
        """(...,) raw density at points (..., 3)."""
        return self.strength - (self.strength / self.radius) * points.norm(dim=-1)


class Direct:
    """No network: a dense grid of width 4 holds the raw density and the colour's logit. The blob is its first value."""

    def __init__(self, grid: DenseGrid, blob: Blob) -> None:
        with torch.no_grad():
            coarsest = grid.levels[0]
            line = torch.linspace(-grid.bound, grid.bound, len(coarsest), device=coarsest.device)
            z, y, x = torch.meshgrid(line, line, line, indexing="ij")
            coarsest[..., 0] = blob(torch.stack([x, y, z], -1))

    def prepare(self, table: Tensor) -> Tensor:
        """Colours are squashed at the corners, once, and interpolated after; densities keep their sharp edges."""
        return torch.cat([table[..., :1], torch.sigmoid(table[..., 1:])], -1)

    def density_part(self, table: Tensor) -> Tensor:
        return table[..., :1]

    def __call__(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        if features.shape[-1] == 1:
            return features[:, 0], features[:, :0]
        raw, color = features.split((1, 3), -1)
        return raw[:, 0], color

    def parameters(self) -> list[torch.nn.Parameter]:
        return []

    def state_dict(self) -> dict[str, Tensor]:
        return {}


class Network:
    """One hidden ReLU layer from features (P, width) to the raw density, on top of the blob, and the colour's logit."""

    def __init__(
        self, width: int, hidden: int, blob: Blob, generator: torch.Generator, device: torch.device | str
    ) -> None:
        def uniform(rows: int, columns: int) -> torch.nn.Parameter:
            scale = columns**-0.5
            return torch.nn.Parameter(((torch.rand(rows, columns, generator=generator) * 2 - 1) * scale).to(device))

        self.inner, self.outer = uniform(hidden, width), uniform(4, hidden)
        self.bias = torch.nn.Parameter(torch.zeros(hidden, device=device))
        self.blob = blob

    def prepare(self, table: Tensor) -> Tensor:
        return table

    def density_part(self, table: Tensor) -> Tensor:
        return table

    def __call__(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.relu(features @ self.inner.T + self.bias) @ self.outer.T
        return out[:, 0] + self.blob(points), torch.sigmoid(out[:, 1:])

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.inner, self.bias, self.outer]

    def state_dict(self) -> dict[str, Tensor]:
        return {"inner": self.inner.detach(), "bias": self.bias.detach(), "outer": self.outer.detach()}


@dataclass(frozen=True)
class RadianceField:
    """Density and view-independent colour of points; `table` is what one step reads again and again."""

    encoding: Encoding
    decoder: Direct | Network
    activation: str  # a name in ACTIVATIONS

    def table(self) -> Tensor:
        return self.decoder.prepare(self.encoding.table())

    def __call__(self, table: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (P,) per unit length and colour (P, 3) sRGB at points (P, 3)."""
        raw, color = self.decoder(self.encoding.encode(table, points), points)
        return ACTIVATIONS[self.activation](raw), color

    def raw(self, table: Tensor, points: Tensor) -> Tensor:
        """(P,) what the density is the activation of."""
        return self.decoder(self.encoding.encode(self.decoder.density_part(table), points), points)[0]

    def density(self, table: Tensor, points: Tensor) -> Tensor:
        """(P,) the density alone."""
        return ACTIVATIONS[self.activation](self.raw(table, points))

    def normals(self, table: Tensor, points: Tensor, shift: float) -> Tensor:
        """(P, 3) unit, the way the density falls; 0 where it is even. By central differences over 2 `shift` of what the
        density is a rising function of: its level sets are the same, and it is nearly linear where that is steep."""
        axes = shift * torch.eye(3, device=points.device)
        slope = [self.raw(table, points + e) - self.raw(table, points - e) for e in axes]
        return -torch.nn.functional.normalize(torch.stack(slope, -1), dim=-1, eps=1e-8)
