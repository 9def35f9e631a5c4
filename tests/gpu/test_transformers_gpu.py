"""Transformer families on CUDA against the CPU, on tiny random networks."""

from __future__ import annotations

import pytest
import torch
from transformer_pipelines import FAMILIES, case

from sds3d.priors.diffusion import DiffusionPrior

PROMPTS = ["a red chair", ""]


@pytest.mark.parametrize("name", FAMILIES)
def test_eps_and_latents_agree_with_the_cpu(name: str) -> None:
    model = case(name)
    there = DiffusionPrior.load(model.folder, "cuda", dtype=torch.float32)
    z, t = model.noise(), torch.tensor([200, 800])
    eps = there.predict(z.cuda(), t.cuda(), there.text(PROMPTS))
    expected = model.prior.predict(z, t, model.prior.text(PROMPTS))
    assert eps.is_cuda
    torch.testing.assert_close(eps.cpu(), expected, rtol=1e-2, atol=1e-2)  # TF32 convolutions
    rgb = torch.rand(1, 3, there.size, there.size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(there.encode(rgb.cuda()).cpu(), model.prior.encode(rgb), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_near(name: str) -> None:
    """In what a model of full size would run in: float16, or bfloat16 where the family overflows in it."""
    model = case(name)
    there = DiffusionPrior.load(model.folder, "cuda", dtype=torch.float16)
    assert there.dtype == (torch.float16 if there.family.float16 else torch.bfloat16)
    z, t = model.noise(), torch.tensor([200, 800])
    eps = there.predict(z.cuda(), t.cuda(), there.text(PROMPTS))
    assert (eps.cpu() - model.prior.predict(z, t, model.prior.text(PROMPTS))).abs().mean() < 0.1
