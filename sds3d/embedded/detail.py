"""The detail stage: a small U-Net that adds what eigen-images cannot hold, edges and texture, at low noise."""

from __future__ import annotations

from collections.abc import Sequence

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


class UNet(nn.Module):
    """Blocks at ever lower resolutions and back, with skips; zero before training.

    x (B, inputs, H, W), c (B, cond) -> (B, outputs, H, W); level i has scales[i] times `channels` channels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: int,
        cond: int,
        scales: Sequence[int] = SCALES,
        down: Sequence[int] = DOWN,
        up: Sequence[int] = UP,
        blocks: type[Blocks] = Blocks,
    ) -> None:
        super().__init__()
        widths = [channels * s for s in scales]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.enter = nn.Conv2d(inputs, channels, 3, padding=1)
        self.down = nn.ModuleList(blocks(w, cond, n) for w, n in zip(widths, down, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(blocks(w, cond, n) for w, n in zip(widths[:-1], up, strict=True))
        self.leave = nn.Conv2d(channels, outputs, 3, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.enter(x)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                skips.append(x)
                x = self.shrink[level - 1](x)
            x = blocks(x, c)
        for grow, blocks in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = blocks(skips.pop() + F.interpolate(grow(x), scale_factor=2), c)
        leave: Tensor = self.leave(F.silu(x))
        return leave


class Detail(UNet):
    """Residual at full resolution from the noisy image, the answer at half of it and the condition.

    noisy (B, 3, 64, 64), coarse (B, 3, 32, 32), c (B, cond) -> (B, 3, 64, 64); zero before training.
    """

    def __init__(self, channels: int, cond: int) -> None:
        super().__init__(3 * POOL**2 + 3, 3 * POOL**2, channels, cond)

    def forward(self, noisy: Tensor, coarse: Tensor, c: Tensor) -> Tensor:  # type: ignore[override]
        return F.pixel_shuffle(super().forward(torch.cat([F.pixel_unshuffle(noisy, POOL), coarse], 1), c), POOL)
