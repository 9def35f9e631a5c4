"""The scene seam: something differentiable that cameras can look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sds3d.camera import Cameras


@dataclass
class Frame:
    """What B cameras saw. `rgb` is composited over the background; `depth` is along the view axis, alpha-weighted
    mean over the covered part (0 where alpha is 0)."""

    rgb: Tensor  # (B, 3, H, W) sRGB
    alpha: Tensor  # (B, 1, H, W)
    depth: Tensor  # (B, 1, H, W)
    normal: Tensor | None = None  # (B, 3, H, W) unit, world axes
    extra: dict[str, Any] | None = None  # what the scene's own after_step or regulariser needs


@dataclass
class ParamGroup:
    """One optimiser group: Adam's learning rate follows lr * (final/lr)^progress. Rates that are for so many `steps`
    from the first noise level to the last shrink where a run takes more for that: Adam's way is rate times steps, and
    noise that sticks to the object pulls it the same way at every step."""

    name: str
    params: list[torch.nn.Parameter]
    lr: float
    final: float  # learning rate at the end of the run
    steps: float = math.inf


@dataclass(frozen=True)
class Field:
    """A surface to extract: `density` maps (P, 3) world points to (P,) non-negative opacity per unit length (or any
    monotone occupancy), `color` maps (P, 3) points to (P, 3) sRGB. The object lies in [-bound, bound]^3."""

    density: Callable[[Tensor], Tensor]
    color: Callable[[Tensor], Tensor]
    bound: float


@dataclass(frozen=True)
class OwnMesh:
    """The triangles of a scene that is made of them, on the CPU."""

    vertices: Tensor  # (V, 3)
    faces: Tensor  # (F, 3) counter-clockwise from outside
    given: bool = False  # an asset's own: to be kept as it is, with normals that break where vertices are doubled
    color: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # points, face, shares of its corners -> sRGB


class Scene(Protocol):
    """Splats, grid, ...: owns its parameters and its optimiser's housekeeping."""

    device: torch.device

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB."""
        ...

    def parameters(self) -> list[ParamGroup]: ...

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Scalar loss of the scene's own priors (opacity, size, sparsity, ...) for this frame."""
        ...

    def after_backward(self, step: int, total: int, frame: Frame, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Gradients are there, the optimisers have not stepped: collect statistics."""
        ...

    def after_step(
        self,
        step: int,
        total: int,
        frame: Frame,
        optimizers: dict[str, torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """The optimisers have stepped: densify, prune, update occupancy."""
        ...

    def surface(self) -> Field: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...
