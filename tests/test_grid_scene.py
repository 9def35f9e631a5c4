"""The grid scene: encodings against explicit references, occupancy, state, and a fit of a known object."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sds3d.camera import Cameras, orbit
from sds3d.errors import UserError
from sds3d.render.occupancy import OccupancyGrid
from sds3d.render.trilinear import trilinear
from sds3d.render.volume import ball_bounds
from sds3d.scenes.base import Frame
from sds3d.scenes.encodings import PRIMES, DenseGrid, HashGrid
from sds3d.scenes.grid import GridScene
from sds3d.scenes.grid_config import DenseConfig, GridConfig, HashConfig
from sds3d.scenes.regularisers import total_variation
from sds3d.streams import stream

SMALL = GridConfig(
    dense=DenseConfig(resolution=16, levels=2),
    hash=HashConfig(levels=4, log2_size=10, coarsest=4, finest=32),
    hidden=8,
    occupancy=16,
    occupancy_every=2,
    step=(0.1, 0.08),
)
KINDS = {
    "direct": SMALL,
    "features": replace(SMALL, dense=replace(SMALL.dense, features=4)),
    "hash": replace(SMALL, encoding="hash"),
    "softplus": replace(SMALL, activation="softplus", backend="torch"),
}


def make(config: GridConfig = SMALL, seed: int = 0) -> GridScene:
    return GridScene.create(config, "cpu", stream(seed, "init"))


def adams(scene: GridScene) -> dict[str, torch.optim.Optimizer]:
    return {g.name: torch.optim.Adam(g.params, lr=g.lr, betas=(0.9, 0.99), eps=1e-15) for g in scene.parameters()}


def train(
    scene: GridScene, target: Tensor, cameras: Cameras, steps: range, optimizers: dict, total: int = 100
) -> float:  # type: ignore[type-arg]
    """Least squares on images over black; returns the last loss."""
    size, loss = target.shape[-1], torch.zeros(())
    for step in steps:
        views = torch.arange(4) * 4 + step % 4 if len(cameras) == 16 else torch.arange(len(cameras))
        frame = scene.render(cameras[views], size, torch.zeros(len(views), 3))
        loss = (frame.rgb - target[views]).square().sum() / len(views) + scene.regulariser(frame, step / total)
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        scene.after_backward(step, total, frame, optimizers)
        for optimizer in optimizers.values():
            optimizer.step()
        scene.after_step(step, total, frame, optimizers, stream(0, "occupancy", step))
    return float(loss.detach())


def known_object(cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """Images over black and masks of a striped ball beside a blue box, by fine stepping along the rays."""
    origins, directions = (v.reshape(-1, 3) for v in cameras.rays(size))
    near, far = ball_bounds(origins, directions, 1.0)
    t = near[:, None] + (torch.arange(128) + 0.5) / 128 * (far - near)[:, None]
    x = origins[:, None] + directions[:, None] * t[..., None]
    ball = (x - torch.tensor([-0.25, 0.2, 0.0])).norm(dim=-1) < 0.45
    box = ((x - torch.tensor([0.3, -0.35, 0.1])).abs() < torch.tensor([0.35, 0.2, 0.3])).all(-1)
    hit, first = (ball | box).any(1), (ball | box).float().argmax(1)
    rows = torch.arange(len(x))
    stripes = torch.full((len(x), 3), 0.15)
    stripes[:, 0] = 0.5 + 0.5 * torch.sin(8 * x[rows, first, 1])
    color = torch.where(ball[rows, first][:, None], stripes, torch.tensor([0.1, 0.4, 0.9])) * hit[:, None]
    shape = (len(cameras), size, size, -1)
    return color.view(shape).permute(0, 3, 1, 2), hit.view(shape).permute(0, 3, 1, 2)


def test_dense_grid_is_the_sum_of_its_levels() -> None:
    grid = DenseGrid(3, 16, 3, 1.0)
    for i, level in enumerate(grid.levels):
        level.data = torch.randn(level.shape, generator=stream(0, "level", i))
    points = torch.rand(300, 3, generator=stream(0, "points")) * 2 - 1
    apart = sum(trilinear(level, points, 1.0) for level in grid.levels)
    assert [len(level) for level in grid.levels] == [5, 9, 17]
    torch.testing.assert_close(grid.encode(grid.table(), points), apart, atol=1e-5, rtol=0)


def test_dense_levels_must_nest() -> None:
    with pytest.raises(UserError, match="divisible by 4"):
        DenseGrid(4, 30, 3, 1.0)


def test_hash_grid_reads_trilinearly_where_it_is_dense() -> None:
    """Levels that fit the table equal our dense read of the same corner values; order x fastest."""
    grid = HashGrid(2, 2, 12, 4, 8, 1.0, stream(0, "hash"))
    assert grid.sizes == [125, 729]
    points = torch.rand(200, 3, generator=stream(0, "points")) * 2 - 1
    levels = [v.T.reshape(n, n, n, 2) for v, n in zip(grid.entries.split(grid.sizes, 1), (5, 9), strict=True)]
    expected = torch.cat([trilinear(level, points, 1.0) for level in levels], -1)
    torch.testing.assert_close(grid.encode(grid.table(), points), expected, atol=1e-8, rtol=1e-4)


def test_hash_grid_hashes_as_instant_ngp() -> None:
    """At a corner of a hashed level the feature is the entry (x ^ y 2654435761 ^ z 805459861) mod T, in 32 bits."""
    grid = HashGrid(1, 2, 6, 32, 32, 1.0, stream(0, "hash"))
    corner = [5, 17, 30]
    mixed = 0
    for v, prime in zip(corner, PRIMES, strict=True):
        mixed ^= (v * prime) & 0xFFFFFFFF
    point = torch.tensor([corner]) / 16 - 1
    torch.testing.assert_close(grid.encode(grid.table(), point)[0], grid.entries[:, mixed % 64], atol=1e-9, rtol=1e-4)


def test_hash_gradient_reaches_the_corners_with_their_weights() -> None:
    grid = HashGrid(1, 1, 12, 4, 4, 1.0, stream(0, "hash"))
    grid.encode(grid.table(), torch.tensor([[-0.875, -1.0, -1.0]])).sum().backward()
    assert grid.entries.grad is not None
    assert grid.entries.grad[0, :2].tolist() == [0.75, 0.25] and grid.entries.grad[0, 2:].count_nonzero() == 0


def test_occupancy_follows_the_density_and_forgets_it() -> None:
    """A ball of radius 0.3 and its neighbour cells are marked; when it is gone, so are they."""
    grid = OccupancyGrid(32, decay=0.5, threshold=0.3)

    def ball(points: Tensor) -> Tensor:
        return 5.0 * (points.norm(dim=-1) < 0.3)

    for step in range(3):
        grid.update(ball, stream(0, "occupancy", step))
    cell = 2 / 32
    radius = grid.centres.norm(dim=-1)
    assert grid.cells[radius < 0.3].all()  # nothing that is there is missed
    assert not grid.cells[radius > 0.3 + 3 * cell].any()  # and little else is looked at
    assert 0.3 < grid.reach < 0.3 + 5 * cell
    for step in range(6):
        grid.update(lambda points: 1e-3 * torch.ones(len(points)), stream(1, "occupancy", step))
    assert not grid.cells[radius < 0.25].any() or grid.values.max() < 0.3


def test_occupancy_never_leaves_the_ball() -> None:
    grid = OccupancyGrid(16)
    grid.update(lambda points: torch.full((len(points),), 9.0), stream(0, "occupancy"))
    inside = (grid.centres.abs() - 1 / 16).clamp(min=0).norm(dim=-1) < 1
    assert torch.equal(grid.cells, inside) and grid.occupied == 1.0 and grid.reach == 1.0


def test_an_empty_occupancy_renders_the_background() -> None:
    scene = make()
    scene.occupancy.update(lambda points: torch.zeros(len(points)), stream(0, "occupancy"))
    scene.occupancy.load_state_dict(
        {**scene.occupancy.state_dict(), "cells": torch.zeros(16, 16, 16, dtype=torch.bool), "reach": torch.zeros(())}
    )
    frame = scene.render(orbit(2), 8, torch.full((2, 3), 0.25))
    assert (frame.rgb == 0.25).all() and not frame.alpha.any() and not frame.depth.any()


@pytest.mark.parametrize("kind", KINDS)
def test_frame_is_composited_over_its_background(kind: str) -> None:
    """rgb over white minus rgb over black is 1 - alpha; the blob is centred and symmetric."""
    scene = make(KINDS[kind])
    with torch.no_grad():
        black = scene.render(orbit(3), 16, torch.zeros(3, 3))
        white = scene.render(orbit(3), 16, torch.ones(3, 3))
    assert black.rgb.shape == (3, 3, 16, 16) and black.alpha.shape == black.depth.shape == (3, 1, 16, 16)
    torch.testing.assert_close(white.rgb - black.rgb, (1 - black.alpha).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(black.alpha, black.alpha.flip(-1), atol=0.04, rtol=0)
    assert black.alpha[:, :, 7:9, 7:9].min() > 0.5 > black.alpha[:, :, 0, 0].max()


def test_depth_is_along_the_view_axis() -> None:
    """A thick wall, the half space z < 0.2, seen from the front: the same depth at every pixel."""
    scene = make(replace(SMALL, step=(0.01, 0.01)))
    z = torch.linspace(-1, 1, 17)[:, None, None]
    direct = scene.field.encoding.state_dict()
    direct["level0"].zero_()
    direct["level1"][..., 0] = torch.where(z < 0.2, 9.0, -9.0)
    scene._update_occupancy(stream(0, "occupancy"))
    camera = orbit(1, elevation=0.0)
    with torch.no_grad():
        frame = scene.render(camera, 16, torch.zeros(1, 3))
    middle = frame.depth[0, 0, 5:11, 5:11]
    assert frame.alpha[0, 0, 5:11, 5:11].min() > 0.99
    assert middle.max() - middle.min() < 0.02
    assert middle.mean().item() == pytest.approx(camera.distance.item() - 0.18, abs=0.06)


def test_training_renders_jitter_by_step_and_others_do_not() -> None:
    scene = make()
    background = torch.zeros(2, 3)
    first, again = (scene.render(orbit(2), 16, background).rgb for _ in range(2))
    assert torch.equal(first, again)
    scene.steps += 1
    assert not torch.equal(first, scene.render(orbit(2), 16, background).rgb)
    with torch.no_grad():
        still = scene.render(orbit(2), 16, background).rgb
        scene.steps += 1
        assert torch.equal(still, scene.render(orbit(2), 16, background).rgb)


@pytest.mark.parametrize("kind", ["direct", "features", "hash"])
def test_a_resumed_run_ends_in_the_same_bytes(kind: str) -> None:
    cameras = orbit(4, elevation=20.0)
    target, _ = known_object(cameras, 12)
    whole = make(KINDS[kind])
    optimizers = adams(whole)
    train(whole, target, cameras, range(5), optimizers)
    state = {k: v.clone() for k, v in whole.state_dict().items()}
    moments = {n: deepcopy(o.state_dict()) for n, o in optimizers.items()}
    resumed = make(KINDS[kind], seed=7)
    resumed.load_state_dict(state)
    others = adams(resumed)
    for name, optimizer in others.items():
        optimizer.load_state_dict(moments[name])
    train(resumed, target, cameras, range(5, 9), others)
    train(whole, target, cameras, range(5, 9), optimizers)
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert any(not torch.equal(ours[k], state[k]) for k in ours)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_field_learns(kind: str) -> None:
    """Thirty steps take the squared error to less than half of the blob's."""
    cameras = orbit(4, elevation=20.0)
    target, _ = known_object(cameras, 16)
    scene = make(KINDS[kind])
    optimizers = adams(scene)
    first = train(scene, target, cameras, range(1), optimizers)
    assert train(scene, target, cameras, range(1, 30), optimizers) < first / 2


def test_backends_agree_on_a_whole_image_and_its_gradient() -> None:
    """numba against torch: rgb, alpha and depth within 1e-4, gradients within 1e-3 of their largest."""
    frames, slopes = [], []
    for backend in ("numba", "torch"):
        scene = make(replace(SMALL, backend=backend))
        frame = scene.render(orbit(2), 24, torch.full((2, 3), 0.5))
        (frame.rgb.square().sum() + 0.1 * frame.depth.sum()).backward()
        frames.append(frame)
        slopes.append(torch.cat([p.grad.view(-1) for p in scene.parameters()[0].params]))  # type: ignore[union-attr]
    for name in ("rgb", "alpha", "depth"):
        torch.testing.assert_close(getattr(frames[0], name), getattr(frames[1], name), atol=1e-4, rtol=1e-4)
    assert (slopes[0] - slopes[1]).abs().max() < 1e-3 * slopes[1].abs().max()


def test_surface_is_what_is_rendered() -> None:
    """Integrating the surface's density along the central ray gives the image's alpha; outside of the ball it is 0."""
    scene = make(replace(SMALL, step=(0.005, 0.005)))
    surface = scene.surface()
    t = torch.linspace(-1, 1, 2001)[:, None]
    direction = orbit(1).forward[0]
    sigma = surface.density(t * direction)
    alpha = 1 - torch.exp(-torch.trapezoid(sigma, t[:, 0]))
    with torch.no_grad():
        frame = scene.render(orbit(1), 65, torch.zeros(1, 3))
    assert frame.alpha[0, 0, 32, 32].item() == pytest.approx(alpha.item(), abs=0.02)
    corners = torch.tensor([[0.9, 0.9, 0.9], [0.0, -1.01, 0.0]])
    assert surface.density(corners).tolist() == [0.0, 0.0]
    assert surface.color(corners).shape == (2, 3)


def test_regularisers_have_their_closed_forms() -> None:
    config = replace(SMALL, sparsity=(1.0, 3.0), entropy=(0.0, 2.0), variation=(0.0, 4.0))
    scene = make(config)
    table = torch.zeros(5, 5, 5, 4)
    table[..., 0] = torch.arange(5.0)  # a ramp of slope 1 along x, in one channel of four
    frame = Frame(
        torch.zeros(1, 3, 2, 2), torch.full((1, 1, 2, 2), 0.25), torch.zeros(1, 1, 2, 2), None, {"table": table}
    )
    assert total_variation(table).item() == pytest.approx(0.25)
    sparsity = math.sqrt(0.25**2 + 0.01)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert scene.regulariser(frame, 0.0).item() == pytest.approx(sparsity, rel=1e-5)
    assert scene.regulariser(frame, 0.5).item() == pytest.approx(2 * sparsity + entropy + 2 * 0.25, rel=1e-5)
    silent = replace(SMALL, sparsity=(0.0, 0.0), entropy=(0.0, 0.0))
    assert make(silent).regulariser(frame, 0.5).item() == 0.0


def test_orientation_punishes_surfaces_seen_from_behind() -> None:
    """The blob's near half faces the camera, its far half is hidden or faces away: denser is better."""
    losses = []
    for strength in (0.5, 6.0):
        scene = make(replace(SMALL, orientation=(1.0, 1.0), sparsity=(0.0, 0.0), blob_strength=strength))
        losses.append(scene.regulariser(scene.render(orbit(2), 16, torch.zeros(2, 3)), 0.0))
    assert losses[0] > 2 * losses[1] > 0
    losses[0].backward()


def test_bad_backend_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="unknown volume backend 'cuda'"):
        make(replace(SMALL, backend="cuda"))


def test_fits_a_known_object_from_sixteen_views() -> None:
    """Held-out views of a striped ball and a box above 25 dB, and a clean silhouette, after 120 steps of 4 views."""
    cameras = orbit(16, elevation=25.0)
    cameras.elevation[::2] = -15.0
    target, _ = known_object(cameras, 48)
    config = replace(GridConfig(), dense=DenseConfig(resolution=32, levels=3), occupancy=32, step=(0.06, 0.05))
    scene = make(config)
    train(scene, target, cameras, range(120), adams(scene), total=120)
    held_out = orbit(5, elevation=5.0, start=17.0)
    truth, mask = known_object(held_out, 48)
    with torch.no_grad():
        frame = scene.render(held_out, 48, torch.zeros(5, 3))
    psnr = -10 * math.log10((frame.rgb - truth).square().mean().item())
    overlap = ((frame.alpha > 0.5) & mask).sum() / ((frame.alpha > 0.5) | mask).sum()
    assert psnr > 25 and overlap > 0.9
    assert scene.occupancy.occupied < 0.6
