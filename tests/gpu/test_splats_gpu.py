"""gsplat's CUDA rasteriser against the torch reference."""

from __future__ import annotations

import pytest
import torch

from sds3d.camera import sample_cameras
from sds3d.render.splats import choose_backend, render_splats
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
