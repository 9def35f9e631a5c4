"""The Gaussian renderers agree: numba kernels, torch reference, gsplat's own torch projection, closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sds3d.camera import Cameras, orbit, sample_cameras
from sds3d.errors import UserError
from sds3d.render import jit
from sds3d.render.projection import DILATION, MIN_ALPHA, project, rotation_matrices
from sds3d.render.splats import SplatFrame, available_backends, choose_backend, render_splats
from sds3d.streams import stream

NAMES = ("means", "quats", "scales", "opacities", "colors")


def cloud(n: int = 200, seed: int = 0, spread: float = 0.4) -> dict[str, Tensor]:
    """Gaussians of all sizes, shapes and opacities."""
    g = stream(seed, "cloud")
    return {
        "means": torch.randn(n, 3, generator=g) * spread,
        "quats": torch.randn(n, 4, generator=g) * 3,
        "scales": torch.exp(torch.randn(n, 3, generator=g) * 0.6 - 2.7),
        "opacities": torch.rand(n, generator=g),
        "colors": torch.rand(n, 3, generator=g),
    }


def draw(
    splats: dict[str, Tensor], cameras: Cameras, size: int, backend: str, dilation: float = DILATION
) -> tuple[SplatFrame, dict[str, Tensor]]:
    """The frame and the gradients of a random linear function of rgb, alpha and depth."""
    g = stream(1, "upstream")
    leaves = {name: value.clone().requires_grad_() for name, value in splats.items()}
    background = torch.rand(len(cameras), 3, generator=g)
    frame = render_splats(
        **leaves, cameras=cameras, size=size, background=background, backend=backend, dilation=dilation
    )
    loss = sum((v * torch.randn(v.shape, generator=g)).sum() for v in (frame.rgb, frame.alpha, frame.depth))
    assert isinstance(loss, Tensor)
    loss.backward()
    return frame, {**{name: v.grad for name, v in leaves.items()}, "means2d": frame.means2d.grad}  # type: ignore[dict-item]


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm().clamp_min(1e-12))


def assert_agree(splats: dict[str, Tensor], cameras: Cameras, size: int, dilation: float = DILATION) -> None:
    """Pixels within 2e-5, depth within 2e-4, gradients within 1e-4 of their norm (float32, different order of sums).
    Radii are rounded up to whole pixels, so one in a hundred may differ by one."""
    ours, g_ours = draw(splats, cameras, size, "numba", dilation)
    truth, g_truth = draw(splats, cameras, size, "torch", dilation)
    assert (ours.rgb - truth.rgb).abs().max() < 2e-5
    assert (ours.alpha - truth.alpha).abs().max() < 2e-5
    assert (ours.depth - truth.depth).abs().max() < 2e-4
    assert (ours.radii - truth.radii).abs().max() <= 1 and (ours.radii != truth.radii).float().mean() < 0.01
    for name, gradient in g_truth.items():
        assert relative(g_ours[name], gradient) < 1e-4, name


@pytest.mark.parametrize("size", [8, 29, 40])
def test_numba_agrees_with_the_reference(size: int) -> None:
    assert_agree(cloud(), sample_cameras(3, stream(0, "cameras")), size)


def test_numba_agrees_on_opaque_stacks() -> None:
    """Many opaque layers: pixels stop early, alpha meets its ceiling of 0.999."""
    splats = cloud(300, spread=0.1)
    splats["opacities"] = torch.cat([torch.ones(150), torch.full((150,), 0.9)])
    splats["scales"] = splats["scales"] * 3
    assert_agree(splats, orbit(2), 24)


def test_numba_agrees_when_gaussians_surround_the_camera() -> None:
    """Gaussians behind, beside and at the camera, and ones whose Jacobian is clamped at the frustum's edge."""
    cameras = Cameras(*(torch.tensor([v]) for v in (20.0, 10.0, 60.0, 0.7)))
    assert_agree(cloud(200, spread=0.8), cameras, 24)


def test_numba_agrees_on_extreme_sizes() -> None:
    splats = cloud(60)
    splats["scales"][:20] = 1e-7
    splats["scales"][20:30] = 3.0
    splats["scales"][30:40] = torch.tensor([1.0, 1e-6, 1e-6])
    assert_agree(splats, orbit(2), 24)


def test_backends_agree_whatever_the_dilation() -> None:
    assert_agree(cloud(), orbit(2), 24, dilation=0.05)


def test_nothing_to_see() -> None:
    """Faint, far-off and absent Gaussians leave the background, exactly, and gradients of zero."""
    splats = cloud(40)
    splats["opacities"][:20] = 0.5 * MIN_ALPHA
    splats["means"][20:] = torch.tensor([50.0, 0.0, 0.0])
    for few in (splats, {name: value[:0] for name, value in splats.items()}):
        for backend in ("numba", "torch"):
            leaves = {name: v.clone().requires_grad_() for name, v in few.items()}
            frame = render_splats(
                **leaves, cameras=orbit(2), size=16, background=torch.full((2, 3), 0.25), backend=backend
            )
            assert torch.equal(frame.rgb, torch.full((2, 3, 16, 16), 0.25))
            assert not frame.alpha.any() and not frame.depth.any() and not frame.radii.any()
            (frame.rgb.sum() + frame.depth.sum()).backward()
            assert all(v.grad is None or not v.grad.any() for v in leaves.values())


def test_broken_gaussians_are_not_drawn() -> None:
    """NaN and infinite rows change neither the picture nor the gradients of the others."""
    splats = cloud(50)
    broken = {name: torch.cat([value, value[:6]]) for name, value in splats.items()}
    for row, (name, value) in enumerate(
        [("means", math.nan), ("means", math.inf), ("quats", math.nan), ("scales", math.nan), ("scales", math.inf)]
    ):
        broken[name][50 + row, 0] = value
    broken["opacities"][55] = math.nan
    frame, gradients = draw(broken, orbit(2), 24, "numba")
    whole, truth = draw(splats, orbit(2), 24, "numba")
    assert torch.equal(frame.rgb, whole.rgb) and torch.equal(frame.depth, whole.depth)
    for name in NAMES:
        assert torch.equal(gradients[name][:50], truth[name]), name


@pytest.mark.parametrize("dilation", [DILATION, 0.05])
def test_one_gaussian_in_closed_form(dilation: float) -> None:
    """An isotropic Gaussian on the axis: alpha = o exp(-d^2 / 2 (s^2 f^2 / z^2 + dilation)), its depth the distance."""
    cameras, size, sigma, opacity = orbit(1), 32, 0.1, 0.8
    color = torch.tensor([[0.2, 0.5, 0.9]])
    one = (torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), sigma), torch.tensor([opacity]), color)
    for backend in ("numba", "torch"):
        frame = render_splats(*one, cameras, size, torch.ones(1, 3), backend=backend, dilation=dilation)
        centre = torch.arange(size) + 0.5 - size / 2
        variance = (sigma * cameras.focal(size) / cameras.distance) ** 2 + dilation
        alpha = opacity * torch.exp(-(centre**2 + centre[:, None] ** 2) / 2 / variance)
        alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0)
        assert torch.allclose(frame.alpha[0, 0], alpha, atol=1e-5)
        assert torch.allclose(frame.rgb[0], 1 - alpha + alpha * color[0, :, None, None], atol=1e-5)
        assert torch.allclose(frame.depth[0, 0][alpha > 0], cameras.distance, rtol=1e-5)


def test_nearer_gaussian_covers_farther_one() -> None:
    """Red in front of green from the front, green in front of red from behind."""
    means = torch.tensor([[0.0, 0, 0.5], [0.0, 0, -0.5]])
    quats, scales = torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1), torch.full((2, 3), 0.2)
    colors = torch.tensor([[1.0, 0, 0], [0.0, 1, 0]])
    frame = render_splats(means, quats, scales, torch.full((2,), 0.99), colors, orbit(2, 0.0), 17, torch.zeros(2, 3))
    front, back = frame.rgb[:, :, 8, 8]
    assert front[0] > 0.9 > 0.1 > front[1] and back[1] > 0.9 > 0.1 > back[0]


def test_projection_agrees_with_gsplat() -> None:
    """gsplat's pure-torch projection is the independent oracle: values and gradients within 1e-4 (relative)."""
    oracle = pytest.importorskip("gsplat.cuda._torch_impl")
    cameras, size = sample_cameras(3, stream(0, "cameras")), 48
    ours = {name: v.clone().requires_grad_() for name, v in cloud().items()}
    theirs = {name: v.clone().requires_grad_() for name, v in cloud().items()}
    covariance, _ = oracle._quat_scale_to_covar_preci(theirs["quats"], theirs["scales"], compute_preci=False)
    intrinsics = torch.eye(3).repeat(3, 1, 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = cameras.focal(size)
    intrinsics[:, :2, 2] = size / 2
    _, means2d, depths, conics, _ = oracle._fully_fused_projection(
        theirs["means"], covariance, cameras.world_to_camera(), intrinsics, size, size
    )
    mine = project(ours["means"], ours["quats"], ours["scales"], ours["opacities"], cameras, size)
    pairs = list(zip((mine.means2d, mine.conics, mine.depths), (means2d, conics, depths), strict=True))
    for a, b in pairs:
        assert relative(a, b) < 1e-4
    g = stream(2, "upstream")
    weights = [torch.randn(b.shape, generator=g) for _, b in pairs]
    torch.autograd.backward([a for a, _ in pairs], weights)
    torch.autograd.backward([b for _, b in pairs], weights)
    for name in ("means", "quats", "scales"):
        a, b = ours[name].grad, theirs[name].grad
        assert a is not None and b is not None and relative(a, b) < 1e-4, name


def test_rotations_are_rotations() -> None:
    r = rotation_matrices(torch.randn(50, 4, generator=stream(0, "quats")))
    assert torch.allclose(r @ r.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(r), torch.ones(50), atol=1e-5)
    quarter = rotation_matrices(torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)]))
    assert torch.allclose(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_screen_gradients_in_closed_form(backend: str) -> None:
    """For L = sum of alpha x over the pixels, dL/du is the sum of alpha, as moving a blob by 1 adds its mass; 3 %, for
    the skirt below 1/255 is cut off."""
    leaf = torch.zeros(2, 3, requires_grad=True)
    with torch.no_grad():
        leaf[1] = torch.tensor([9.0, 0.0, 0.0])  # out of the picture
    quats, scales = torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1), torch.full((2, 3), 0.2)
    frame = render_splats(
        leaf,
        quats,
        scales,
        torch.full((2,), 0.9),
        torch.full((2, 3), 0.5),
        orbit(2),
        32,
        torch.ones(2, 3),
        backend=backend,
    )
    (frame.alpha * torch.arange(32)).sum().backward()
    gradient = frame.means2d.grad
    assert gradient is not None and gradient.shape == (2, 2, 2)
    assert torch.allclose(gradient[:, 0, 0], frame.alpha.sum((1, 2, 3)), rtol=0.03)
    assert gradient[:, 0, 1].abs().max() < 0.01 * gradient[0, 0, 0]
    assert not gradient[:, 1].any() and frame.radii[:, 0].all() and not frame.radii[:, 1].any()


def test_same_bytes_every_time_and_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scheduling must not show: pictures and gradients are equal bit by bit, 1 thread or 5."""
    splats, cameras = cloud(800), orbit(5)

    def bits() -> list[Tensor]:
        frame, gradients = draw(splats, cameras, 40, "numba")
        return [frame.rgb.detach(), frame.depth.detach(), *gradients.values()]

    runs = []
    for threads in (1, 2, 5, 5):
        monkeypatch.setattr(jit, "THREADS", threads)
        jit._pool.cache_clear()
        runs.append(bits())
    jit._pool.cache_clear()
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_views_do_not_influence_each_other() -> None:
    splats, cameras = cloud(), sample_cameras(4, stream(0, "cameras"))
    background = torch.rand(4, 3, generator=stream(0, "background"))
    together = render_splats(**splats, cameras=cameras, size=24, background=background)
    for b in range(4):
        alone = render_splats(**splats, cameras=cameras[b : b + 1], size=24, background=background[b : b + 1])
        assert torch.equal(alone.rgb[0], together.rgb[b]) and torch.equal(alone.depth[0], together.depth[b])


def test_backends_are_named_and_refused() -> None:
    reasons = available_backends()
    assert reasons["torch"] == "ok" and reasons["numba"] == "ok"
    assert choose_backend(torch.device("cpu")) == "numba"
    assert choose_backend(torch.device("mps")) == "torch"
    splats = cloud(5)
    with pytest.raises(UserError, match="did you mean 'numba'"):
        render_splats(**splats, cameras=orbit(1), size=8, background=torch.ones(1, 3), backend="nunba")
    with pytest.raises(UserError, match="gsplat.*runs on cuda"):
        render_splats(**splats, cameras=orbit(1), size=8, background=torch.ones(1, 3), backend="gsplat")
