"""What the Gaussian renderers offer beyond the default: absolute screen gradients, colours per view, harmonics."""

from __future__ import annotations

import pytest
import torch
from gsplat.cuda._torch_impl import _spherical_harmonics
from torch import Tensor

from sds3d.camera import Cameras, orbit, sample_cameras
from sds3d.render.harmonics import basis, rest
from sds3d.render.splats import render_splats
from sds3d.streams import stream


def cloud(n: int = 150) -> dict[str, Tensor]:
    g = stream(0, "cloud")
    return {
        "means": torch.randn(n, 3, generator=g) * 0.4,
        "quats": torch.randn(n, 4, generator=g),
        "scales": torch.exp(torch.randn(n, 3, generator=g) * 0.6 - 2.7),
        "opacities": torch.rand(n, generator=g),
        "colors": torch.rand(n, 3, generator=g),
    }


def absolute_gradients(cameras: Cameras, size: int, backend: str, weights: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, 2) means2d.absgrad and .grad of sum(weights * rgb)."""
    leaves = {name: value.clone().requires_grad_() for name, value in cloud().items()}
    frame = render_splats(
        **leaves, cameras=cameras, size=size, background=torch.zeros(len(cameras), 3), backend=backend, absgrad=True
    )
    (frame.rgb * weights).sum().backward()
    assert frame.means2d.grad is not None
    return frame.means2d.absgrad, frame.means2d.grad  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_absolute_gradients_are_sums_over_pixels(backend: str) -> None:
    """Against one backward pass per pixel: the sum of the absolute values, within 1e-4 of its norm."""
    cameras, size = orbit(1), 6
    weights = torch.randn(1, 3, size, size, generator=stream(0, "weights"))
    absolute, signed = absolute_gradients(cameras, size, backend, weights)
    total, net = torch.zeros_like(absolute), torch.zeros_like(absolute)
    for y in range(size):
        for x in range(size):
            one = torch.zeros_like(weights)
            one[..., y, x] = weights[..., y, x]
            pixel = absolute_gradients(cameras, size, "torch", one)[1]
            total, net = total + pixel.abs(), net + pixel
    assert (absolute - total).norm() < 1e-4 * total.norm() and (signed - net).norm() < 1e-4 * total.norm()
    assert total.norm() > 1.3 * net.norm()  # the signs do cancel


@pytest.mark.parametrize("size", [24, 37])
def test_absolute_gradients_agree_between_backends(size: int) -> None:
    cameras = sample_cameras(3, stream(0, "camera"))
    weights = torch.randn(3, 3, size, size, generator=stream(0, "weights"))
    ours, truth = (absolute_gradients(cameras, size, backend, weights)[0] for backend in ("numba", "torch"))
    assert (ours - truth).norm() < 1e-4 * truth.norm()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_colours_of_each_view(backend: str) -> None:
    """Colours (B, N, 3) give what each view gives alone with its own colours, and the gradients of both."""
    cameras, size = orbit(3), 20
    colors = torch.rand(3, 150, 3, generator=stream(0, "colors"))
    weights = torch.randn(3, 3, size, size, generator=stream(0, "weights"))
    splats = cloud()
    means, together = splats["means"].clone().requires_grad_(), colors.clone().requires_grad_()
    background = torch.zeros(3, 3)
    frame = render_splats(
        means, splats["quats"], splats["scales"], splats["opacities"], together, cameras, size, background, backend
    )
    (frame.rgb * weights).sum().backward()
    alone_means, alone = splats["means"].clone().requires_grad_(), colors.clone().requires_grad_()
    for b in range(3):
        camera, shape = cameras[b : b + 1], (splats["quats"], splats["scales"], splats["opacities"])
        view = render_splats(alone_means, *shape, alone[b], camera, size, background[:1], backend)
        assert torch.allclose(view.rgb[0], frame.rgb[b], atol=1e-6)
        (view.rgb[0] * weights[b]).sum().backward()
    assert torch.allclose(together.grad, alone.grad, atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(means.grad, alone_means.grad, atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_are_those_of_gsplat(degree: int) -> None:
    """Each basis function against gsplat's reference, within float32's rounding."""
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=stream(0, "directions")), dim=-1)
    values = basis(directions, degree)
    assert values.shape == (200, rest(degree) + 1)
    for k in range(values.shape[-1]):
        one = torch.zeros(200, values.shape[-1], 3)
        one[:, k] = 1.0
        torch.testing.assert_close(values[:, k], _spherical_harmonics(degree, directions, one)[:, 0], atol=1e-6, rtol=0)


def test_harmonics_are_orthonormal() -> None:
    """The integral of Y_i Y_j over the sphere is the identity; 40,000 points of a Fibonacci lattice see it to 1e-3."""
    n = 40_000
    z = 1 - (2 * torch.arange(n, dtype=torch.float64) + 1) / n
    angle = torch.arange(n, dtype=torch.float64) * 2.399963229728653
    radius = (1 - z * z).sqrt()
    values = basis(torch.stack([radius * angle.cos(), radius * angle.sin(), z], -1), 3)
    gram = values.T @ values * (4 * torch.pi / n)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-3, rtol=0)
