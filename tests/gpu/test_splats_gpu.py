"""gsplat's CUDA rasterisers: Gaussians against the torch reference, discs against closed forms."""

from __future__ import annotations

import pytest
import torch

from sds3d.camera import orbit, sample_cameras
from sds3d.engine.optim import Optimizers
from sds3d.render.splats import choose_backend, render_splats
from sds3d.render.splats_surfels import render_surfels
from sds3d.scenes.splats import SplatScene
from sds3d.scenes.splats_config import SplatsConfig
from sds3d.streams import stream

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("size", [24, 50])
def test_gsplat_agrees_with_the_reference(size: int) -> None:
    """Pixels within 1e-4, depth within 1e-3, gradients within 1e-3 of their norm (gsplat uses fast exponentials)."""
    g = stream(0, "cloud")
    n, device = 300, torch.device("cuda")
    splats = {
        "means": torch.randn(n, 3, generator=g) * 0.4,
        "quats": torch.randn(n, 4, generator=g),
        "scales": torch.exp(torch.randn(n, 3, generator=g) * 0.6 - 2.7),
        "opacities": torch.rand(n, generator=g),
        "colors": torch.rand(n, 3, generator=g),
    }
    cameras, background = sample_cameras(3, g).to(device), torch.rand(3, 3, generator=g).to(device)
    assert choose_backend(device) == "gsplat"
    results = {}
    for backend in ("gsplat", "torch"):
        leaves = {name: value.to(device).requires_grad_() for name, value in splats.items()}
        frame = render_splats(**leaves, cameras=cameras, size=size, background=background, backend=backend)
        upstream = stream(1, "upstream")
        images = (frame.rgb, frame.alpha, frame.depth)
        torch.autograd.backward(images, [torch.randn(v.shape, generator=upstream).to(device) for v in images])
        gradients = {**{name: v.grad for name, v in leaves.items()}, "means2d": frame.means2d.grad}
        results[backend] = (images, gradients)
    (ours, g_ours), (truth, g_truth) = results["gsplat"], results["torch"]
    for a, b, tolerance in zip(ours, truth, (1e-4, 1e-4, 1e-3), strict=True):
        assert (a - b).abs().max() < tolerance
    for name, gradient in g_truth.items():
        ours_gradient = g_ours[name]
        assert gradient is not None and ours_gradient is not None
        assert (ours_gradient - gradient).norm() < 1e-3 * gradient.norm(), name


def test_gsplat_sums_absolute_gradients_and_colours_of_views() -> None:
    """Colours (B, N, 3) and means2d.absgrad against the torch reference, within 1e-3 of their norm."""
    g = stream(0, "cloud")
    n, device = 200, torch.device("cuda")
    means, quats = torch.randn(n, 3, generator=g) * 0.4, torch.randn(n, 4, generator=g)
    scales, opacities = torch.exp(torch.randn(n, 3, generator=g) * 0.6 - 2.7), torch.rand(n, generator=g)
    colors, weights = torch.rand(3, n, 3, generator=g), torch.randn(3, 3, 40, 40, generator=g).to(device)
    cameras, background = sample_cameras(3, g).to(device), torch.zeros(3, 3, device=device)
    results = []
    for backend in ("gsplat", "torch"):
        leaves = [v.to(device).requires_grad_() for v in (means, quats, scales, opacities, colors)]
        frame = render_splats(*leaves, cameras, 40, background, backend, absgrad=True)
        (frame.rgb * weights).sum().backward()
        results.append((frame.rgb, frame.means2d.absgrad, leaves[-1].grad))  # type: ignore[attr-defined]
    for ours, truth in zip(*results, strict=True):
        assert (ours - truth).norm() < 1e-3 * truth.norm()


def test_a_surfel_is_a_disc() -> None:
    """One disc seen face on: its opacity in the middle, its distance, its normal towards the camera; edge on there is
    next to nothing; gradients reach its place and the statistics of densification."""
    device = torch.device("cuda")
    cameras = orbit(1, 0.0).to(device)
    means = torch.zeros(1, 3, device=device, requires_grad=True)
    scales, opacities = torch.full((1, 3), 0.2, device=device), torch.full((1,), 0.9, device=device)
    color, black = torch.tensor([[0.9, 0.2, 0.1]], device=device), torch.zeros(1, 3, device=device)
    front, side = (torch.tensor([q], device=device) for q in ([1.0, 0, 0, 0], [0.7071, 0, 0.7071, 0]))
    frame = render_surfels(means, front, scales, opacities, color, cameras, 33, black)
    middle = (..., 16, 16)
    assert frame.alpha[middle].item() == pytest.approx(0.9, abs=0.01)
    assert frame.depth[middle].item() == pytest.approx(cameras.distance.item(), abs=0.01)
    assert (frame.rgb[middle].cpu() - 0.9 * color[0].cpu()).abs().max() < 0.01
    assert (frame.normal[middle][0].cpu() - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 0.01
    assert 0 <= frame.bend[middle].item() < 0.05 and frame.distortion[middle].item() < 0.01
    edge = render_surfels(means, side, scales, opacities, color, cameras, 33, black)
    assert edge.alpha.sum() < 0.5 * frame.alpha.sum()
    (frame.rgb[..., :16] ** 2).sum().backward()
    assert means.grad is not None and means.grad.abs().sum() > 0
    assert frame.means2d.grad is not None and frame.means2d.grad.abs().sum() > 0


def test_surfels_learn_a_ball() -> None:
    """A red ball from eight pictures: the error falls to a quarter in 80 steps, its regularisers are finite, and its
    normals in the middle look at the camera."""
    config = SplatsConfig(
        count=2000, cap=3000, surfels=True, radius=0.5, penalty_normal=(0.0, 0.5), penalty_distortion=(0.0, 0.5)
    )
    scene = SplatScene.create(config, "cuda", stream(0, "init"))
    optimizers = Optimizers(scene.parameters())
    cameras, size = orbit(8, 15.0).to("cuda"), 48
    origin, direction = cameras.rays(size)
    inside = (origin * direction).sum(-1).square() - origin.square().sum(-1) + 0.45**2 > 0
    mask = inside.view(8, 1, size, size).float()
    target = mask * torch.tensor([0.9, 0.2, 0.1], device="cuda").view(1, 3, 1, 1)
    errors = []
    for step in range(80):
        frame = scene.render(cameras, size, torch.zeros(8, 3))
        error = (frame.rgb - target).square().sum() / 8
        penalty = scene.regulariser(frame, step / 80)
        assert penalty.isfinite()
        optimizers.zero_grad()
        (error + penalty).backward()
        scene.after_backward(step, 80, frame, optimizers.by_name)
        optimizers.step(step / 80)
        scene.after_step(step, 80, frame, optimizers.by_name, stream(0, "scene", step))
        errors.append(error.item())
    assert errors[-1] < 0.25 * errors[0]
    assert frame.normal is not None
    facing = -(frame.normal[:, :, 24, 24] * cameras.forward).sum(1)
    assert facing.mean() > 0.8
