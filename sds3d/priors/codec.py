"""Pictures to what a network sees and back: pixels in [-1, 1], or the scaled latents of a VAE."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint


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
    """x = (mean of the VAE's posterior - shift) * scale, computed in the VAE's own precision, float32 outside.

    The encoder's graph is most of a step's memory. `checkpoint` and `slice` make it smaller without changing a number;
    from then on views are encoded one by one, so that there is one view's worth of recomputed tensors at a time.
    """

    def __init__(self, vae: Any, size: int) -> None:
        self.vae, self.size = vae, size
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(getattr(vae.config, "shift_factor", None) or 0.0)
        self.checkpointing = self.slicing = False

    def encode(self, rgb: Tensor) -> Tensor:
        pixels = (resize(rgb, self.size) * 2 - 1).to(self.vae.dtype)
        views = pixels.split(1) if self.checkpointing else (pixels,)
        mean = torch.cat([self._encode(view) for view in views])
        return (mean.float() - self.shift) * self.scale

    def _encode(self, pixels: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(pixels).latent_dist.mean
        return mean

    def decode(self, x: Tensor) -> Tensor:
        pixels = self.vae.decode((x / self.scale + self.shift).to(self.vae.dtype)).sample
        return ((pixels.float() + 1) / 2).clamp(0, 1)

    def checkpoint(self) -> None:
        """Keep the ends of the encoder's residual blocks, and compute what is within again on the way back."""
        from diffusers.models.downsampling import Downsample2D
        from diffusers.models.resnet import ResnetBlock2D

        if not self.checkpointing:
            for module in self.vae.encoder.modules():
                if isinstance(module, (ResnetBlock2D, Downsample2D)):
                    recompute(module)
        self.checkpointing = True

    def slice(self) -> None:
        """Keep nothing: encode each view again when its gradient is due, in the way of `checkpoint`."""
        self.checkpoint()
        if not self.slicing:
            recompute(self.vae.encoder)
        self.slicing = True


def recompute(module: torch.nn.Module) -> None:
    """Let the module keep its inputs alone for the backward pass, and run again there. It must draw no numbers."""
    forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
    module.forward = forward  # type: ignore[method-assign]


def factor(vae: Any) -> int:
    """Pixels per latent, along one axis."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def resize(rgb: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size), differentiable; smaller pictures are averaged, not sampled."""
    if rgb.shape[-2:] == (size, size):
        return rgb
    return F.interpolate(rgb, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
