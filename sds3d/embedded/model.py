"""The embedded prior's network: a residual MLP on eigen-images, then a small U-Net for what they cannot hold.

Images are projected on the corpus's principal components, which are orthonormal, so white noise stays white. For a
Gaussian with that spectrum the best denoiser is linear and known (Wiener); it is the skip connection, and the MLP
learns what is not Gaussian about objects. The detail stage sees the noisy image beside the MLP's answer and adds edges
and texture, at low noise only: at high noise there is nothing local to see.
"""

from __future__ import annotations

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sds3d.embedded.conditions import Conditioned
from sds3d.embedded.detail import POOL, Detail


class Block(nn.Module):
    """Residual MLP block, its normalised input scaled and shifted by the condition."""

    def __init__(self, width: int, hidden: int, cond: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(cond, 2 * width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.modulate(c).chunk(2, -1)
        return x + self.down(F.silu(self.up(self.norm(x) * (1 + scale) + shift)))


class EigenDenoiser(Conditioned):
    """Predicts x0 in eigen-space, then in pixels; see Conditioned for what it is told."""

    lora_targets = ("up", "down", "modulate")

    @register_to_config
    def __init__(
        self,
        components: int = 768,
        width: int = 1024,
        hidden: int = 2048,
        depth: int = 6,
        cond_width: int = 512,
        text_width: int = 384,
        queries: int = 6,
        detail_channels: int = 40,
        detail_sigma: float = 0.85,
        image_width: int = 192,
    ) -> None:
        super().__init__(components, cond_width, text_width, queries, image_width)
        self.enter = nn.Linear(components, width)
        self.blocks = nn.ModuleList(Block(width, hidden, cond_width) for _ in range(depth))
        self.leave = nn.Linear(width, components)
        self.detail = Detail(detail_channels, cond_width)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def denoise(self, x: Tensor, t: Tensor, c: Tensor, background: Tensor) -> Tensor:
        return self.refine(x, self.coarse(x, t, c, background), t, c)

    def wiener(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in (B, K) of the Gaussian with the corpus's spectrum (Karras 2022, eq. 7, per axis)."""
        total = alpha**2 * self.variance + sigma**2
        return alpha * self.variance / total, self.variance.sqrt() * sigma / total.sqrt(), total.rsqrt()

    def eigen(self, z: Tensor, c_in: Tensor, c: Tensor) -> Tensor:
        """F of x0 = c_skip z + c_out F: (B, K)."""
        h = self.enter((z * c_in).to(self.enter.weight.dtype))
        for block in self.blocks:
            h = block(h, c)
        return self.leave(h).float()

    def coarse(self, x: Tensor, t: Tensor, c: Tensor, background: Tensor) -> Tensor:
        """The eigen-image answer: x0 (B, 3, 32, 32) from x (B, 3, 64, 64)."""
        alpha, sigma = self.levels[t][:, :1], self.levels[t][:, 1:]  # (B, 1)
        z = self.project(x, background, alpha)
        c_skip, c_out, c_in = self.wiener(alpha, sigma)
        return self.image(c_skip * z + c_out * self.eigen(z, c_in, c), background)

    def refine(self, x: Tensor, coarse: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """x0 (B, 3, 64, 64): the coarse answer enlarged, with detail where the noise is low."""
        full = F.interpolate(coarse, scale_factor=POOL, mode="bilinear")
        low = self.levels[t][:, 1] < self.config["detail_sigma"]
        if low.all():
            return full + self._detail(x, coarse, c)
        if low.any():
            rows = low.nonzero()[:, 0]
            full = full.index_add(0, rows, self._detail(x[rows], coarse[rows], c[rows]))
        return full

    def _detail(self, x: Tensor, coarse: Tensor, c: Tensor) -> Tensor:
        dtype = self.time.weight.dtype
        return self.detail(x.to(dtype), coarse.to(dtype), c).float()
