"""What a training was begun with, kept beside its weights: nobody goes on with them on something else by mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sds3d.embedded.folder import write_json
from sds3d.embedded.recipe import STAGES, Recipe
from sds3d.embedded.train import finished
from sds3d.errors import UserError

FILE = "stamps.json"


def command() -> str:
    return " ".join(["sds3d", *sys.argv[1:]])


def stamps(work: Path) -> list[dict[str, Any]]:
    """By what command, on which corpus and by what recipe the training in `work` was begun and, on purpose, gone on
    with."""
    path = work / FILE
    return list(json.loads(path.read_text())["stamps"]) if path.is_file() else []


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """["seed 5 (was 0)", ...] of two stamps."""
    pairs = {"corpus": (old["corpus"][:8], new["corpus"][:8])}
    pairs |= {key: (old["recipe"].get(key, "unknown"), value) for key, value in new["recipe"].items()}
    return [f"{key} {now} (was {was})" for key, (was, now) in pairs.items() if was != now]


def admit(work: Path, corpus: str, recipe: Recipe, go_on: bool) -> None:
    """Stamp the folder. UserError where it holds weights of another corpus (its hash) or recipe, unless `go_on`."""
    before = stamps(work)
    stamp = {"command": command(), "corpus": corpus, "recipe": asdict(recipe)}
    changes = differences(before[-1], stamp) if before else ["corpus and recipe (not noted then)"]
    if not any((work / f"train_{stage}.pt").is_file() for stage in STAGES):
        (work / "components.pt").unlink(missing_ok=True)  # may be another corpus's
        before = []
    elif not changes:
        return
    elif not go_on:
        raise UserError(
            f"{work.parent} holds a prior trained otherwise: {', '.join(changes)}; choose another folder by --out, or "
            "go on with these weights on purpose by --go-on"
        )
    elif finished(work, recipe):
        raise UserError(
            f"the prior in {work.parent} has seen all the images that the recipe asks for: to go on, ask for more by "
            "--set eigen_images=N and --set detail_images=N"
        )
    write_json(work / FILE, {"stamps": [*before, stamp]})
