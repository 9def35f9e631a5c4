"""The mesh renderer's torch path on CUDA against the numba kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sds3d.camera import orbit
from sds3d.scenes.mesh import MeshConfig, MeshScene
from sds3d.scenes.mesh_color import ColorConfig, VoxelConfig
from sds3d.streams import stream

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def step(device: str, size: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Pictures, and gradients by parameter group, of an egg with bumps."""
    color = ColorConfig("dense", VoxelConfig(16, 3), base=16)
    scene = MeshScene.create(
        MeshConfig(resolution=32, color=color, supersample=1), torch.device(device), stream(0, "init")
    )
    with torch.no_grad():
        for group in scene.parameters():
            for p in group.params:
                p += (0.01 * torch.randn(p.shape, generator=stream(0, group.name))).to(p.device)
    frame = scene.render(orbit(3, elevation=21.0, start=13.0), size, torch.ones(3, 3))
    weight = torch.randn(frame.rgb.shape, generator=stream(0, "weight")).to(frame.rgb.device)
    ((frame.rgb * weight).sum() + scene.regulariser(frame, 0.5)).backward()
    gradients = {
        g.name: torch.cat([p.grad.flatten() for p in g.params if p.grad is not None]).cpu() for g in scene.parameters()
    }
    return [v.detach().cpu() for v in (frame.rgb, frame.alpha, frame.depth)], gradients


@pytest.mark.parametrize("size", [48, 200])
def test_cuda_agrees_with_numba(size: int) -> None:
    """99.9 % of the pixels within 1e-3 (ties may fall differently), gradients within 1 % of their norm."""
    (ours, g_ours), (truth, g_truth) = step("cuda", size), step("cpu", size)
    for a, b in zip(ours, truth, strict=True):
        assert ((a - b).abs() > 1e-3).float().mean() < 1e-3
    for name, gradient in g_truth.items():
        assert (g_ours[name] - gradient).norm() < 1e-2 * gradient.norm(), name
