"""A look at a prior in training: its sheet of samples, and what the probe sees on it, as a series over its images."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sds3d.bench.contest import Unit, judge
from sds3d.bench.contestants import Samples
from sds3d.bench.scores import summarise
from sds3d.bench.shots import photograph
from sds3d.bench.targets import Vocabulary, load_targets
from sds3d.embedded import look
from sds3d.priors import load_prior
from sds3d.probe.judge import Probe
from sds3d.probe.report import cell

SHOWN = {"r1": "R@1", "r5": "R@5", "colour": "colour", "azimuth": "azimuth", "janus": "Janus", "score": "score"}


def look_at(out: Path, images: int, probe: Probe, device: torch.device) -> dict[str, Any]:
    """Draw and judge the prior in `out`, which has seen `images`.

    Writes out/samples.png, the same as out/work/samples-<images>.png, and a line of out/work/probe.jsonl, which is
    returned.
    """
    started = time.perf_counter()
    targets = load_targets([look.PROMPTS], Vocabulary(probe.nouns, probe.known, probe.fronted))
    prompts = [target.prompt for target in targets]
    drawn = look.draw(load_prior(out.resolve(), device), prompts)
    sheet = out / "work" / f"samples-{images}.png"
    shutil.copy(look.write_sheet(out / "samples.png", prompts, drawn), sheet)
    way = Samples(look.CFG, look.STEPS, 0.0, look.ETA)
    shots = [photograph(views, 0.0) for views in drawn]
    verdicts = [judge(probe, Unit(way, target, 0), shot) for target, shot in zip(targets, shots, strict=True)]
    found = summarise(verdicts, look.ring().azimuth.tolist())
    figures = {name: None if (figure := found[name]) is None else asdict(figure) for name in SHOWN}
    record = {
        "images": images,
        "prompts": len(targets),
        **figures,
        "ceiling": {name: probe.ceiling.get(name) for name in SHOWN},
        "sheet": sheet.name,
        "seconds": round(time.perf_counter() - started, 1),
    }
    with (out / "work" / "probe.jsonl").open("a") as log:
        log.write(json.dumps(record) + "\n")
    return record


def look_line(record: dict[str, Any]) -> str:
    """For a person: "R@5 80% / 69%" is the prior's figure and, behind the stroke, the probe's own on real renders."""
    kinds = {"r5": "share", "colour": "share", "azimuth": "degrees"}
    cells = [
        f"{SHOWN[name]} {cell(None if record[name] is None else record[name]['value'], record['ceiling'][name], kind)}"
        for name, kind in kinds.items()
    ]
    return f"probe at {record['images']:,} images, {record['prompts']} prompts:  {'  '.join(cells)}"
