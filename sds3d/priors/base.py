"""The prior seam: what an objective may ask of a frozen diffusion model, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sds3d.schedule import Schedule

TEXT = ("tokens", "pooled")  # fields of Cond that a network takes in its own precision


@dataclass(frozen=True)
class Cond:
    """A batch of B conditions. NaN rows of `camera` and `background` mean "not given"."""

    tokens: Tensor  # (B, T, D) text token states
    mask: Tensor  # (B, T) bool, True where a token is real
    camera: Tensor | None = None  # (B, 3) azimuth, elevation, fov in degrees
    background: Tensor | None = None  # (B,) grey level in [0, 1] behind the object
    image: Tensor | None = None  # (B, M, D) image-prompt tokens
    pooled: Tensor | None = None  # (B, P) the prompt in one vector
    control: Tensor | None = None  # (B, C, H, W) in [0, 1], what a ControlNet sees of the render

    def __len__(self) -> int:
        return len(self.tokens)

    def repeat(self, n: int) -> Cond:
        """A single condition repeated for n views."""
        return self.select(torch.zeros(n, dtype=torch.long, device=self.tokens.device)) if len(self) == 1 else self

    def select(self, index: Tensor) -> Cond:
        """Rows `index` of the batch."""
        return replace(self, **{k: v[index] for k, v in vars(self).items() if v is not None})

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Cond:
        """On the device; `dtype` is for the text's states alone."""
        moved = {k: v.to(device) for k, v in vars(self).items() if v is not None}
        return replace(self, **{k: v.to(dtype) if k in TEXT else v for k, v in moved.items()})

    def with_camera(self, angles: Tensor | None) -> Cond:
        """The same text seen from `angles` (B, 3); None forgets the camera."""
        return replace(self, camera=angles)

    def with_background(self, grey: Tensor | None) -> Cond:
        """The same text in front of `grey` (B,); None forgets the background."""
        return replace(self, background=grey)

    @staticmethod
    def cat(conds: list[Cond]) -> Cond:
        """Conditions of equal width one after the other; a missing camera or background becomes NaN rows, and what else
        is not given by all is dropped."""
        return Cond(
            torch.cat([c.tokens for c in conds]),
            torch.cat([c.mask for c in conds]),
            _cat_or_nan([c.camera for c in conds], conds),
            _cat_or_nan([c.background for c in conds], conds),
            _cat_or_none([c.image for c in conds]),
            _cat_or_none([c.pooled for c in conds]),
            _cat_or_none([c.control for c in conds]),
        )


def _cat_or_none(parts: list[Tensor | None]) -> Tensor | None:
    given = [p for p in parts if p is not None]
    return torch.cat(given) if len(given) == len(parts) else None


def _cat_or_nan(parts: list[Tensor | None], conds: list[Cond]) -> Tensor | None:
    given = next((p for p in parts if p is not None), None)
    if given is None:
        return None
    return torch.cat(
        [
            given.new_full((len(c), *given.shape[1:]), float("nan")) if p is None else p
            for p, c in zip(parts, conds, strict=True)
        ]
    )


class Prior(Protocol):
    """A frozen text-to-image diffusion model over x: pixels in [-1, 1] or scaled VAE latents.

    One that denoises several views of an object together says so (`views_per_object`).
    """

    @property
    def name(self) -> str: ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def size(self) -> int:
        """The image size, in pixels, that `encode` expects."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def capabilities(self) -> frozenset[str]:
        """Of {"camera", "background", "image", "control", "lora"}."""
        ...

    @property
    def network(self) -> torch.nn.Module | None:
        """What a critic adapts; None for closed-form priors."""
        ...

    def encode(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB in [0, 1] -> x (B, C, h, w), differentiable; resizes to `size` if need be."""
        ...

    def decode(self, x: Tensor) -> Tensor:
        """x -> (B, 3, H, W) sRGB, clamped to [0, 1]."""
        ...

    def text(self, prompts: list[str]) -> Cond:
        """Token states of the prompts; the empty string is the null condition."""
        ...

    def image(self, rgb: Tensor | None) -> Tensor:
        """Image-prompt tokens (B, M, D) of (B, 3, H, W) sRGB in [0, 1]; None is the trained "no image" state (1, M, D).

        Only where capabilities has "image"; UserError elsewhere.
        """
        ...

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w) in float32 (float64 for float64 oracles) whatever the network predicts, one batched forward.

        x_t (B, C, h, w), t (B,) integer timesteps, cond of length B. Several conditions go in one batch through
        `Cond.cat`; the guidance evaluator does that.
        """
        ...


def views_per_object(prior: Prior) -> int:
    """How many views of an object, one row after the other, the prior denoises together; 1 for most priors.

    Their cameras share the elevation and lie evenly around the object, and they are at one noise level.
    """
    return int(getattr(prior, "views_per_object", 1))
