"""Training of the embedded prior: the MLP in eigen-space first, then the detail stage on its frozen answers.

One generator of records, so that the caller owns printing and stopping. Randomness is keyed by step: a resumed run
follows the same curve.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.embedded.data import Corpus, backgrounds, mirrored, over
from sds3d.embedded.model import POOL, EigenDenoiser
from sds3d.files import replacing
from sds3d.streams import stream


@dataclass(frozen=True)
class Recipe:
    """Images seen in each stage and the optimiser's numbers; two recipes, `cpu` and `tiny`, in RECIPES."""

    eigen_images: int = 4_400_000
    detail_images: int = 100_000
    eigen_batch: int = 1024
    detail_batch: int = 64
    eigen_lr: float = 7e-4
    detail_lr: float = 2e-3
    warmup: int = 200
    decay: float = 0.35  # share of a stage in which the learning rate falls to zero
    drop: float = 0.1  # each of text and camera is hidden this often
    ema: float = 0.9985
    seed: int = 0
    validate: int = 100  # steps between looks at the held-out objects
    checkpoint: int = 250


RECIPES = {
    "cpu": Recipe(),
    "tiny": Recipe(4096, 512, 256, 32, warmup=4, validate=8, checkpoint=8),
}


@dataclass
class Text:
    """Token states of every caption; the last row is the empty prompt."""

    tokens: Tensor  # (C + 1, T, 384) float16
    mask: Tensor  # (C + 1, T) bool


def hide(value: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Rows set to NaN with probability `share`."""
    gone = torch.rand(len(value), generator=generator) < share
    return torch.where(gone.view(-1, *(1,) * (value.ndim - 1)), torch.full_like(value, float("nan")), value)


def draw_conditions(
    corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mirror flags, grey levels, tokens, mask and camera for corpus rows; text and camera with dropout."""
    n = len(rows)
    mirror = torch.rand(n, generator=generator) < 0.5
    grey = backgrounds(n, generator)
    alternatives = corpus.caption.shape[1]
    column = torch.randint(alternatives, (n,), generator=generator)
    caption = corpus.caption[rows, column]
    caption = torch.where(torch.rand(n, generator=generator) < recipe.drop, len(text.tokens) - 1, caption)
    camera = hide(mirrored(corpus.camera[rows], mirror), recipe.drop, generator)
    return mirror, grey, text.tokens[caption], text.mask[caption], camera


def eigen_loss(
    net: EigenDenoiser, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Error of F, weighted by c_out over its mean: every noise level counts the same, big components count more."""
    mirror, grey, tokens, mask, camera = draw_conditions(corpus, text, rows, recipe, generator)
    x0 = (over(corpus.small[rows].float() / 255, grey, mirror).flatten(1) - net.centre(grey)) @ net.basis * POOL
    t = torch.randint(5, len(net.levels) - 5, (len(rows),), generator=generator)
    alpha, sigma = net.levels[t][:, :1], net.levels[t][:, 1:]
    z = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator)
    c_skip, c_out, c_in = net.wiener(alpha, sigma)
    target = (x0 - c_skip * z) / c_out
    with torch.autocast("cpu", torch.bfloat16):
        c = net.condition(t, tokens.bfloat16(), mask, camera, grey)
        predicted = net.eigen(z, c_in, c)
    weight = c_out / c_out.mean(1, keepdim=True)
    return (weight * (predicted - target) ** 2).mean()


def detail_loss(
    net: EigenDenoiser, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Error of x0 at 64 px, weighted towards low noise."""
    mirror, grey, tokens, mask, camera = draw_conditions(corpus, text, rows, recipe, generator)
    rgba = torch.from_numpy(corpus.full[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
    rgba = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)
    x0 = over(rgba, grey, mirror)
    top = int((net.levels[:, 1] < net.config["detail_sigma"]).sum())
    t = torch.randint(5, top, (len(rows),), generator=generator)
    alpha, sigma = (net.levels[t][:, i].view(-1, 1, 1, 1) for i in (0, 1))
    noisy = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        (predicted,) = net(noisy, t, tokens, mask, camera, grey)
    return ((predicted.float() - x0) ** 2 / (sigma + 0.1)).mean()


def stage_modules(net: EigenDenoiser, stage: str) -> list[torch.nn.Parameter]:
    """Parameters that a stage trains."""
    inside = {id(p) for p in net.detail.parameters()}
    return [p for p in net.parameters() if (id(p) in inside) == (stage == "detail")]


LOSSES: dict[str, Callable[..., Tensor]] = {"eigen": eigen_loss, "detail": detail_loss}


def learning_rate(step: int, total: int, recipe: Recipe, peak: float) -> float:
    """Warm-up, plateau, linear fall: a run may be cut short by lowering its total."""
    return peak * min(1.0, (step + 1) / recipe.warmup, (total - step) / max(1, recipe.decay * total))


def train_stage(
    net: EigenDenoiser, ema: EigenDenoiser, corpus: Corpus, text: Text, recipe: Recipe, stage: str, folder: Path
) -> Iterator[dict[str, Any]]:
    """Train one stage to its end, resuming from `folder`/train_<stage>.pt; yields a record per validation."""
    peak, batch, images = (getattr(recipe, f"{stage}_{k}") for k in ("lr", "batch", "images"))
    params, averaged = stage_modules(net, stage), stage_modules(ema, stage)
    optimizer = torch.optim.AdamW(params, peak, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    train_rows, held_rows = (~corpus.heldout).nonzero()[:, 0], corpus.heldout.nonzero()[:, 0]
    checkpoint = folder / f"train_{stage}.pt"
    step, total = 0, max(1, images // batch)
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        ema.load_state_dict(saved["ema"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    losses: list[float] = []
    started, first = time.time(), step
    while step < total:
        generator = stream(recipe.seed, stage, step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, recipe, peak)
        rows = train_rows[torch.randint(len(train_rows), (batch,), generator=generator)]
        loss = LOSSES[stage](net, corpus, text, rows, recipe, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        decay = min(recipe.ema, step / (step + 50))
        with torch.no_grad():
            torch._foreach_lerp_([*averaged], [*params], 1 - decay)
        losses.append(float(loss.detach()))
        if step % recipe.validate == 0 or step == total:
            look = stream(recipe.seed, f"{stage} validation")
            held = held_rows[torch.randint(len(held_rows), (min(4 * batch, 2048),), generator=look)]
            with torch.no_grad():
                validation = float(LOSSES[stage](ema, corpus, text, held, recipe, look))
            speed = (step - first) * batch / (time.time() - started)
            yield {
                "stage": stage,
                "step": step,
                "total": total,
                "images": step * batch,
                "loss": float(np.mean(losses)),
                "heldout": validation,
                "images_per_second": speed,
            }
            losses.clear()
        if step % recipe.checkpoint == 0 or step == total:
            state = {
                "net": net.state_dict(),
                "ema": ema.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
            }
            with replacing(checkpoint) as temporary:
                torch.save(state, temporary)


def build(components: dict[str, Tensor], **size: Any) -> EigenDenoiser:
    """A fresh network around the corpus's principal components."""
    net = EigenDenoiser(components=components["basis"].shape[1], **size)
    for name in ("mean", "backdrop", "basis", "variance"):
        getattr(net, name).copy_(components[name])
    return net


def train(corpus: Corpus, text: Text, recipe: Recipe, net: EigenDenoiser, folder: Path) -> Iterator[dict[str, Any]]:
    """Both stages; `net` ends up holding the averaged weights."""
    ema = copy.deepcopy(net).requires_grad_(False)
    yield from train_stage(net, ema, corpus, text, recipe, "eigen", folder)
    net.load_state_dict(ema.state_dict())
    yield from train_stage(net, ema, corpus, text, recipe, "detail", folder)
    net.load_state_dict(ema.state_dict())
