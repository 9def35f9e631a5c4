"""The lines that a run prints where there is no terminal."""

from __future__ import annotations

import re

import pytest

from sds3d.cli import console
from sds3d.cli.console import Reporter
from sds3d.engine.record import Record


def record(step: int, total: int) -> Record:
    return Record(step, total, 0.5, 1.0, None, None, None, False, {}, {"total": 250.0})


def test_each_run_has_its_own_speed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bench makes many runs with one reporter: one that was resumed late, then one from the beginning."""
    seconds = 100.0
    monkeypatch.setattr(console.time, "perf_counter", lambda: seconds)
    reporter = Reporter()
    for run in (range(301, 401), range(1, 401)):
        for step in run:
            seconds += 0.25
            reporter.step(record(step, 400))
        seconds += 50  # its export
    said = re.findall(r"step (\d+)/400 +([\d.-]+) it/s  eta ([\d:-]+)", capsys.readouterr().out)
    assert {rate for _, rate, _ in said} == {"4.0"}
    assert [eta for step, _, eta in said if step == "40"] == ["1:30"]
    assert [eta for step, _, eta in said if step == "320"] == ["0:20", "0:20"]
