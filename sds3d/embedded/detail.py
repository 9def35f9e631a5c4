"""The detail stage: a small U-Net that adds what eigen-images cannot hold, edges and texture, at low noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOL = 2  # image pixels per eigen-image pixel and side
SCALES = (1, 2, 3)  # channels at half, quarter and eighth resolution, in units of the first
DOWN, UP = (1, 2, 2), (1, 1)  # blocks by resolution, on the way down and up


class Blocks(nn.Module):
    """n times x + conv(silu(x) (1 + scale(c)))."""

    def __init__(self, channels: int, cond: int, n: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(n))
        self.scale = nn.Linear(cond, n * channels)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scales = self.scale(c)[..., None, None].chunk(len(self.convs), 1)
        for conv, scale in zip(self.convs, scales, strict=True):
            x = x + conv(F.silu(x) * (1 + scale))
        return x


class Detail(nn.Module):
    """Residual at full resolution from the noisy image, the eigen-image answer and the condition.

    noisy (B, 3, 64, 64), coarse (B, 3, 32, 32), c (B, cond) -> (B, 3, 64, 64); zero before training.
    """

    def __init__(self, channels: int, cond: int) -> None:
        super().__init__()
        widths = [channels * s for s in SCALES]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.enter = nn.Conv2d(3 * POOL**2 + 3, channels, 3, padding=1)
        self.down = nn.ModuleList(Blocks(w, cond, n) for w, n in zip(widths, DOWN, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(Blocks(w, cond, n) for w, n in zip(widths[:-1], UP, strict=True))
        self.leave = nn.Conv2d(channels, 3 * POOL**2, 3, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, coarse: Tensor, c: Tensor) -> Tensor:
        x = self.enter(torch.cat([F.pixel_unshuffle(noisy, POOL), coarse], 1))  # (B, C, 32, 32)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                skips.append(x)
                x = self.shrink[level - 1](x)
            x = blocks(x, c)
        for grow, blocks in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = blocks(skips.pop() + F.interpolate(grow(x), scale_factor=2), c)
        return F.pixel_shuffle(self.leave(F.silu(x)), POOL)
