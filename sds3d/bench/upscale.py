"""`sds3d prior upscale`: what a second stage at 128 pixels would be worth.

Held-out objects are rendered at 64 and at 128 pixels. Bicubic enlargement of the one misses some of the other: all that
a second stage could add. A U-Net of the detail stage's blocks learns from other objects how much of it can be known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.bench.rivals import fastest, predict
from sds3d.embedded.corpus.catalogue import Entry, catalogue, seed_of, unit_hash
from sds3d.embedded.corpus.render import MOST_FACES, shoot
from sds3d.embedded.corpus.variants import normalise
from sds3d.embedded.data import premultiplied
from sds3d.embedded.detail import Detail, UNet
from sds3d.embedded.model import EigenDenoiser
from sds3d.files import replacing
from sds3d.streams import stream

SMALL, LARGE = 64, 128
CHANNELS = 40  # of the first level, as in the detail stage
BATCH, PEAK, WARMUP = 8, 2e-3, 20


@dataclass(frozen=True)
class Pairs:
    """The same views at both sizes."""

    small: Tensor  # (N, 64, 64, 4) straight RGBA uint8
    large: Tensor  # (N, 128, 128, 4)
    source: list[str]  # of each

    def over_white(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """small (n, 3, 64, 64) and large (n, 3, 128, 128) in [0, 1], and where the object is (n, 1, 128, 128)."""
        small, large = (premultiplied(x[rows]) for x in (self.small, self.large))
        return small[:, :3] + 1 - small[:, 3:], large[:, :3] + 1 - large[:, 3:], large[:, 3:] > 0


def draw_pairs(entries: Sequence[Entry], views: int) -> Pairs:
    """Random views of each object under random light, the same at both sizes; unusable objects are left out."""
    small: list[Tensor] = []
    large: list[Tensor] = []
    source: list[str] = []
    for entry in entries:
        soup = entry.load()[0]
        if not 0 < len(soup) <= MOST_FACES:
            continue
        whole = normalise(soup)
        for size, images in ((SMALL, small), (LARGE, large)):
            rng = np.random.default_rng(seed_of("upscale", entry.key))
            images.append(torch.from_numpy(shoot(whole, views, size, rng)[0]))
        source += [entry.source] * views
    return Pairs(torch.cat(small), torch.cat(large), source)


def pairs(cache: Path, sources: list[str] | None, train: int, held: int, views: int, file: Path) -> dict[str, Pairs]:
    """Pairs to learn from and pairs of the corpus's held-out objects, as many of every source; kept in `file`."""
    if file.is_file():
        return {k: Pairs(**v) for k, v in torch.load(file, weights_only=True).items()}
    entries = sorted(catalogue(cache, sources), key=lambda e: unit_hash("upscale", e.key))
    names = sorted({e.source for e in entries})
    found = {}
    for part, count, out in (("train", train, False), ("held-out", held, True)):
        chosen = [[e for e in entries if e.source == s and e.heldout == out][: count // len(names)] for s in names]
        found[part] = draw_pairs([e for some in chosen for e in some], views)
    with replacing(file) as temporary:
        torch.save({k: vars(v) for k, v in found.items()}, temporary)
    return found


def bicubic(small: Tensor) -> Tensor:
    return F.interpolate(small, scale_factor=LARGE // SMALL, mode="bicubic", align_corners=False)


class Upscaler(UNet):
    """What bicubic enlargement misses, told by the small picture alone; zero before training."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(3, 3 * (LARGE // SMALL) ** 2, channels, 1)

    def forward(self, small: Tensor, c: Tensor | None = None) -> Tensor:
        """(B, 3, 64, 64) in [0, 1] -> (B, 3, 128, 128)."""
        missing = super().forward(small * 2 - 1, small.new_zeros(len(small), 1))
        return bicubic(small) + F.pixel_shuffle(missing, LARGE // SMALL).float()


def train_upscaler(data: Pairs, minutes: float, report: Callable[[str], None]) -> tuple[Upscaler, int]:
    """The network after that much CPU time, and the pictures it saw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Upscaler()
    optimizer = torch.optim.AdamW(net.parameters(), PEAK, betas=(0.9, 0.99), weight_decay=0.01)
    started, step, spent = time.process_time(), 0, 0.0
    while spent < 1:
        generator = stream(0, "upscale", step)
        small, large, _ = data.over_white(torch.randint(len(data.source), (BATCH,), generator=generator))
        if torch.rand(1, generator=generator) < 0.5:
            small, large = small.flip(-1), large.flip(-1)
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1.0, (step + 1) / WARMUP, 1.02 - spent)
        with torch.autocast("cpu", torch.bfloat16):
            loss = (net(small) - large).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        spent = (time.process_time() - started) / (60 * minutes)
        if step % 50 == 0:
            report(f"step {step}, {spent:.0%} of the time, loss {loss.item():.5f}")
    return net.eval(), step * BATCH


@torch.no_grad()
def scores(data: Pairs, enlarge: Callable[[Tensor], Tensor]) -> dict[str, dict[str, float]]:
    """Mean PSNR (dB) and SSIM of enlarged pictures, by source and over all; `inside` is the object's pixels only."""
    from skimage.metrics import structural_similarity

    found: dict[str, list[tuple[float, float, float]]] = {"all": []}
    for i, source in enumerate(data.source):
        small, large, inside = data.over_white(torch.tensor([i]))
        mine = enlarge(small).clamp(0, 1)
        error = (mine - large).square().mean(1, keepdim=True)  # (1, 1, 128, 128)
        psnr, object_psnr = (float(-10 * e.mean().clamp(min=1e-9).log10()) for e in (error, error[inside]))
        a, b = (x[0].permute(1, 2, 0).numpy() for x in (mine, large))
        values = (psnr, object_psnr, float(structural_similarity(a, b, channel_axis=-1, data_range=1.0)))
        for name in ("all", source):
            found.setdefault(name, []).append(values)
    means = {name: np.mean(rows, 0) for name, rows in found.items()}
    return {
        name: {"views": len(found[name]), "psnr": float(m[0]), "inside": float(m[1]), "ssim": float(m[2])}
        for name, m in means.items()
    }


def outlines(data: Pairs, reach: int = 3) -> dict[str, float]:
    """Which part of bicubic's squared error lies on the object's outline, `reach` pixels to each side, by source and
    over all: a scene draws its outline from its geometry, sharp at any size, so a prior need not."""
    found: dict[str, list[tuple[float, float]]] = {"all": []}
    for i, source in enumerate(data.source):
        small, large, inside = data.over_white(torch.tensor([i]))
        error = (bicubic(small).clamp(0, 1) - large).square().mean(1, keepdim=True)
        deep = 1 - F.max_pool2d(1 - inside.float(), 2 * reach + 1, 1, reach)
        for name in ("all", source):
            found.setdefault(name, []).append((float((error * (1 - deep)).sum()), float(error.sum())))
    return {name: sum(rim for rim, _ in rows) / sum(whole for _, whole in rows) for name, rows in found.items()}


def latency() -> dict[str, float]:
    """Milliseconds of CPU time of a CFG pair without gradients: the whole prior at 64 pixels, and a detail stage of
    the same blocks that sees noisy 128 pixels and the prior's answer."""
    prior, stage = EigenDenoiser().eval(), Detail(CHANNELS, 512).eval()
    x, tokens = torch.randn(2, 3, SMALL, SMALL), torch.randn(2, 16, 384)
    first = partial(predict, prior, x, torch.tensor([300, 300]), tokens)
    second = partial(_forward, stage, torch.randn(2, 3, LARGE, LARGE), x, torch.randn(2, 512))
    return {name: 1e3 * seconds for name, seconds in fastest({"64": first, "128": second}, 20).items()}


@torch.no_grad()
def _forward(stage: Detail, *inputs: Tensor) -> Tensor:
    return stage(*inputs)


def step_costs(scenes: Sequence[str] = ("splats", "grid"), steps: int = 6) -> dict[str, dict[str, Mapping[str, float]]]:
    """Milliseconds of a `generate` step by part, with renders of both sizes, by scene."""
    from sds3d.bench.step import measure

    cpu = torch.device("cpu")
    return {
        scene: {
            str(size): measure("embedded", scene, "sds", steps, 3, cpu, sets={"size": size})[0].ms
            for size in (SMALL, LARGE)
        }
        for scene in scenes
    }


def weigh(
    cache: Path, out: Path, minutes: float, report: Callable[[str], None], sources: list[str] | None = None
) -> dict[str, Any]:
    """All of it, as one report."""
    out.mkdir(parents=True, exist_ok=True)
    data = pairs(cache, sources, 200, 60, 4, out / "pairs.pt")
    report(f"{len(data['train'].source)} views to learn from, {len(data['held-out'].source)} held out")
    net, seen = train_upscaler(data["train"], minutes, report)
    return {
        "minutes": minutes,
        "seen": seen,
        "views": {part: len(some.source) for part, some in data.items()},
        "bicubic": scores(data["held-out"], bicubic),
        "learned": scores(data["held-out"], net),
        "on_outlines": outlines(data["held-out"]),
        "latency_ms": latency(),
        "step_ms": step_costs(),
    }


HEADER = (
    "held-out renders",
    "views",
    "bicubic dB",
    "learned dB",
    "on the object",
    "learned",
    "SSIM",
    "learned",
    "error on outlines",
)


def table_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table under HEADER."""
    rows = []
    for name, plain in report["bicubic"].items():
        learned, rim = report["learned"][name], f"{report['on_outlines'][name]:.0%}"
        decibels = [f"{figures[key]:.2f}" for key in ("psnr", "inside") for figures in (plain, learned)]
        rows.append((name, str(plain["views"]), *decibels, f"{plain['ssim']:.3f}", f"{learned['ssim']:.3f}", rim))
    return rows
