"""Transformer families in the hands of a critic and of the command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from command_helpers import COARSE, sets
from transformer_pipelines import FAMILIES, case
from typer.testing import CliRunner

from sds3d.cli.app import app
from sds3d.cli.console import Reporter
from sds3d.engine.record import Record
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.guidance.lora import target_layers
from sds3d.streams import stream

PROMPT = "a red chair"
OPTIONS = COARSE | {"views": 2, "preview_every": 50}
GUIDANCES = {"sd3": "vsd", "flux-dev": "sds", "pixart-alpha": "csd", "sana": "rfds"}
ADAPTED = {"sd3": 19, "flux-dev": 11, "pixart-alpha": 8, "sana": 8}  # linear layers of attention


@pytest.mark.parametrize("name", FAMILIES)
def test_a_critic_is_absent_while_off_and_learns_while_on(name: str) -> None:
    model = case(name)
    prior, x, t = model.prior, model.noise(seed=1), torch.tensor([300, 700])
    cond = prior.text([PROMPT]).repeat(2)
    before = prior.predict(x, t, cond)
    assert len(target_layers(prior.network)) == ADAPTED[name]
    critic = LoraCritic(prior, CriticConfig(rank=2, lr=1e-2), stream(0, "critic-init"))
    try:
        assert torch.equal(prior.predict(x, t, cond), before) and torch.equal(critic.predict(x, t, cond), before)
        view = cond.with_camera(torch.tensor([[0.0, 10, 40], [90, 10, 40]]))
        losses = [critic.train_step(x, view, stream(0, "critic")) for _ in range(8)]  # one draw of t and n
        assert losses[-1] < losses[0]
        assert torch.equal(prior.predict(x, t, cond), before)
        assert (critic.predict(x, t, cond) - before).abs().max() > 1e-3
    finally:
        critic.remove()
    assert torch.equal(prior.predict(x, t, cond), before)


@pytest.mark.parametrize("name", FAMILIES)
def test_generate_runs_is_interrupted_and_resumes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 steps through the command line, with Ctrl-C in the eighth."""
    step = Reporter.step

    def interrupting(reporter: Reporter, record: Record) -> None:
        step(reporter, record)
        if record.step == 8:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Reporter, "step", interrupting)
    words = sets(OPTIONS)
    asked = ["--prior", str(case(name).folder), "--guidance", GUIDANCES[name], "--steps", "20", "--out", str(tmp_path)]
    stopped = CliRunner().invoke(app, ["generate", PROMPT, *asked, *words, "--device", "cpu"])
    assert stopped.exit_code == 130 and "stopped at step 8 of 20" in stopped.output, stopped.output
    assert ("told guidance 1" in " ".join(stopped.output.split())) == (name == "flux-dev")
    (run,) = tmp_path.iterdir()
    resumed = CliRunner().invoke(app, ["resume", str(run), "--device", "cpu"])
    assert resumed.exit_code == 0 and "resumed at step 8 of 20" in resumed.output, resumed.output
    assert json.loads((run / "result.json").read_text())["steps"] == {"done": 20, "from": 8}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21)) and not any(line["skipped"] for line in lines)
    assert (run / "asset.ply").stat().st_size > 1000
