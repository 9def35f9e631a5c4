"""Equal budgets: how many steps an objective may take for so many network evaluations, or for so many seconds.

A time policy runs from its start to its end over the steps of a run, so the number of steps must be known before the
first: a few steps along the whole of the policy, thrown away afterwards, tell what one costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from sds3d.engine.distill import distill, prepare
from sds3d.engine.evaluations import evaluations
from sds3d.engine.record import Record
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.priors.base import Prior

TRIAL = 8  # steps


@dataclass(frozen=True)
class Budget:
    """What each objective may spend."""

    unit: Literal["evals", "seconds"]
    amount: float

    def steps(self, trial: Trial) -> int:
        """Steps that fit, at least one."""
        return max(1, int(self.amount / (trial.evaluations if self.unit == "evals" else trial.seconds)))


@dataclass(frozen=True)
class Trial:
    """What a step costs on average over the time policy, and how large the gradients are."""

    evaluations: float  # of networks, all views together
    seconds: float
    gradient: float  # median norm on a view


def parse_budget(text: str) -> Budget:
    """ "evals:7200" or "seconds:30". Errors: UserError for anything else."""
    unit, colon, amount = text.partition(":")
    try:
        number = float(amount)
    except ValueError:
        number = 0.0
    if unit not in ("evals", "seconds") or not colon or not 0 < number < float("inf"):
        raise UserError(f"--budget takes evals:N or seconds:S, not {text!r}")
    return Budget(unit, number)  # type: ignore[arg-type]


def default_budget(settings: Settings) -> Budget:
    """The evaluations that plain guidance, two predictions a view, makes of the preset's steps."""
    return Budget("evals", float(2 * settings.views * settings.steps))


def trial(settings: Settings, prior: Prior, steps: int = TRIAL) -> Trial:
    """Run a few steps of `settings` from the start to the end of its time policy, and forget them."""
    run = prepare(replace(settings, steps=steps), prior)
    try:
        records = list(distill(run))
    finally:
        run.close()
    return summary(records, settings)


def summary(records: Sequence[Record], settings: Settings) -> Trial:
    """The cost of these steps; of their times the median, since the first ones warm things up."""
    return Trial(
        evaluations=max(1.0, sum(evaluations(r, settings) for r in records) / len(records)),
        seconds=median(r.ms["total"] for r in records) / 1e3,
        gradient=median(r.stats["gradient"] or 0.0 for r in records),
    )
