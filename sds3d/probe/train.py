"""Training of the probe: pictures against nouns and captions (CLIP, Radford et al. 2021), with two small heads.

Randomness is keyed by step, so a resumed run follows the same curve.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.files import replacing
from sds3d.probe.album import COLOUR_NAMES, Pictures
from sds3d.probe.augment import augment
from sds3d.probe.model import ProbeNet
from sds3d.streams import stream

HIDDEN = -1e4  # logit of what must not count


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training."""

    images: int = 600_000
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100
    decay: float = 0.4  # share of the steps in which the learning rate falls to zero
    caption: float = 0.5  # weights of the losses beside the noun's
    colour: float = 0.4
    azimuth: float = 1.0
    seed: int = 7
    report: int = 200  # steps between records and checkpoints


RECIPES = {"cpu": Recipe(), "tiny": Recipe(images=2048, batch=64, warmup=4, report=8)}


@dataclass
class Lesson:
    """The pictures that are learnt from, and every label as a tensor over looks."""

    pictures: Pictures
    rows: Tensor  # (R,) rows of `pictures` for training
    weight: Tensor  # (R,) how often each is drawn
    noun: Tensor  # (looks,) index into nouns
    colour: Tensor  # (looks,)
    fronted: Tensor  # (looks,) bool
    caption: Tensor  # (looks, K) indices into captions, padded with the first
    nouns: Tensor  # (N, 384) sentence vectors
    captions: Tensor  # (C, 384)
    apart: Tensor  # (N, N) bool, True where one noun is wrong for the other's picture


def lesson(
    pictures: Pictures, nouns: list[str], pairs: list[tuple[int, int]], vectors: dict[str, Tensor], titles: list[str]
) -> Lesson:
    """Labels of `pictures`; `vectors` maps every caption and every title (the noun with its article) to a vector."""
    looks = pictures.looks
    at = {noun: i for i, noun in enumerate(nouns)}
    captions = sorted({c for look in looks for c in look.captions})
    row_of = {c: i for i, c in enumerate(captions)}
    most = max(len(look.captions) for look in looks)
    caption = [[row_of[c] for c in (look.captions * most)[:most]] for look in looks]
    noun = torch.tensor([at[look.noun] for look in looks])
    rows = pictures.rows(lambda look: not look.ceiling)
    of_row = noun[pictures.look[rows]]
    apart = torch.ones(len(nouns), len(nouns), dtype=torch.bool)
    for i, j in pairs:
        apart[i, j] = apart[j, i] = False
    return Lesson(
        pictures, rows, torch.bincount(of_row, minlength=len(nouns))[of_row].float().rsqrt(), noun,
        torch.tensor([COLOUR_NAMES.index(look.colour) for look in looks]),
        torch.tensor([look.fronted for look in looks]), torch.tensor(caption),
        torch.stack([vectors[t] for t in titles]), torch.stack([vectors[c] for c in captions]), apart,
    )  # fmt: skip


def losses(net: ProbeNet, lesson: Lesson, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The four losses of a batch of rows."""
    rgba = torch.from_numpy(lesson.pictures.rgba[rows.numpy()])
    pictures, mirror = augment(rgba, generator)
    look = lesson.pictures.look[rows]
    seen = net(pictures)
    scale = net.log_scale.clamp(max=4.0).exp()
    noun = lesson.noun[look]
    logits = scale * seen.embedding @ net.sentences(lesson.nouns).T
    logits = logits.masked_fill(~lesson.apart[noun], HIDDEN)
    angle = torch.deg2rad(lesson.pictures.azimuth[rows]) * torch.where(mirror, -1.0, 1.0)
    front = lesson.fronted[look]
    off = ((seen.azimuth - torch.stack([angle.sin(), angle.cos()], -1)) ** 2).sum(-1)
    return {
        "noun": F.cross_entropy(logits, noun),
        "caption": caption_loss(net, seen.embedding, lesson, look, scale, generator),
        "colour": F.cross_entropy(seen.colour, lesson.colour[look], label_smoothing=0.02),
        "azimuth": (off * front).sum() / front.sum().clamp(min=1),
    }


def caption_loss(
    net: ProbeNet, embedding: Tensor, lesson: Lesson, look: Tensor, scale: Tensor, generator: torch.Generator
) -> Tensor:
    """Symmetric InfoNCE within the batch; captions that also fit another picture do not count against it."""
    column = torch.randint(lesson.caption.shape[1], (len(look),), generator=generator)
    chosen = lesson.caption[look, column]  # (B,)
    logits = scale * embedding @ net.sentences(lesson.captions[chosen]).T
    fits = (lesson.caption[look][:, None] == chosen[None, :, None]).any(-1)  # (B, B)
    fits.fill_diagonal_(False)
    logits = logits.masked_fill(fits, HIDDEN)
    own = torch.arange(len(look))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear warm-up, plateau, linear fall: a run may be cut short by lowering its total."""
    return recipe.lr * min(1.0, (step + 1) / recipe.warmup, (total - step) / max(1.0, recipe.decay * total))


def fresh(recipe: Recipe, lesson: Lesson, **size: Any) -> ProbeNet:
    """A network of a `size` (arguments of ProbeNet) with seeded weights, its text side whitened on the captions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = ProbeNet(colours=len(COLOUR_NAMES), **size)
    net.whiten(lesson.captions)
    return net


def train(net: ProbeNet, lesson: Lesson, recipe: Recipe, checkpoint: Path) -> Iterator[dict[str, Any]]:
    """Train `net` to the end, from `checkpoint` if there is one; a record every `recipe.report` steps."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, recipe.lr, betas=(0.9, 0.98), fused=True)
    total, step = max(1, recipe.images // recipe.batch), 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    first, started = step, time.time()
    history: list[dict[str, float]] = []
    net.train()
    while step < total:
        generator = stream(recipe.seed, "probe", step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, recipe)
        rows = lesson.rows[torch.multinomial(lesson.weight, recipe.batch, True, generator=generator)]
        parts = losses(net, lesson, rows, generator)
        loss = parts["noun"] + sum(getattr(recipe, k) * parts[k] for k in ("caption", "colour", "azimuth"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimizer.step()
        step += 1
        history.append({name: float(part.detach()) for name, part in parts.items()})
        if step % recipe.report == 0 or step == total:
            means = {name: round(sum(h[name] for h in history) / len(history), 4) for name in parts}
            speed = round((step - first) * recipe.batch / (time.time() - started), 1)
            history.clear()
            with replacing(checkpoint) as temporary:
                torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, temporary)
            yield {"step": step, "total": total, **means, "images_per_second": speed}
