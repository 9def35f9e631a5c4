"""What `sds3d doctor --prior` foretells on CUDA against what torch measures there."""

from __future__ import annotations

from pathlib import Path

import torch
from prior_helpers import write_sd_folder

from sds3d.engine.distill import distill, prepare
from sds3d.engine.forecast import CONTEXT, forecast
from sds3d.engine.resolve import resolve
from sds3d.priors import load_prior

CUDA = torch.device("cuda")


def test_memory_and_time_of_a_middling_stable_diffusion(tmp_path: Path) -> None:
    """200 M parameters, 512 pixels: both within a factor of two."""
    shape = {"sample_size": 64, "block_out_channels": (320, 640), "norm_num_groups": 32, "layers_per_block": 2}
    folder = str(write_sd_folder(tmp_path / "mid", **shape))
    chosen = {"guidance": "sds", "scene": "splats", "views": 4}
    found = forecast(folder, CUDA, chosen)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    prior = load_prior(folder, CUDA)
    run = prepare(resolve("a red chair", chosen | {"prior": folder, "steps": 12}), prior, synchronise=True)
    seconds = sorted(record.ms["total"] / 1e3 for record in distill(run))[3]
    taken = torch.cuda.max_memory_allocated() - before
    assert 0.5 < (found.memory - CONTEXT) / taken < 2
    assert 0.5 < found.step_seconds / seconds < 2
