"""`sds3d prior rivals`: kinds of networks of one latency, trained for one time on one thread, judged by the probe.

A kind's time is counted in steps, whose cost is measured beforehand, all kinds in turns: so neighbours on the machine
slow the contest down but take nothing from anybody's share.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.embedded.conditions import Conditioned
from sds3d.embedded.data import Corpus, load_corpus, over, premultiplied
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import Recipe
from sds3d.embedded.rivals import PatchTransformer, PixelUNet
from sds3d.embedded.run import caption_states, fresh_network
from sds3d.embedded.train import LOSSES, Sampler, Text, Trainer, draw_batch, normal, train_stage
from sds3d.errors import UserError
from sds3d.files import write_bytes
from sds3d.streams import stream

LEVELS = (100, 300, 500, 700, 900)  # noise levels of 1000 at which held-out pictures are restored
HELD = 128  # pictures
PROBED = 300  # the noise level at which latency is measured: all parts of all kinds are at work


@dataclass(frozen=True)
class ShortRecipe(Recipe):
    """Smaller batches than a long training has, and a stage of networks that have no stages."""

    eigen_batch: int = 512
    pixel_images: int = 0
    pixel_batch: int = 32
    pixel_lr: float = 1e-3
    warmup: int = 30
    checkpoint: int = 200


@dataclass(frozen=True)
class Entrant:
    """A kind of network, and how its time is shared out among its stages."""

    kind: type[Conditioned]
    shares: Mapping[str, float]
    recipe: ShortRecipe = ShortRecipe()


ENTRANTS = {
    "eigen": Entrant(EigenDenoiser, {"eigen": 0.8, "detail": 0.2}),
    "unet": Entrant(PixelUNet, {"pixel": 1.0}),
    "transformer": Entrant(PatchTransformer, {"pixel": 1.0}, ShortRecipe(pixel_lr=7e-4)),
}


@dataclass(frozen=True)
class Contest:
    """The corpus, and the folder of everything that is made of it."""

    corpus: Corpus
    text: Text
    folder: Path
    minutes: float
    entrants: Mapping[str, Entrant]
    size: Mapping[str, Mapping[str, Any]]  # constructor arguments by kind; none: those of the contest

    def network(self, name: str) -> Conditioned:
        """With seeded weights."""
        entrant, cache = self.entrants[name], self.folder / "components.pt"
        return fresh_network(self.corpus, entrant.recipe, cache, entrant.kind, **self.size.get(name, {}))


def open_contest(
    corpus_folder: Path,
    folder: Path,
    minutes: float,
    entrants: Mapping[str, Entrant] = ENTRANTS,
    size: Mapping[str, Mapping[str, Any]] | None = None,
) -> Contest:
    """UserError where there is no corpus, or none of its objects held out or none to learn from."""
    corpus = load_corpus(corpus_folder)
    if corpus.heldout.all() or not corpus.heldout.any():
        raise UserError(f"a contest needs held-out objects and others, {corpus_folder} lacks one: make a larger corpus")
    folder.mkdir(parents=True, exist_ok=True)
    return Contest(corpus, caption_states(corpus, folder / "captions.pt"), folder, minutes, entrants, size or {})


def costs(contest: Contest) -> dict[str, Any]:
    """What a kind costs: latency of a CFG pair and seconds of a training step by stage, on this thread. Measured once
    for a folder; UserError if that was for another contest."""
    path = contest.folder / "costs.json"
    facts = {"minutes": contest.minutes, "corpus": contest.corpus.manifest["hash"], "kinds": list(contest.entrants)}
    if path.is_file():
        saved: dict[str, Any] = json.loads(path.read_text())
        if {key: saved[key] for key in facts} != facts:
            raise UserError(f"{contest.folder} holds another contest: choose another folder by --out")
        return saved
    nets = {name: contest.network(name) for name in contest.entrants}
    pair = pair_inputs(contest.text)
    pairs = {name: partial(predict, net, *pair) for name, net in nets.items()}
    stages = [(name, stage) for name, entrant in contest.entrants.items() for stage in entrant.shares]
    steps = {(name, stage): stepper(contest, name, nets[name], stage) for name, stage in stages}
    latency, seconds = fastest(pairs, 30), fastest(steps, 4)
    facts["latency_ms"] = {name: 1e3 * latency[name] for name in nets}
    facts["step_seconds"] = {name: {s: seconds[n, s] for n, s in stages if n == name} for name in nets}
    write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def fastest(calls: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """CPU seconds of each call, the least of some rounds in which all have their turn."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - started)
    return least


def pair_inputs(text: Text) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noisy images, levels, tokens and mask of a CFG pair."""
    rows = torch.tensor([0, len(text.tokens) - 1])
    x = torch.randn(1, 3, 64, 64, generator=stream(0, "latency")).repeat(2, 1, 1, 1)
    return x, torch.tensor([PROBED] * 2), text.tokens[rows].float(), text.mask[rows]


@torch.no_grad()
def predict(net: Conditioned, *inputs: Tensor) -> Tensor:
    return net(*inputs)[0]


def stepper(contest: Contest, name: str, net: Conditioned, stage: str) -> Callable[[], None]:
    """A training step, taken on copies."""
    recipe = contest.entrants[name].recipe
    net, averaged = copy.deepcopy(net), copy.deepcopy(net).requires_grad_(False)
    trainer = Trainer(net, averaged, recipe, stage)
    rows = Sampler(contest.corpus, (~contest.corpus.heldout).nonzero()[:, 0])

    def step() -> None:
        generator = stream(1, stage)
        batch = rows.draw(getattr(recipe, f"{stage}_batch"), generator)
        trainer.update(LOSSES[stage](net, contest.corpus, contest.text, batch, recipe, generator), 0, 1000)

    return step


def budget(contest: Contest, name: str, costs: Mapping[str, Any]) -> ShortRecipe:
    """The recipe whose stages take the kind's shares of the contest's minutes."""
    entrant = contest.entrants[name]
    images = {}
    for stage, share in entrant.shares.items():
        steps = max(1, round(60 * contest.minutes * share / costs["step_seconds"][name][stage]))
        images[f"{stage}_images"] = steps * getattr(entrant.recipe, f"{stage}_batch")
    return replace(entrant.recipe, **images)


def trained(
    contest: Contest, name: str, recipe: ShortRecipe, report: Callable[[Mapping[str, Any]], None]
) -> Conditioned:
    """The network of averaged weights, trained on from the last checkpoint."""
    folder = contest.folder / name
    folder.mkdir(exist_ok=True)
    net = contest.network(name)
    averaged = copy.deepcopy(net).requires_grad_(False)
    for stage in contest.entrants[name].shares:
        for record in train_stage(net, averaged, contest.corpus, contest.text, recipe, stage, folder):
            report({"kind": name, **record})
        net.load_state_dict(averaged.state_dict())
    return averaged.eval()


@torch.no_grad()
def restored(contest: Contest, net: Conditioned) -> dict[str, float]:
    """PSNR in dB of held-out pictures restored from noise, by level; everything is told but a picture."""
    corpus, recipe = contest.corpus, replace(ShortRecipe(), drop=0.0, picture=0.0)
    generator = stream(0, "rivals held-out")
    rows = Sampler(corpus, corpus.heldout.nonzero()[:, 0]).draw(HELD, generator)
    batch = draw_batch(net, corpus, contest.text, rows, recipe, generator)
    x0 = over(premultiplied(corpus.full[rows]), batch.grey, batch.mirror)
    found = {}
    for level in LEVELS:
        t = torch.full((len(rows),), level)
        alpha, sigma = net.levels[level]
        noisy = alpha * x0 + sigma * normal(x0.shape, x0.device, generator)
        told = (batch.tokens.float(), batch.mask, batch.camera, batch.grey, batch.picture)
        parts = zip(noisy.split(32), t.split(32), *(part.split(32) for part in told), strict=True)
        predicted = torch.cat([net(*part)[0] for part in parts])
        error = ((predicted - x0).clamp(-2, 2) / 2).square().mean((1, 2, 3))
        found[str(level)] = float(-10 * error.log10().mean())
    return found
