"""nerfacc's CUDA marcher and compositing against the torch reference, and the grid scene on CUDA."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sds3d.camera import sample_cameras
from sds3d.render.volume import available_backends, ball_bounds, composite, march
from sds3d.scenes.grid import GridScene
from sds3d.scenes.grid_config import DenseConfig, GridConfig, HashConfig
from sds3d.streams import stream

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SMALL = GridConfig(dense=DenseConfig(resolution=32), hash=HashConfig(levels=6, log2_size=14, finest=64), occupancy=32)


@pytest.fixture
def nerfacc() -> str:
    reason = available_backends()["nerfacc"]
    if reason is not None:
        pytest.skip(f"nerfacc cannot be used: {reason}")
    return "nerfacc"


def setting() -> tuple[torch.Tensor, ...]:
    """Rays of two cameras, the ball's ends, and a patchy occupancy, on CUDA."""
    origins, directions = (v.reshape(-1, 3) for v in sample_cameras(2, stream(0, "camera")).rays(32))
    near, far = ball_bounds(origins, directions, 1.0)
    cells = torch.rand(16, 16, 16, generator=stream(0, "cells")) < 0.3
    return tuple(v.cuda() for v in (origins, directions, cells, near, far))


def test_nerfacc_takes_the_same_samples(nerfacc: str) -> None:
    """The same lattice and rule; at most one sample in a thousand falls on another side of a cell's face."""
    origins, directions, cells, near, far = setting()
    phase = torch.rand(len(near), generator=stream(0, "phase")).cuda()
    theirs, ours = (march(origins, directions, cells, 1.0, near, far, 0.05, phase, b) for b in (nerfacc, "torch"))
    differing = (theirs.offsets.diff() - ours.offsets.diff()).abs().sum()
    assert len(ours) > 1000 and differing < 1e-3 * len(ours)


def test_nerfacc_composites_alike(nerfacc: str) -> None:
    """Outputs and gradients within 1e-4 on the same samples."""
    origins, directions, cells, near, far = setting()
    samples = march(origins, directions, cells, 1.0, near, far, 0.05)
    g = stream(0, "values")
    sigma, rgb = torch.rand(len(samples), generator=g).cuda() * 10, torch.rand(len(samples), 3, generator=g).cuda()
    results = []
    for backend in (nerfacc, "torch"):
        leaves = [sigma.clone().requires_grad_(), rgb.clone().requires_grad_()]
        out = composite(samples, leaves[0], leaves[1], backend)
        slopes = torch.autograd.grad(sum(v.square().sum() for v in out), leaves)
        results.append((*out, *slopes))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("encoding", ["dense", "hash"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_scene_looks_the_same_on_cuda_and_cpu(encoding: str, backend: str) -> None:
    """The state of a CPU scene, loaded on CUDA: colour and alpha within 2e-3, depth within 1e-2 where covered."""
    cpu = GridScene.create(replace(SMALL, encoding=encoding), "cpu", stream(0, "init"))
    cuda = GridScene.create(replace(SMALL, encoding=encoding, backend=backend), "cuda", stream(1, "init"))
    cuda.load_state_dict(cpu.state_dict())
    cameras, background = sample_cameras(2, stream(0, "camera")), torch.full((2, 3), 0.5)
    with torch.no_grad():
        ours, theirs = cpu.render(cameras, 32, background), cuda.render(cameras, 32, background)
    torch.testing.assert_close(theirs.rgb.cpu(), ours.rgb, atol=2e-3, rtol=0)
    torch.testing.assert_close(theirs.alpha.cpu(), ours.alpha, atol=2e-3, rtol=0)
    covered = ours.alpha > 0.1
    torch.testing.assert_close(theirs.depth.cpu()[covered], ours.depth[covered], atol=1e-2, rtol=0)


def test_default_encoding_on_cuda_is_the_hash_grid_and_learns() -> None:
    scene = GridScene.create(SMALL, "cuda", stream(0, "init"))
    assert "encoding.entries" in scene.state_dict()
    optimizers = [torch.optim.Adam(g.params, lr=g.lr, betas=(0.9, 0.99), eps=1e-15) for g in scene.parameters()]
    losses = []
    for step in range(20):
        frame = scene.render(sample_cameras(2, stream(0, "camera", step)), 32, torch.ones(2, 3))
        loss = (frame.rgb - torch.tensor([0.9, 0.1, 0.1], device="cuda").view(1, 3, 1, 1)).square()
        loss = (loss * frame.alpha.detach()).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        scene.after_step(step, 20, frame, {}, stream(0, "scene", step))
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
