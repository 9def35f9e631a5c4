"""Two other networks for the embedded prior's seat, of the same latency: what the eigen-space MLP is measured against.

Both work on pixels, a patch transformer (Peebles & Xie 2023, "Scalable Diffusion Models with Transformers") and a U-Net
of the detail stage's kind that sees all noise levels. They take the conditions of the MLP and are sampled alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sds3d.embedded.conditions import GRID, SIZE, Conditioned
from sds3d.embedded.detail import POOL, Blocks, UNet
from sds3d.embedded.model import EigenDenoiser

PATCH = 8  # pixels of a token and side
HEAD = 64  # channels of an attention head


class PixelDenoiser(Conditioned):
    """Predicts x0 in pixels, preconditioned for one Gaussian around the mean image (Karras 2022, eq. 7), whose variance
    is the corpus's mean over the pixels. Kinds have a `body` (B, 3, 64, 64), (B, cond) -> (B, 3, 64, 64)."""

    body: nn.Module

    def scalings(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, c_skip, c_out, c_in (B, 1, 1, 1)."""
        alpha, sigma = (self.levels[t][:, i].view(-1, 1, 1, 1) for i in (0, 1))
        spread = self.variance.sum() / (3 * SIZE**2)  # of a pixel
        total = alpha**2 * spread + sigma**2
        return alpha, alpha * spread / total, spread.sqrt() * sigma / total.sqrt(), total.rsqrt()

    def middle(self, background: Tensor) -> Tensor:
        """(B,) grey -> (B, 3, 64, 64) mean image."""
        return F.interpolate(self.centre(background).view(-1, 3, GRID, GRID), scale_factor=POOL, mode="bilinear")

    def denoise(self, x: Tensor, t: Tensor, c: Tensor, background: Tensor) -> Tensor:
        alpha, c_skip, c_out, c_in = self.scalings(t)
        middle = self.middle(background)
        noisy = x - alpha * middle
        predicted = self.body((c_in * noisy).to(self.time.weight.dtype), c).float()
        return middle + c_skip * noisy + c_out * predicted


class TransformerBlock(nn.Module):
    """Attention and MLP, both scaled, shifted and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, cond: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(cond, 6 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for parameter in self.modulate.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift, gate, scale2, shift2, gate2 = self.modulate(c)[:, None].chunk(6, -1)
        h = self.qkv(self.norm(x) * (1 + scale) + shift)  # (B, T, 3 W)
        q, k, v = h.unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)  # (B, heads, T, HEAD) each
        x = x + gate * self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + gate2 * self.down(F.gelu(self.up(self.norm(x) * (1 + scale2) + shift2), approximate="tanh"))


class Transformer(nn.Module):
    """Patches in, patches out; zero before training."""

    def __init__(self, width: int, depth: int, cond: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.place = nn.Parameter(torch.randn((SIZE // PATCH) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, cond) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(cond, 2 * width)
        self.leave = nn.Linear(width, 3 * PATCH**2)
        for parameter in (*self.modulate.parameters(), *self.leave.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.enter(x).flatten(2).transpose(1, 2) + self.place  # (B, 64, W)
        for block in self.blocks:
            h = block(h, c)
        scale, shift = self.modulate(c)[:, None].chunk(2, -1)
        patches = self.leave(self.norm(h) * (1 + scale) + shift)
        return F.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (SIZE // PATCH, -1)), PATCH)


class NormedBlocks(Blocks):
    """n times x + conv(silu(norm(x) (1 + scale(c)) + shift(c))): it is to draw from nothing, not only to sharpen."""

    def __init__(self, channels: int, cond: int, n: int) -> None:
        super().__init__(channels, cond, n)
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(n))
        self.shift = nn.Linear(cond, n * channels)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scales, shifts = (f(c)[..., None, None].chunk(len(self.convs), 1) for f in (self.scale, self.shift))
        for conv, norm, scale, shift in zip(self.convs, self.norms, scales, shifts, strict=True):
            x = x + conv(F.silu(norm(x) * (1 + scale) + shift))
        return x


class Pyramid(UNet):
    """The U-Net on blocks of 2x2 pixels."""

    def __init__(self, channels: int, cond: int, scales: Sequence[int], down: Sequence[int], up: Sequence[int]) -> None:
        pixels = 3 * POOL**2
        super().__init__(pixels, pixels, channels, cond, scales, down, up, NormedBlocks)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(x, POOL), c), POOL)


class PatchTransformer(PixelDenoiser):
    """64 tokens of 8x8 pixels."""

    @register_to_config
    def __init__(
        self,
        components: int = 768,
        width: int = 256,
        depth: int = 7,
        cond_width: int = 512,
        text_width: int = 384,
        queries: int = 6,
        image_width: int = 192,
    ) -> None:
        super().__init__(components, cond_width, text_width, queries, image_width)
        self.body = Transformer(width, depth, cond_width)


class PixelUNet(PixelDenoiser):
    """Convolutions at 32, 16, 8 and 4 pixels a side."""

    @register_to_config
    def __init__(
        self,
        components: int = 768,
        channels: int = 48,
        scales: Sequence[int] = (1, 2, 4, 8),
        down: Sequence[int] = (2, 3, 3, 4),
        up: Sequence[int] = (2, 2, 3),
        cond_width: int = 512,
        text_width: int = 384,
        queries: int = 6,
        image_width: int = 192,
    ) -> None:
        super().__init__(components, cond_width, text_width, queries, image_width)
        self.body = Pyramid(channels, cond_width, scales, down, up)


KINDS: dict[str, Callable[..., Conditioned]] = {
    "eigen": EigenDenoiser,
    "transformer": PatchTransformer,
    "unet": PixelUNet,
}
