"""What a freshly trained prior draws, always of the same prompts, views and noise: is it getting better?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from sds3d.camera import Cameras, orbit
from sds3d.engine.sample import imagine
from sds3d.priors.base import Prior
from sds3d.view.pictures import tile, to_pixels
from sds3d.view.sheet import write_png

PROMPTS = "training"  # the list
VIEWS, ELEVATION, START = 4, 15.0, 22.5  # START: none straight at the back, whose outline is the front's
STEPS, CFG, ETA = 25, 2.0, 1.0


def ring() -> Cameras:
    """Where every object is seen from."""
    return orbit(VIEWS, ELEVATION, start=START)


def draw(prior: Prior, prompts: Sequence[str]) -> list[Tensor]:
    """(VIEWS, 3, H, W) in [0, 1] of each prompt."""
    return [
        imagine(prior, prompt, VIEWS, 1, 0, STEPS, CFG, ETA, elevation=ELEVATION, start=START)[0] for prompt in prompts
    ]


def write_sheet(path: Path, prompts: Sequence[str], drawn: Sequence[Tensor]) -> Path:
    """Two prompts a row, each over its first view."""
    images = [view for views in drawn for view in to_pixels(views).repeat(2, 1).repeat(2, 2)]
    captions = [caption for prompt in prompts for caption in (prompt, *[""] * (VIEWS - 1))]
    return write_png(path, tile(images, captions, columns=2 * VIEWS))
