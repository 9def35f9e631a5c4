"""Training of the embedded prior: the MLP in eigen-space first, then the detail stage on its frozen answers.

One generator of records, so that the caller owns printing and stopping. Randomness is keyed by step: a resumed run
follows the same curve.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from sds3d.embedded.conditions import Conditioned
from sds3d.embedded.data import Corpus, backgrounds, draw_mirror, mirrored, over, premultiplied, references
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import STAGES, Recipe, learning_rate, steps_of
from sds3d.embedded.rivals import PixelDenoiser
from sds3d.files import replacing
from sds3d.streams import stream

Kind = TypeVar("Kind", bound=Conditioned)


@dataclass
class Text:
    """Token states of every caption; the last row is the empty prompt."""

    tokens: Tensor  # (C + 1, T, 384) float16
    mask: Tensor  # (C + 1, T) bool

    def to(self, device: torch.device | str) -> Text:
        return Text(self.tokens.to(device), self.mask.to(device))


@dataclass
class Batch:
    """Corpus rows as the network gets to know them, on the corpus's device."""

    mirror: Tensor  # (n,) bool
    grey: Tensor  # (n,) background
    tokens: Tensor  # (n, T, 384)
    mask: Tensor  # (n, T)
    camera: Tensor  # (n, 3), NaN where hidden
    picture: Tensor  # (n, 1, image_width), zeros where hidden

    def condition(self, net: Conditioned, t: Tensor) -> Tensor:
        tokens = self.tokens.to(torch.bfloat16)
        return net.condition(t, tokens, self.mask, self.camera, self.grey, self.picture)


def normal(shape: Sequence[int], device: torch.device, generator: torch.Generator) -> Tensor:
    """N(0, I) keyed by the CPU generator, drawn where it is used."""
    if device.type != "cpu":
        seed = int(torch.randint(2**62, (1,), generator=generator))
        generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, device=device, generator=generator)


def hide(value: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Rows set to NaN with probability `share`."""
    gone = torch.rand(len(value), generator=generator).to(value.device) < share
    return torch.where(gone.view(-1, *(1,) * (value.ndim - 1)), torch.full_like(value, float("nan")), value)


def draw_batch(
    net: Conditioned, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Batch:
    """Mirror flags, grey levels and conditions for corpus rows; text, camera and picture with dropout."""
    n, device = len(rows), rows.device
    mirror = draw_mirror(corpus.handed[rows], generator)
    grey = backgrounds(n, generator).to(device)
    column = torch.randint(corpus.caption.shape[1], (n,), generator=generator).to(device)
    dropped = (torch.rand(n, generator=generator) < recipe.drop).to(device)
    caption = torch.where(dropped, len(text.tokens) - 1, corpus.caption[rows, column])
    camera = hide(mirrored(corpus.camera[rows], mirror), recipe.drop, generator)
    shown = (torch.rand(n, generator=generator) < recipe.picture).to(device).nonzero()[:, 0]
    picture = torch.zeros(n, 1, net.config["image_width"], device=device)
    small = corpus.small[references(corpus, rows[shown], generator)].float() / 255
    white = torch.ones(len(shown), device=device)
    picture[shown] = net.picture_tokens(over(small, white, mirror[shown]))
    return Batch(mirror, grey, text.tokens[caption], text.mask[caption], camera, picture)


def eigen_loss(
    net: EigenDenoiser, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Error of F, weighted by c_out over its mean: every noise level counts the same, big components count more."""
    batch = draw_batch(net, corpus, text, rows, recipe, generator)
    x0 = net.coefficients(over(corpus.small[rows].float() / 255, batch.grey, batch.mirror), batch.grey)
    t = torch.randint(5, len(net.levels) - 5, (len(rows),), generator=generator).to(rows.device)
    alpha, sigma = net.levels[t][:, :1], net.levels[t][:, 1:]
    z = alpha * x0 + sigma * normal(x0.shape, x0.device, generator)
    c_skip, c_out, c_in = net.wiener(alpha, sigma)
    target = (x0 - c_skip * z) / c_out
    with torch.autocast(rows.device.type, torch.bfloat16):
        predicted = net.eigen(z, c_in, batch.condition(net, t))
    weight = c_out / c_out.mean(1, keepdim=True)
    return (weight * (predicted - target) ** 2).mean()


def detail_loss(
    net: EigenDenoiser, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Error of x0 at 64 px, weighted towards low noise; the eigen stage is frozen."""
    batch = draw_batch(net, corpus, text, rows, recipe, generator)
    x0 = over(premultiplied(corpus.full[rows]), batch.grey, batch.mirror)
    top = int((net.levels[:, 1] < net.config["detail_sigma"]).sum())
    t = torch.randint(5, top, (len(rows),), generator=generator).to(rows.device)
    alpha, sigma = (net.levels[t][:, i].view(-1, 1, 1, 1) for i in (0, 1))
    noisy = alpha * x0 + sigma * normal(x0.shape, x0.device, generator)
    with torch.autocast(rows.device.type, torch.bfloat16):
        with torch.no_grad():
            c = batch.condition(net, t)
            coarse = net.coarse(noisy, t, c, batch.grey)
        predicted = net.refine(noisy, coarse, t, c)
    return ((predicted - x0) ** 2 / (sigma + 0.1)).mean()


def pixel_loss(
    net: PixelDenoiser, corpus: Corpus, text: Text, rows: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Error of F of a rival that knows no stages, all noise levels alike."""
    batch = draw_batch(net, corpus, text, rows, recipe, generator)
    x0 = over(premultiplied(corpus.full[rows]), batch.grey, batch.mirror)
    t = torch.randint(5, len(net.levels) - 5, (len(rows),), generator=generator).to(rows.device)
    alpha, sigma = (net.levels[t][:, i].view(-1, 1, 1, 1) for i in (0, 1))
    noisy = alpha * x0 + sigma * normal(x0.shape, x0.device, generator)
    with torch.autocast(rows.device.type, torch.bfloat16):
        predicted = net.denoise(noisy, t, batch.condition(net, t), batch.grey)
    return (((predicted - x0) / net.scalings(t)[2]) ** 2).mean()


def stage_modules(net: Conditioned, stage: str) -> list[torch.nn.Parameter]:
    """Parameters that a stage trains."""
    if not isinstance(net, EigenDenoiser):
        return list(net.parameters())
    inside = {id(p) for p in net.detail.parameters()}
    return [p for p in net.parameters() if (id(p) in inside) == (stage == "detail")]


LOSSES: dict[str, Callable[..., Tensor]] = {"eigen": eigen_loss, "detail": detail_loss, "pixel": pixel_loss}


class Sampler:
    """Draws corpus rows with replacement, in proportion to their weight."""

    def __init__(self, corpus: Corpus, rows: Tensor) -> None:
        self.rows = rows
        self.edges = corpus.weight[rows].cumsum(0).cpu()

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) rows."""
        point = torch.rand(n, generator=generator, dtype=torch.float64) * self.edges[-1]
        index = torch.searchsorted(self.edges, point, right=True).clamp(max=len(self.edges) - 1)
        return self.rows[index.to(self.rows.device)]


class Trainer:
    """What a stage trains, and the optimiser and running average that do it."""

    def __init__(self, net: Conditioned, ema: Conditioned, recipe: Recipe, stage: str) -> None:
        self.recipe, self.peak = recipe, float(getattr(recipe, f"{stage}_lr"))
        self.params, self.averaged = stage_modules(net, stage), stage_modules(ema, stage)
        self.optimizer = torch.optim.AdamW(self.params, self.peak, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def update(self, loss: Tensor, step: int, total: int) -> None:
        """Down the loss of step `step` of `total`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, total, self.recipe, self.peak)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            keep = min(self.recipe.ema, (step + 1) / (step + 51))
            torch._foreach_lerp_([*self.averaged], [*self.params], 1 - keep)


def train_stage(
    net: Conditioned,
    ema: Conditioned,
    corpus: Corpus,
    text: Text,
    recipe: Recipe,
    stage: str,
    folder: Path,
    until: float = math.inf,
) -> Iterator[dict[str, Any]]:
    """Train one stage to its end, or to the time `until` (time.time()), resuming from `folder`/train_<stage>.pt.

    Yields a record per validation; a checkpoint holds everything, so that pieces follow the curve of one long run.
    """
    size, total = getattr(recipe, f"{stage}_batch"), steps_of(recipe, stage)
    trainer = Trainer(net, ema, recipe, stage)
    learnt = Sampler(corpus, (~corpus.heldout).nonzero()[:, 0])
    held = Sampler(corpus, corpus.heldout.nonzero()[:, 0]) if corpus.heldout.any() else learnt
    checkpoint = folder / f"train_{stage}.pt"
    step = first = restore(checkpoint, stage, net, ema, trainer.optimizer)
    losses: list[Tensor] = []
    started = time.time()
    last = step >= total
    while not last:
        generator = stream(recipe.seed, stage, step)
        loss = LOSSES[stage](net, corpus, text, learnt.draw(size, generator), recipe, generator)
        trainer.update(loss, step, total)
        step += 1
        losses.append(loss.detach())
        last = step >= total or time.time() >= until
        if step % recipe.checkpoint == 0 or last:
            state = {"net": net.state_dict(), "ema": ema.state_dict(), "optimizer": trainer.optimizer.state_dict()}
            with replacing(checkpoint) as temporary:
                torch.save(state | {"step": step}, temporary)
        if step % recipe.validate == 0 or last:
            look = stream(recipe.seed, f"{stage} validation")
            rows = held.draw(min(4 * size, 2048), look)
            with torch.no_grad():
                validation = float(LOSSES[stage](ema, corpus, text, rows, recipe, look))
            yield {
                "stage": stage,
                "step": step,
                "total": total,
                "images": step * size,
                "loss": float(torch.stack(losses).mean()),
                "heldout": validation,
                "images_per_second": (step - first) * size / (time.time() - started),
            }
            losses.clear()


def restore(checkpoint: Path, stage: str, net: Conditioned, ema: Conditioned, optimizer: torch.optim.Optimizer) -> int:
    """Load what the stage's checkpoint holds; the number of finished steps, 0 without one.

    Of the detail stage's only its own part: the eigen stage may have been trained on since.
    """
    if not checkpoint.is_file():
        return 0
    saved = torch.load(checkpoint, weights_only=True, map_location=net.mean.device)
    for network, state in ((net, saved["net"]), (ema, saved["ema"])):
        mine = {name: value for name, value in state.items() if stage != "detail" or name.startswith("detail.")}
        network.load_state_dict({**network.state_dict(), **mine})
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])


def steps_done(folder: Path, stage: str) -> int:
    """Steps of this stage's checkpoint, 0 without one."""
    path = folder / f"train_{stage}.pt"
    return int(torch.load(path, weights_only=True, mmap=True)["step"]) if path.is_file() else 0


def finished(folder: Path, recipe: Recipe, *stages: str) -> bool:
    """Have the checkpoints of these stages, of all if none is named, seen all their images?"""
    return all(steps_done(folder, stage) >= steps_of(recipe, stage) for stage in stages or STAGES)


def build(components: dict[str, Tensor], kind: type[Kind], **size: Any) -> Kind:
    """A fresh network around the corpus's principal components."""
    net = kind(components=components["basis"].shape[1], **size)
    for name in ("mean", "backdrop", "basis", "variance"):
        getattr(net, name).copy_(components[name])
    return net


def train(
    corpus: Corpus, text: Text, recipe: Recipe, net: EigenDenoiser, folder: Path, until: float = math.inf
) -> Iterator[dict[str, Any]]:
    """Both stages, on the corpus's device; `net` ends up holding the averaged weights."""
    ema = copy.deepcopy(net).requires_grad_(False)
    yield from train_stage(net, ema, corpus, text, recipe, "eigen", folder, until)
    net.load_state_dict(ema.state_dict())
    if finished(folder, recipe, "eigen"):
        yield from train_stage(net, ema, corpus, text, recipe, "detail", folder, until)
        net.load_state_dict(ema.state_dict())
