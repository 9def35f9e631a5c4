"""Radiance fields: an encoding, a decoder, and the activations between features, density and colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.scenes.encodings import Encoding


class _TruncExp(torch.autograd.Function):
    """exp whose gradient is clamped (instant-ngp), so that one dense sample cannot blow a step up."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x.clamp(max=11.0))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * torch.exp(x.clamp(-11.0, 11.0))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": torch.nn.functional.softplus,
    "exp": lambda x: _TruncExp.apply(x),
}


class Direct:
    """Features are density and colour themselves."""

    def __call__(self, features: Tensor) -> Tensor:
        return features

    def parameters(self) -> list[torch.nn.Parameter]:
        return []

    def state_dict(self) -> dict[str, Tensor]:
        return {}


class Network:
    """One hidden ReLU layer: (P, width) features -> (P, 4) raw density and colour."""

    def __init__(self, width: int, hidden: int, generator: torch.Generator, device: torch.device | str) -> None:
        def uniform(rows: int, columns: int) -> torch.nn.Parameter:
            scale = columns**-0.5
            return torch.nn.Parameter(((torch.rand(rows, columns, generator=generator) * 2 - 1) * scale).to(device))

        self.inner, self.outer = uniform(hidden, width), uniform(4, hidden)
        self.bias = torch.nn.Parameter(torch.zeros(hidden, device=device))

    def __call__(self, features: Tensor) -> Tensor:
        return torch.relu(features @ self.inner.T + self.bias) @ self.outer.T

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.inner, self.bias, self.outer]

    def state_dict(self) -> dict[str, Tensor]:
        return {"inner": self.inner.detach(), "bias": self.bias.detach(), "outer": self.outer.detach()}


@dataclass(frozen=True)
class Blob:
    """DreamFusion's start in Magic3D's form: strength (1 - r / radius) is added to the raw density."""

    strength: float
    radius: float

    def __call__(self, points: Tensor) -> Tensor:
        return self.strength - (self.strength / self.radius) * points.norm(dim=-1)


@dataclass(frozen=True)
class RadianceField:
    """Density and view-independent colour of points; `table` is what one step reads again and again."""

    encoding: Encoding
    decoder: Direct | Network
    blob: Blob
    activation: str
    scale: float  # density per unit of activation

    def raw(self, table: Tensor, points: Tensor) -> Tensor:
        """(P, 4) before the activations."""
        return self.decoder(self.encoding.encode(table, points))

    def __call__(self, table: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (P,) per unit length and colour (P, 3) sRGB at points (P, 3)."""
        raw = self.raw(table, points)
        return self._density(raw[:, 0], points), torch.sigmoid(raw[:, 1:4])

    def density(self, table: Tensor, points: Tensor) -> Tensor:
        """(P,) the density alone."""
        if isinstance(self.decoder, Direct):
            table = table[..., :1]
        return self._density(self.raw(table, points)[:, 0], points)

    def _density(self, raw: Tensor, points: Tensor) -> Tensor:
        return self.scale * ACTIVATIONS[self.activation](raw + self.blob(points))
