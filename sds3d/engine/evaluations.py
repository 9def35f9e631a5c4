"""How many network evaluations a step makes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sds3d.engine.distill import distill, prepare
from sds3d.engine.record import Record
from sds3d.engine.settings import Settings
from sds3d.priors.base import Cond
from sds3d.schedule import Schedule, cosine

TRIAL = 8  # steps from the start to the end of the time policy
SIZE = 16  # pixels


def evaluations(record: Record, settings: Settings) -> int:
    """Network evaluations of one step over all views: the prior's, the critic's, and those the critic is trained by."""
    stats = record.stats
    training = settings.critic.steps if record.critic_loss is not None else 0
    return settings.views * (int(stats["nfe"] or 0) + int(stats["critic_nfe"] or 0) + training)


@dataclass
class Counter:
    """A prior that knows nothing, and how many rows it was asked for at once. Its network is there to be adapted."""

    capabilities: frozenset[str]
    views_per_object: int = 1
    name: str = "counter"
    size: int = SIZE
    device: torch.device = torch.device("cpu")
    schedule: Schedule = field(default_factory=cosine)
    rows: int = 0  # of the largest batch

    def __post_init__(self) -> None:
        layer = nn.Linear(4, 3).requires_grad_(False)
        nn.init.zeros_(layer.weight)
        self.network = nn.Sequential(layer)
        self.network.lora_targets = ("0",)  # type: ignore[assignment]

    def encode(self, rgb: Tensor) -> Tensor:
        return rgb * 2 - 1

    def decode(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2).clamp(0, 1)

    def text(self, prompts: list[str]) -> Cond:
        return Cond(torch.zeros(len(prompts), 1, 4), torch.ones(len(prompts), 1, dtype=torch.bool))

    def image(self, rgb: Tensor | None) -> Tensor:
        return torch.zeros(1 if rgb is None else len(rgb), 1, 4)

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The noise of a grey picture."""
        self.rows = max(self.rows, len(x_t))
        alpha, sigma = self.schedule.alpha_sigma(t, x_t)
        rest = self.network(torch.cat([x_t, sigma.expand(-1, 1, SIZE, SIZE)], 1).movedim(1, -1)).movedim(-1, 1)
        return x_t / sigma + rest


def count(settings: Settings, capabilities: frozenset[str], together: int = 1) -> tuple[float, int]:
    """(evaluations a step on average, rows of the largest batch) of these settings, by running a few steps without a
    real prior, which would look at `together` views of an object at once. Raises UserError where the settings lack what
    their guidance needs."""
    prior = Counter(capabilities, together)
    run = prepare(replace(settings, steps=TRIAL, size=SIZE, milestones=()), prior)
    try:
        records = list(distill(run))
    finally:
        run.close()
    return sum(evaluations(record, settings) for record in records) / len(records), prior.rows
