"""What a step did. On a CUDA device its numbers arrive while the host prepares the next steps: nobody waits for them
but who asks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.step import Stats
from sds3d.transfer import Numbers

PATIENCE = 10  # steps in a row without a finite gradient before giving up
BEHIND = 32  # steps whose numbers may be on their way before the host waits for the first of them


@dataclass(frozen=True)
class Record:
    """What one step did."""

    step: int  # finished steps
    total: int
    t: float  # mean share of T
    loss: float | None  # distillation loss; None when not finite
    regulariser: float | None  # of the scene, and the objective's own on its geometry
    critic_loss: float | None
    alpha: float | None  # mean coverage of the views
    skipped: bool  # not finite: the scene's parameters were left as they were
    stats: dict[str, float | None]  # guidance.Stats
    ms: dict[str, float]
    notes: tuple[str, ...] = ()  # what people should know of it

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """A step that was asked for; fields as those of its Record."""

    step: int
    total: int
    t: float
    ms: dict[str, float]
    notes: tuple[str, ...]
    numbers: Numbers  # of `checked` and `verdict`, "critic_loss" if there is a critic
    stats: Stats

    @property
    def ready(self) -> bool:
        """Whether `record` would not wait."""
        return self.numbers.ready

    def record(self) -> Record:
        """Its numbers, once the device has come to them."""
        seen = self.numbers.read()
        finite = {name: value if math.isfinite(value) else None for name, value in seen.items()}
        skipped = seen["skipped"] > 0
        return Record(
            step=self.step,
            total=self.total,
            t=self.t,
            loss=finite["loss"],
            regulariser=finite["regulariser"],
            critic_loss=None if skipped else finite.get("critic_loss"),
            alpha=finite["alpha"],
            skipped=skipped,
            stats=self.stats.plain(seen),
            ms=self.ms,
            notes=self.notes,
        )


def verdict(checked: Mapping[str, Tensor]) -> Tensor:
    """0-d float32, 1 where the step must not count: something is not finite, or "nonfinite" is not 0. Decided on the
    device; optimisers take it as their `found_inf`."""
    sound = torch.stack([value.detach().float().reshape(()) for value in checked.values()]).isfinite().all()
    return (~sound | (checked["nonfinite"] > 0)).float()


def known(skip: Tensor) -> bool:
    """Whether the host can tell at no cost that a step must not count."""
    return skip.device.type == "cpu" and bool(skip)


class Watch:
    """Counts steps in a row that did not count, as their numbers arrive."""

    def __init__(self) -> None:
        self.failures = 0
        self._coming: deque[tuple[int, Numbers]] = deque()

    def add(self, step: int, numbers: Numbers) -> None:
        """A step more. Raises UserError after PATIENCE failures in a row."""
        self._coming.append((step, numbers))
        while self._coming and (len(self._coming) > BEHIND or self._coming[0][1].ready):
            self._count(*self._coming.popleft())

    def finish(self) -> None:
        """Look at all that is still on its way."""
        while self._coming:
            self._count(*self._coming.popleft())

    def _count(self, step: int, numbers: Numbers) -> None:
        seen = numbers.read()
        self.failures = self.failures + 1 if seen["skipped"] > 0 else 0
        if self.failures < PATIENCE:
            return
        image, guidance = math.isfinite(seen["image"]), seen["nonfinite"] == 0
        where = "rendered images" if not image else "prior's predictions" if not guidance else "scene's gradients"
        half = "the same command with --set speed.float32=true goes on from the last checkpoint"
        hint = half if where.startswith("prior") else "start again with lower learning rates (sds3d list settings)"
        raise UserError(f"stopped at step {step}: the {where} were not finite {PATIENCE} steps in a row; {hint}")
