"""The prior seam: what an objective may ask of a frozen diffusion model, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sds3d.schedule import Schedule


@dataclass(frozen=True)
class Cond:
    """A batch of B conditions. `camera` rows of NaN mean "no camera given"."""

    tokens: Tensor  # (B, T, D) text token states
    mask: Tensor  # (B, T) bool, True where a token is real
    camera: Tensor | None = None  # (B, 3) azimuth, elevation, fov in degrees
    image: Tensor | None = None  # (B, M, D) image-prompt tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def repeat(self, n: int) -> Cond:
        """A single condition repeated for n views."""
        return self.select(torch.zeros(n, dtype=torch.long, device=self.tokens.device)) if len(self) == 1 else self

    def select(self, index: Tensor) -> Cond:
        """Rows `index` of the batch."""
        pick = {k: v[index] for k, v in vars(self).items() if v is not None}
        return replace(self, **pick)

    def with_camera(self, angles: Tensor | None) -> Cond:
        """The same text seen from `angles` (B, 3); None forgets the camera."""
        return replace(self, camera=angles)

    @staticmethod
    def cat(conds: list[Cond]) -> Cond:
        """Conditions of equal length and width one after the other; a missing camera becomes NaN rows."""
        cameras: Tensor | None = None
        if any(c.camera is not None for c in conds):
            cameras = torch.cat(
                [
                    c.camera if c.camera is not None else torch.full((len(c), 3), float("nan"), device=c.tokens.device)
                    for c in conds
                ]
            )
        images = [c.image for c in conds if c.image is not None]
        return Cond(
            torch.cat([c.tokens for c in conds]),
            torch.cat([c.mask for c in conds]),
            cameras,
            torch.cat(images) if len(images) == len(conds) else None,
        )


class Prior(Protocol):
    """A frozen text-to-image diffusion model over x: pixels in [-1, 1] or scaled VAE latents."""

    schedule: Schedule
    capabilities: frozenset[str]  # of {"camera", "image", "depth", "lora"}
    size: int  # the image size, in pixels, that `encode` expects
    device: torch.device
    name: str
    network: torch.nn.Module | None  # what a critic adapts; None for closed-form priors

    def encode(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB in [0, 1] -> x (B, C, h, w), differentiable; resizes to `size` if need be."""
        ...

    def decode(self, x: Tensor) -> Tensor:
        """x -> (B, 3, H, W) sRGB, clamped to [0, 1]."""
        ...

    def text(self, prompts: list[str]) -> Cond:
        """Token states of the prompts; the empty string is the null condition."""
        ...

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w) in float32 (float64 for float64 oracles) whatever the network predicts, one batched forward.

        x_t (B, C, h, w), t (B,) integer timesteps, cond of length B. Several conditions go in one batch through
        `Cond.cat`; the guidance evaluator does that.
        """
        ...
