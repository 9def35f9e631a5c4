"""The volume renderer against closed forms, brute force, float64 autograd and nerfacc's batched maths."""

from __future__ import annotations

import math

import nerfacc
import pytest
import torch

from sds3d.errors import UserError
from sds3d.render.trilinear import double, trilinear
from sds3d.render.volume import (
    OPAQUE,
    Samples,
    available_backends,
    ball_bounds,
    choose_backend,
    composite,
    cull,
    march,
    occupied,
    weights,
)
from sds3d.streams import stream

BACKENDS = ["torch", "numba"]
FULL = torch.ones(4, 4, 4, dtype=torch.bool)


def rays(n: int, purpose: str = "rays") -> tuple[torch.Tensor, torch.Tensor]:
    """n rays from outside towards points near the middle."""
    g = stream(0, purpose)
    origins = torch.nn.functional.normalize(torch.randn(n, 3, generator=g), dim=-1) * 3
    towards = torch.rand(n, 3, generator=g) - 0.5
    return origins, torch.nn.functional.normalize(towards - origins, dim=-1)


def patchy(n: int = 12) -> torch.Tensor:
    return torch.rand(n, n, n, generator=stream(0, "cells")) < 0.2


def random_samples(dtype: torch.dtype = torch.float32) -> tuple[Samples, torch.Tensor, torch.Tensor]:
    """Samples on 40 rays, some of them without any, with densities and colours."""
    origins, directions = rays(40)
    near, far = ball_bounds(origins, directions, 1.0)
    far[::7] = near[::7]
    s = march(origins, directions, patchy(), 1.0, near, far, 0.1)
    g = stream(0, "values")
    sigma, rgb = torch.rand(len(s), generator=g) * 10, torch.rand(len(s), 3, generator=g)
    s = Samples(s.start.to(dtype), s.end.to(dtype), s.points.to(dtype), s.offsets)
    return s, sigma.to(dtype), rgb.to(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("density", [0.3, 4.0, 60.0])
def test_constant_slab_has_its_closed_form(backend: str, density: float) -> None:
    """alpha = 1 - exp(-sigma L) exactly; E[t] = a + 1/sigma - L e^{-sigma L} / alpha up to O(sigma step^2)."""
    origins, directions = torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    a, length = torch.tensor([2.5]), 0.75
    samples = march(origins, directions, FULL, 1.0, a, a + length, length / 512, backend=backend)
    assert len(samples) == 512
    sigma, rgb = torch.full((512,), density), torch.tensor([0.2, 0.5, 0.9]).repeat(512, 1)
    out = composite(samples, sigma, rgb, backend)
    alpha = 1 - math.exp(-density * length)
    depth = 2.5 + 1 / density - length * math.exp(-density * length) / alpha
    assert out.alpha.item() == pytest.approx(alpha, abs=1e-5)
    assert out.depth.item() == pytest.approx(depth, abs=2e-4)
    torch.testing.assert_close(out.rgb[0], alpha * rgb[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ball_of_constant_density(backend: str) -> None:
    """alpha = 1 - exp(-sigma chord) for every ray; the lattice misjudges a chord by less than a step."""
    origins, directions = rays(200)
    radius, density, step = 0.5, 2.0, 0.002
    near, far = ball_bounds(origins, directions, radius)
    samples = march(origins, directions, FULL, 1.0, near, far, step, backend=backend)
    out = composite(samples, torch.full((len(samples),), density), torch.zeros(len(samples), 3), backend)
    closest = torch.linalg.cross(origins, directions).norm(dim=-1)
    chord = 2 * (radius**2 - closest**2).clamp(min=0).sqrt()
    torch.testing.assert_close(far - near, chord, atol=2e-3, rtol=0)  # float32 near the rim
    torch.testing.assert_close(out.alpha, 1 - torch.exp(-density * chord), atol=density * step, rtol=0)


def test_ball_bounds_from_inside_and_on_a_miss() -> None:
    origins = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, -3.0], [0.0, 0.0, 3.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    near, far = ball_bounds(origins, directions, 1.0)
    assert near.tolist() == [0.0, 3.0, 0.0]
    assert far.tolist() == [1.0, 3.0, 0.0]  # inside; a miss is empty; the ball behind is empty


@pytest.mark.parametrize("backend", BACKENDS)
def test_march_is_the_brute_force_walk(backend: str) -> None:
    """Every lattice interval whose middle is before `far` in an occupied cell, and no other."""
    origins, directions = rays(60)
    near, far = ball_bounds(origins, directions, 1.0)
    cells, step = patchy(), 0.07
    phase = torch.rand(60, generator=stream(0, "phase"))
    samples = march(origins, directions, cells, 1.0, near, far, step, phase, backend)
    expected = []
    for r in range(60):
        k = 0
        while (middle := near[r] + phase[r] * step + k * step + step / 2) < far[r]:
            x, y, z = ((origins[r] + middle * directions[r] + 1) * 6).long().clamp(0, 11).tolist()
            if cells[z, y, x]:
                expected.append((r, middle.item()))
            k += 1
    assert samples.ray.tolist() == [r for r, _ in expected]
    middles = (samples.start + samples.end) / 2
    torch.testing.assert_close(middles, torch.tensor([t for _, t in expected]), atol=1e-5, rtol=0)
    torch.testing.assert_close(samples.points, origins[samples.ray] + directions[samples.ray] * middles[:, None])


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_cells_are_never_sampled(backend: str) -> None:
    """Each sample lies in an occupied cell, and the occupied cells hold all the samples of a full grid."""
    origins, directions = rays(2000)
    near, far = ball_bounds(origins, directions, 1.0)
    cells = patchy(16)
    some = march(origins, directions, cells, 1.0, near, far, 0.05, backend=backend)
    every = march(origins, directions, torch.ones_like(cells), 1.0, near, far, 0.05, backend=backend)
    assert occupied(cells, 1.0, some.points).all()
    assert len(some) == int(occupied(cells, 1.0, every.points).sum()) > 1000
    assert len(march(origins, directions, torch.zeros_like(cells), 1.0, near, far, 0.05, backend=backend)) == 0


def test_torch_marcher_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    origins, directions = rays(100)
    near, far = ball_bounds(origins, directions, 1.0)
    whole = march(origins, directions, patchy(), 1.0, near, far, 0.05)
    monkeypatch.setattr("sds3d.render.volume.CHUNK", 300)
    parts = march(origins, directions, patchy(), 1.0, near, far, 0.05)
    assert torch.equal(whole.points, parts.points) and torch.equal(whole.offsets, parts.offsets)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cull_keeps_what_light_reaches(backend: str) -> None:
    samples, sigma, rgb = random_samples()
    sigma = sigma * 10
    light = weights(samples, sigma) / (1 - torch.exp(-sigma * (samples.end - samples.start)))
    kept = cull(samples, sigma, backend=backend)
    assert len(kept) == int((light >= OPAQUE).sum()) < len(samples)
    keep = light >= OPAQUE
    assert torch.equal(kept.points, samples.points[keep]) and torch.equal(kept.ray, samples.ray[keep])
    before = composite(samples, sigma, rgb)
    after = composite(kept, sigma[keep], rgb[keep])
    torch.testing.assert_close(after.rgb, before.rgb, atol=OPAQUE, rtol=0)


def test_cull_hands_back_everything_when_all_is_seen() -> None:
    samples, sigma, _ = random_samples()
    assert torch.equal(cull(samples, sigma * 0, backend="numba").points, samples.points)


@pytest.mark.parametrize("backend", BACKENDS)
def test_composite_gradients_match_float64_autograd(backend: str) -> None:
    """Float32 gradients of colour, alpha and depth within 1e-4 of the float64 reference."""
    exact, sigma64, rgb64 = random_samples(torch.float64)
    samples, sigma, rgb = random_samples()
    grads = []
    for s, values, name in ((exact, (sigma64, rgb64), "torch"), (samples, (sigma, rgb), backend)):
        leaves = [v.clone().requires_grad_() for v in values]
        out = composite(s, *leaves, backend=name)
        g = stream(0, "cotangent")
        loss = sum((o * torch.rand(o.shape, generator=g, dtype=torch.float64).to(o.dtype)).sum() for o in out)
        grads.append(torch.autograd.grad(loss, leaves))
    for reference, ours in zip(*grads, strict=True):
        torch.testing.assert_close(ours.double(), reference, atol=1e-4, rtol=1e-4)


def test_composite_passes_gradcheck() -> None:
    samples, sigma, rgb = random_samples(torch.float64)
    last = int(samples.offsets[4])
    few = Samples(samples.start[:last], samples.end[:last], samples.points[:last], samples.offsets[:5])
    leaves = (sigma[:last].clone().requires_grad_(), rgb[:last].clone().requires_grad_())
    assert last > 5
    assert torch.autograd.gradcheck(lambda s, c: tuple(composite(few, s, c)), leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rays_without_samples_are_empty_and_differentiable(backend: str) -> None:
    none = torch.zeros(0)
    samples = Samples(none, none, torch.zeros(0, 3), torch.zeros(4, dtype=torch.long))
    sigma, rgb = torch.zeros(0, requires_grad=True), torch.zeros(0, 3, requires_grad=True)
    out = composite(cull(samples, sigma.detach(), backend=backend), sigma, rgb, backend)
    assert out.rgb.shape == (3, 3) and not out.alpha.any() and not out.depth.any()
    out.alpha.sum().backward()
    assert sigma.grad is not None and sigma.grad.shape == (0,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_and_sums_match_nerfacc(backend: str) -> None:
    """nerfacc's batched (rays, samples) maths, which runs without CUDA, on the same intervals."""
    n, s = 30, 24
    g = stream(0, "nerfacc")
    edges = 2 + torch.rand(n, s + 1, generator=g).cumsum(-1) * 0.1
    start, end = edges[:, :-1], edges[:, 1:]
    sigma, rgb = torch.rand(n, s, generator=g) * 8, torch.rand(n, s, 3, generator=g)
    theirs, _, _ = nerfacc.render_weight_from_density(start, end, sigma)
    samples = Samples(start.reshape(-1), end.reshape(-1), torch.zeros(n * s, 3), torch.arange(n + 1) * s)
    torch.testing.assert_close(weights(samples, sigma.reshape(-1)).view(n, s), theirs, atol=1e-6, rtol=0)
    out = composite(samples, sigma.reshape(-1), rgb.reshape(-1, 3), backend)
    torch.testing.assert_close(out.rgb, nerfacc.accumulate_along_rays(theirs, rgb), atol=2e-6, rtol=0)
    alpha = nerfacc.accumulate_along_rays(theirs, None)
    depth = nerfacc.accumulate_along_rays(theirs, ((start + end) / 2)[..., None]) / alpha
    torch.testing.assert_close(out.alpha, alpha[:, 0], atol=2e-6, rtol=0)
    torch.testing.assert_close(out.depth, depth[:, 0], atol=1e-5, rtol=0)


def test_numba_repeats_itself_bit_for_bit() -> None:
    samples, sigma, rgb = random_samples()
    grids = []
    for _ in range(2):
        grid = torch.zeros(9, 9, 9, 4, requires_grad=True)
        read = trilinear(grid, samples.points, 1.0)
        composite(samples, sigma + read[:, 0], rgb + read[:, 1:], "numba").rgb.square().sum().backward()
        assert grid.grad is not None
        grids.append(grid.grad)
    assert torch.equal(*grids) and grids[0].abs().max() > 0


def test_trilinear_kernel_is_grid_sample() -> None:
    """Values within 1e-6 and gradients within 1e-5 of torch's own operator; points outside read the border."""
    g = stream(0, "trilinear")
    grid = torch.randn(9, 9, 9, 3, generator=g)
    points = (torch.rand(500, 3, generator=g) - 0.5) * 2.4  # a sixth of them outside of [-1, 1]
    corner = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    points = torch.cat([points, corner])
    cotangent = torch.randn(len(points), 3, generator=g)
    results = []
    for dtype in (torch.float32, torch.float64):  # float64 takes grid_sample
        leaf = grid.to(dtype).requires_grad_()
        out = trilinear(leaf, points.to(dtype), 1.0)
        (slope,) = torch.autograd.grad(out, leaf, cotangent.to(dtype))
        results.append((out.detach().double(), slope.double()))
    (ours, our_slope), (reference, slope) = results
    torch.testing.assert_close(ours, reference, atol=2e-6, rtol=0)
    torch.testing.assert_close(our_slope, slope, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[-2:].float(), torch.stack([grid[-1, -1, -1], grid[0, 0, 0]]))


def test_doubling_keeps_the_function_and_its_gradient() -> None:
    g = stream(0, "double")
    grid = torch.randn(3, 3, 3, 1, generator=g, dtype=torch.float64, requires_grad=True)
    points = torch.rand(200, 3, generator=g, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(trilinear(double(grid), points, 1.0), trilinear(grid, points, 1.0))
    assert torch.autograd.gradcheck(double, grid)


def test_backends_are_named_and_checked() -> None:
    found = available_backends()
    assert found["torch"] is None and found["numba"] is None
    assert choose_backend("auto", torch.device("cpu")) == "numba"
    assert choose_backend("auto", torch.device("meta")) == "torch"
    with pytest.raises(UserError, match="did you mean 'numba'"):
        choose_backend("nubma", torch.device("cpu"))
    with pytest.raises(UserError, match="nerfacc"):
        choose_backend("nerfacc", torch.device("cpu"))
    with pytest.raises(UserError, match="runs on cpu"):
        choose_backend("numba", torch.device("cuda"))
