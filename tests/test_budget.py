"""--budget: settings that fit into a time or a memory size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sds3d.engine.afford import ASIDE, FEWEST, SLACK, Budget, afford, fit, parse_budget
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return resolve("a ball", {"steps": 400, "views": 8})


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5min", Budget(300.0)),
        ("90s", Budget(90.0)),
        ("8GB", Budget(None, 8 * 10**9)),
        ("1h, 6.5gb", Budget(3600.0, 6_500_000_000)),
    ],
)
def test_budgets_in_words(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "5", "fast", "5min,", "-3s", "0min", "8TB"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="such as 5min"):
        parse_budget(text)


def test_time_is_spent_on_steps_first(settings: Settings) -> None:
    found = fit(settings, Budget(ASIDE + 5 + 100), 0.5, 0, 5.0, False)
    assert (found.steps, found.views) == (int(SLACK * 100 / 0.5), 8)
    assert fit(settings, Budget(1e6), 0.5, 0, 5.0, False) == settings  # never more than asked for


def test_then_on_fewer_views(settings: Settings) -> None:
    assert fit(settings, Budget(ASIDE + FEWEST * 0.5 * 0.9), 0.5, 0, 0.0, False).views == 4
    with pytest.raises(UserError, match="too small"):
        fit(replace(settings, views=1), Budget(ASIDE + 1), 0.5, 0, 0.0, False)


def test_memory_is_saved_by_the_vae_then_by_views(settings: Settings) -> None:
    budget = Budget(None, 6 * 10**9)
    first = fit(settings, budget, 0.5, 7 * 10**9, 0.0, True)
    assert first.speed.vae_checkpointing and first.views == 8
    assert fit(first, budget, 0.5, 7 * 10**9, 0.0, True).views == 4
    assert fit(settings, budget, 0.5, 5 * 10**9, 0.0, True) == settings


def test_a_real_machine_is_tried(settings: Settings) -> None:
    told: list[str] = []
    asked = replace(settings, views=2, steps=100_000)
    found = afford(asked, Budget(60.0), CPU, told.append)
    assert FEWEST <= found.steps < 100_000 and found.views <= 2 and f"{found.steps} steps" in told[0]
    with pytest.raises(UserError, match="CUDA"):
        afford(asked, Budget(None, 10**9), CPU, told.append)
