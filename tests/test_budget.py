"""--budget: settings that fit into a time or a memory size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_helpers import ball_prior
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.engine.afford import ASIDE, FEWEST, SLACK, Budget, afford, fit, parse_budget
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.priors.oracle import MixturePrior
from sds3d.priors.speed import Speed

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
    twelve = replace(settings, views=12)
    assert fit(twelve, Budget(ASIDE + 1), 0.5, 0, 0.0, False, together=4).views == 4  # whole objects
    with pytest.raises(UserError, match="4 views a step takes"):
        fit(replace(settings, views=4), Budget(ASIDE + 1), 0.5, 0, 0.0, False, together=4)


def test_memory_is_saved_by_the_vae_then_by_views(settings: Settings) -> None:
    budget = Budget(None, 6 * 10**9)
    first = fit(settings, budget, 0.5, 7 * 10**9, 0.0, True)
    assert first.speed == Speed(vae_checkpointing=True) and first.views == 8
    second = fit(first, budget, 0.5, 7 * 10**9, 0.0, True)
    assert second.speed == Speed(vae_checkpointing=True, vae_slicing=True) and second.views == 8
    assert fit(second, budget, 0.5, 7 * 10**9, 0.0, True).views == 4
    assert fit(settings, budget, 0.5, 5 * 10**9, 0.0, True) == settings


def test_a_real_machine_is_tried(settings: Settings) -> None:
    told: list[str] = []
    asked = replace(settings, views=2, steps=100_000)
    found, prior = afford(asked, Budget(60.0), CPU, told.append)
    assert FEWEST <= found.steps < 100_000 and found.views <= 2 and f"{found.steps} steps" in told[0]
    assert prior.name == "embedded"
    with pytest.raises(UserError, match="CUDA"):
        afford(asked, Budget(None, 10**9), CPU, told.append)


def test_the_prior_that_was_tried_is_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is loaded once, and the trial leaves no trace in it: the run is that of a prior just loaded."""
    loads = []

    def load(name: str, device: torch.device) -> MixturePrior:
        loads.append(name)
        return ball_prior()

    for module in ("afford", "generate"):
        monkeypatch.setattr(f"sds3d.engine.{module}.load_prior", load)
    monkeypatch.setattr("sds3d.engine.generate.present", lambda *arguments: None)  # pictures are tested elsewhere
    small = {"views": 2, "splats.count": 60, "export.resolution": 16, "export.texture": 32, "formats": "ply"}
    command = ["generate", "a red ball", "--steps", "4", "--guidance", "sds", "--device", "cpu"]
    command += [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    runs = []
    for name, flags in (("budget", ["--budget", "1h"]), ("plain", [])):
        result = CliRunner().invoke(app, [*command, *flags, "--out", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        (run,) = (tmp_path / name).iterdir()
        lines = (run / "metrics.jsonl").read_text().splitlines()
        runs.append([{**json.loads(line), "ms": None} for line in lines])
        assert len(loads) == len(runs)
    assert runs[0] == runs[1] and len(runs[0]) == 4
