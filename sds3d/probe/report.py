"""What `sds3d probe` says: figures of a run's views or of picture files, each beside the probe's own ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.picture import pixels, read_picture
from sds3d.probe.angles import angular_error, janus
from sds3d.probe.judge import Probe
from sds3d.probe.words import find_colour

VIEWS, ELEVATION = 8, 15.0  # of a run
SIZE = 128  # pixels a run's views are rendered at


@dataclass(frozen=True)
class Exhibit:
    """Pictures to be judged."""

    name: str
    prompt: str
    images: Tensor  # (B, 3, H, W)
    azimuths: Tensor | None = None  # (B,) degrees they were rendered from, if that is known


def read_run(folder: Path, prompt: str | None, device: torch.device) -> Exhibit:
    """Eight views around what a run has made so far. UserError if it is no run or has made nothing."""
    from sds3d.engine import run
    from sds3d.engine.setup import saved_scene
    from sds3d.view.pictures import frames

    made = run.load(folder)
    scene, _ = saved_scene(made.settings, made.checkpoint, device)
    cameras = orbit(VIEWS, ELEVATION)
    images = torch.cat([frame.rgb for frame in frames(scene, cameras, SIZE)]).clamp(0, 1)
    return Exhibit(folder.name, prompt or made.settings.prompt, images, cameras.azimuth)


def read(path: Path, prompt: str | None, device: torch.device) -> Exhibit:
    """A run folder or a picture. UserError where there is neither, or a picture without a prompt."""
    if path.is_dir():
        return read_run(path, prompt, device)
    if not path.exists():
        raise UserError(f"there is no {path}: give a run folder or a picture")
    if prompt is None:
        raise UserError(f'say what {path.name} should show: --prompt "a red chair"')
    return Exhibit(path.name, prompt, pixels(read_picture(path))[None])


def judge(probe: Probe, exhibit: Exhibit) -> dict[str, Any]:
    """Figures of an exhibit; None where one does not apply."""
    noun, images = probe.noun_of(exhibit.prompt), exhibit.images
    rank = probe.rank(images, noun)
    asked = find_colour(exhibit.prompt, probe.colours)
    seen = probe.hue(images)
    azimuth = probe.azimuth(images)
    true = exhibit.azimuths if noun in probe.fronted else None
    return {
        "name": exhibit.name, "prompt": exhibit.prompt, "noun": noun, "views": len(images),
        "r1": float((rank < 1).float().mean()), "r5": float((rank < 5).float().mean()), "ranks": rank.tolist(),
        "top": [names[0] for names in probe.top(images, 1)],
        "colour": None if asked is None else float((seen == probe.colours.index(asked)).float().mean()),
        "colours": [probe.colours[i] for i in seen.tolist()],
        "azimuth": None if true is None else float(angular_error(azimuth, true).median()),
        "azimuths": azimuth.round().int().tolist(),
        "janus": None if true is None else janus(azimuth, true),
        "score": float(probe.score(images, exhibit.prompt).mean()),
    }  # fmt: skip


def cell(value: float | None, ceiling: float | None, kind: str = "share") -> str:
    """A figure and, behind a stroke, the probe's own: "88% / 91%", "12° / 14°"; "-" where it does not apply."""
    if value is None:
        return "-"
    form = {"share": "{:.0%}", "degrees": "{:.0f}°", "plain": "{:.2f}"}[kind]
    return form.format(value) + (" / " + form.format(ceiling) if ceiling is not None else "")


HEADER = ("what", "noun", "R@1", "R@5", "colour", "azimuth", "Janus", "score", "seen as")


def row(figures: dict[str, Any], ceiling: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table with the columns of HEADER."""
    common = max(dict.fromkeys(figures["top"]), key=figures["top"].count)
    return (
        figures["name"], figures["noun"],
        *(cell(figures[k], ceiling.get(k)) for k in ("r1", "r5", "colour")),
        cell(figures["azimuth"], ceiling.get("azimuth"), "degrees"), cell(figures["janus"], ceiling.get("janus")),
        cell(figures["score"], ceiling.get("score"), "plain"), common,
    )  # fmt: skip
