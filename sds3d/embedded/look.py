"""A sheet of what a freshly trained prior draws, always of the same prompts and noise: is it getting better?"""

from __future__ import annotations

from pathlib import Path

import torch

from sds3d.engine.sample import imagine
from sds3d.priors import load_prior
from sds3d.prompts import load_list
from sds3d.view.pictures import tile, to_pixels
from sds3d.view.sheet import write_png

VIEWS, STEPS, CFG = 4, 30, 3.0


def draw_samples(folder: Path, device: torch.device) -> Path:
    """Write folder/samples.png: four views of each prompt of the list "ten", a row each."""
    prior = load_prior(folder.resolve(), device)
    prompts = load_list("ten")
    rows = [imagine(prior, prompt, VIEWS, 1, 0, STEPS, CFG)[0] for prompt in prompts]  # each (VIEWS, 3, H, W)
    images = torch.cat(rows).repeat_interleave(2, -1).repeat_interleave(2, -2)
    captions = [c for prompt in prompts for c in (prompt, *[""] * (VIEWS - 1))]
    return write_png(folder / "samples.png", tile(list(to_pixels(images)), captions, columns=VIEWS))
