"""The probe's network: a small residual CNN (He et al. 2015) whose pictures meet MiniLM sentences in one space.

The prior is a perceptron in eigen-image space; nothing is shared with it but the frozen text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 64  # pixels a side of what it looks at
TEXT = 384  # width of a MiniLM state


class Seen(NamedTuple):
    """What the network says of B pictures."""

    embedding: Tensor  # (B, D) unit length
    colour: Tensor  # (B, C) logits
    azimuth: Tensor  # (B, 2) sine and cosine, shorter than 1 where in doubt


def convolution(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, bias=False), nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels, 3), convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class ProbeNet(nn.Module):
    """Pictures -> unit embedding, colour logits, azimuth; sentence vectors -> unit embedding."""

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64, 160), blocks: Sequence[int] = (0, 1, 1), hidden: int = 320,
        dimension: int = 192, colours: int = 12,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape = {  # what makes the same network again
            **{"widths": list(widths), "blocks": list(blocks), "hidden": hidden},
            **{"dimension": dimension, "colours": colours},
        }
        self.stem = convolution(3, widths[0], 4, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(a, b, 3, 2), nn.ReLU(), *(Residual(b) for _ in range(n)))
            for a, b, n in zip(widths, widths[1:], blocks, strict=False)
        )
        grid = SIZE >> len(widths)
        self.trunk = nn.Linear(widths[-1] * grid * grid, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.embedding = nn.Linear(hidden, dimension)
        self.colour = nn.Linear(hidden + widths[0] + widths[1], colours)
        self.azimuth = nn.Linear(hidden, 2)
        self.text = nn.Linear(TEXT, dimension, bias=False)
        self.register_buffer("text_mean", torch.zeros(TEXT))
        self.log_scale = nn.Parameter(torch.tensor(2.7))
        self.text_mean: Tensor
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Seen:
        """(B, 3, 64, 64) in [0, 1]."""
        x = (pictures * 4 - 3).contiguous(memory_format=torch.channels_last)  # mostly white: mean about 0
        x = F.relu(self.stem(x))
        early = [x.mean((2, 3))]
        for stage in self.stages:
            x = stage(x)
            early.append(x.mean((2, 3)))
        h = F.relu(self.norm(self.trunk(x.flatten(1))))  # (B, hidden)
        return Seen(F.normalize(self.embedding(h), dim=-1), self.colour(torch.cat([h, *early[:2]], 1)), self.azimuth(h))

    def sentences(self, vectors: Tensor) -> Tensor:
        """(n, 384) mean token states -> (n, D) unit length."""
        return F.normalize(self.text(vectors - self.text_mean), dim=-1)

    @torch.no_grad()
    def whiten(self, vectors: Tensor) -> None:
        """Start the text projection from the principal components of sentence vectors (n, 384), whitened."""
        self.text_mean.copy_(vectors.mean(0))
        values, basis = torch.linalg.eigh(torch.cov((vectors - self.text_mean).T))
        d = self.text.out_features
        scale = (values[-d:] + 0.1 * values[-d:].mean()).rsqrt()
        self.text.weight.copy_((basis[:, -d:] * scale).T)


def fit(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) of any size -> (B, 3, 64, 64), in [0, 1]."""
    if pictures.shape[-2:] != (SIZE, SIZE):
        pictures = F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    return pictures.clamp(0, 1)


def mean_states(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, 384) token states and mask -> (B, 384) mean over real tokens, unit length."""
    weight = mask[..., None].float()
    return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
