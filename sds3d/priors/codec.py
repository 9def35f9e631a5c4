"""Pictures to what a network sees and back: pixels in [-1, 1], or the scaled latents of a VAE."""

from __future__ import annotations

from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor


class Codec(Protocol):
    """sRGB (B, 3, H, W) in [0, 1] <-> x (B, C, h, w)."""

    size: int

    def encode(self, rgb: Tensor) -> Tensor: ...

    def decode(self, x: Tensor) -> Tensor: ...


class Pixels:
    """x = 2 rgb - 1 at `size` pixels."""

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, rgb: Tensor) -> Tensor:
        return resize(rgb, self.size) * 2 - 1

    def decode(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2).clamp(0, 1)


class Latents:
    """x = (mean of the VAE's posterior - shift) * scale, computed in the VAE's own precision, float32 outside."""

    def __init__(self, vae: Any, size: int) -> None:
        self.vae, self.size = vae, size
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(vae.config.shift_factor or 0.0)
        self.checkpointing = False

    def encode(self, rgb: Tensor) -> Tensor:
        pixels = resize(rgb, self.size) * 2 - 1
        mean = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mean
        return (mean.float() - self.shift) * self.scale

    def decode(self, x: Tensor) -> Tensor:
        pixels = self.vae.decode((x / self.scale + self.shift).to(self.vae.dtype)).sample
        return ((pixels.float() + 1) / 2).clamp(0, 1)

    def checkpoint(self) -> None:
        """Keep less in memory between encoding and its backward pass, at the price of encoding twice."""
        self.vae.enable_gradient_checkpointing()
        self.checkpointing = True


def factor(vae: Any) -> int:
    """Pixels per latent, along one axis."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def resize(rgb: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size), differentiable; smaller pictures are averaged, not sampled."""
    if rgb.shape[-2:] == (size, size):
        return rgb
    return F.interpolate(rgb, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
