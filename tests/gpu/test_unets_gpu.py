"""UNet families in half precision on CUDA against float32 on the CPU, from tiny random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from family_pipelines import WRITERS, ring_angles, write_mvdream_folder
from prior_helpers import noise

from sds3d.priors.diffusion import DiffusionPrior

pytestmark = [pytest.mark.gpu]


@pytest.mark.parametrize("family", WRITERS)
def test_cuda_agrees_with_the_cpu(family: str, tmp_path: Path) -> None:
    """Half precision leaves about three digits; a wrong layout or condition would leave none."""
    folder = WRITERS[family](tmp_path / family)
    here = DiffusionPrior.load(folder, dtype=torch.float32)
    there = DiffusionPrior.load(folder, "cuda", dtype=torch.float16)
    config = here.network.config
    x = noise(2, config.in_channels, config.sample_size, config.sample_size)
    t, prompts = torch.tensor([20, 900]), ["a red car", ""]
    eps = there.predict(x.cuda(), t.cuda(), there.text(prompts))
    assert eps.is_cuda and eps.dtype == torch.float32
    torch.testing.assert_close(eps.cpu(), here.predict(x, t, here.text(prompts)), rtol=3e-2, atol=3e-2)
    rgb = noise(1, 3, here.size, here.size).sigmoid()
    torch.testing.assert_close(there.encode(rgb.cuda()).cpu(), here.encode(rgb), rtol=5e-2, atol=5e-2)


def test_sdxls_vae_is_not_computed_in_float16(tmp_path: Path) -> None:
    there = DiffusionPrior.load(WRITERS["sdxl"](tmp_path / "sdxl"), "cuda", dtype=torch.float16)
    wide = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    assert there.codec.vae.dtype == wide  # type: ignore[attr-defined]


def test_views_that_are_denoised_together(tmp_path: Path) -> None:
    folder = write_mvdream_folder(tmp_path / "mvdream")
    here = DiffusionPrior.load(folder, dtype=torch.float32)
    there = DiffusionPrior.load(folder, "cuda", dtype=torch.float16)
    x, t, angles = noise(8, 4, 8, 8), torch.tensor([20] * 4 + [900] * 4), ring_angles(2)
    expected = here.predict(x, t, here.text(["a red car"]).repeat(8).with_camera(angles))
    cond = there.text(["a red car"]).repeat(8).with_camera(angles.cuda())
    torch.testing.assert_close(there.predict(x.cuda(), t.cuda(), cond).cpu(), expected, rtol=3e-2, atol=3e-2)
    alone = there.predict(x[:4].cuda(), t[:4].cuda(), cond.select(torch.arange(4).cuda()))
    torch.testing.assert_close(alone.cpu(), expected[:4], rtol=3e-2, atol=3e-2)
