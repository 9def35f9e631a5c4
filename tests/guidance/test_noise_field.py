"""The noise field (O7): white and normal in every view, tied to the surface across views."""

from __future__ import annotations

import math

import pytest
import torch
from field_scenes import DOUBLE, RADIUS, ball, seen
from torch import Tensor

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.errors import UserError
from sds3d.guidance import View
from sds3d.guidance.noise import run_fixed
from sds3d.guidance.noise_field import FieldNoise, gather, visible
from sds3d.guidance.surface import unproject

SIZE, TEXELS = 16, 2


def cameras(*azimuths: float) -> Cameras:
    n = len(azimuths)
    fov = torch.full((n,), 40.0)
    return Cameras(torch.tensor(azimuths), torch.full((n,), 20.0), fov, fit_distance(fov))


def drawn(seeds: int, *azimuths: float) -> tuple[Tensor, Tensor]:
    """Fields (seeds, B, SIZE^2) of the ball, and the overlap of voxels (B, SIZE^2, B, SIZE^2) between pixels."""
    c = seen(ball(cameras(*azimuths), 4 * SIZE), SIZE)
    views, voxels, pixels = visible(c, TEXELS)
    fields = []
    for c.seed in range(seeds):
        fields.append(gather(c, views, voxels, pixels, 0.0).flatten(1))
    names, index = voxels.unique(return_inverse=True)
    table = torch.zeros(len(azimuths) * SIZE**2, len(names), dtype=DOUBLE)
    table[views * SIZE**2 + pixels, index] = 1
    table = table / table.sum(1, keepdim=True).clamp(min=1).sqrt()
    n = len(azimuths)
    return torch.stack(fields), (table @ table.T).view(n, SIZE**2, n, SIZE**2)


def test_every_pixel_is_standard_normal_and_white_within_a_view() -> None:
    field, overlap = drawn(100, 0.0)
    covered = overlap[0, :, 0].diagonal() > 0.5
    assert 0.3 < covered.double().mean() < 0.6
    inside = field[:, 0, covered]
    assert abs(inside.mean()) < 5 / math.sqrt(inside.numel())
    assert abs(inside.var() - 1) < 5 * math.sqrt(2 / inside.numel())
    cdf = torch.special.ndtr(inside.flatten().sort().values)
    steps = torch.arange(1, inside.numel() + 1, dtype=DOUBLE) / inside.numel()
    assert (steps - cdf).abs().max() < 1.95 / math.sqrt(inside.numel())  # Kolmogorov-Smirnov at 1e-3
    assert torch.allclose(overlap[0, :, 0], torch.diag(covered.to(DOUBLE)), atol=1e-12)  # no voxel in two pixels
    counts = visible(seen(ball(cameras(0.0), 4 * SIZE), SIZE), TEXELS)[2].bincount(minlength=SIZE**2)
    assert len(counts[covered].unique()) > 3  # pixels of few and of many voxels alike


@pytest.mark.parametrize("texels", [3, 5])
def test_voxels_lie_on_the_surface_and_belong_to_the_pixel_that_their_centre_is_in(texels: int) -> None:
    """Edge: a `texels`-th of a pixel at the fitted distance, where the unit ball fills 95 % of the picture."""
    view = ball(cameras(30.0), 16 * SIZE)
    _, voxels, pixels = visible(seen(view, SIZE), texels)
    edge = 2 / (0.95 * SIZE * texels)
    index = torch.stack([voxels >> 36, voxels >> 18, voxels], 1) % (1 << 18) - (1 << 17)
    centres = (index + 0.5) * edge
    off = (centres.to(DOUBLE).norm(dim=1) - RADIUS).abs()
    assert off.max() < edge * math.sqrt(3) / 2 + 0.01 and off.mean() < 0.4 * edge
    local = centres.to(DOUBLE) @ view.cameras.world_to_camera()[0, :3, :3].T.to(DOUBLE)
    depth = local[:, 2] + view.cameras.distance[0]
    picture = local[:, :2] / depth[:, None] / math.tan(math.radians(20)) + 1  # 0 to 2
    column, row = (picture * SIZE / 2).floor().long().unbind(1)
    assert (row * SIZE + column == pixels).double().mean() > 0.999  # but for rounding on an edge

    dense = unproject(view.cameras, view.depth[:, 0])[view.alpha[:, 0] > 0] / edge
    all_of_them = dense.floor().unique(dim=0)
    assert 0.7 < len(voxels) / len(all_of_them) < 0.9  # the rest are grazed in a corner


def test_covariance_across_views_is_the_overlap_of_their_voxels() -> None:
    """Regressed over all pairs of pixels, the covariance is 1 x overlap, within five standard errors."""
    field, overlap = drawn(150, 0.0, 6.0)
    both = overlap[0, :, 1]
    product = torch.einsum("sp,pq,sq->s", field[:, 0], both, field[:, 1])
    slope = product.mean() / both.square().sum()
    error = product.std() / math.sqrt(len(product)) / both.square().sum()
    assert abs(slope - 1) < 5 * error < 0.1
    shared = both[both.sum(1) > 0].max(1).values
    assert shared.mean() > 0.3  # six degrees apart, much is shared


def test_the_far_side_has_noise_of_its_own() -> None:
    _, overlap = drawn(1, 0.0, 180.0)
    assert overlap[0, :, 1].sum() < 0.02 * overlap[0, :, 0].sum()


def test_the_background_is_one_noise_for_all_views_of_the_run() -> None:
    c = seen(ball(cameras(0.0, 90.0), 4 * SIZE), SIZE, channels=2)
    field = FieldNoise.field(Plain(), c)
    corner = field[:, :, 0, 0]
    assert torch.equal(corner[0], corner[1]) and not torch.equal(field[0], field[1])
    assert not torch.equal(field[:, 0], field[:, 1])


def test_the_same_geometry_has_the_same_noise_and_no_gradient() -> None:
    view = ball(orbit(2), 4 * SIZE)
    view.depth.requires_grad_()
    first, later = (FieldNoise.field(Plain(), seen(view, SIZE, step=step)) for step in (0, 7))
    assert torch.equal(first, later) and not first.requires_grad
    assert not torch.equal(FieldNoise.field(Plain(), seen(view, SIZE, seed=1)), first)
    renewed = FieldNoise.field(Plain(), seen(view, SIZE, step=7), gamma=0.5)
    assert not torch.allclose(renewed, later)


@pytest.mark.parametrize(("texels", "resolution"), [(1, 5), (2, 4), (3, 2)])  # as many points, as many, more of them
@pytest.mark.parametrize(("gamma", "step"), [(0.0, 3), (1e-3, 1500)])
def test_the_kernel_draws_what_voxels_and_sums_say(texels: int, resolution: int, gamma: float, step: int) -> None:
    """To the rounding of float32 (1e-5); pixels without a voxel are the background exactly."""
    c = seen(ball(cameras(10.0, 80.0, 200.0), resolution * SIZE), SIZE, channels=2, step=step)
    assert c.view is not None
    c.view.alpha.mul_(0.15).add_(torch.rand(c.view.alpha.shape, generator=c.generator, dtype=DOUBLE) * 0.05)
    views, voxels, pixels = visible(c, texels)
    expected = gather(c, views, voxels, pixels, gamma)
    field = FieldNoise.field(Plain(texels=texels), c, gamma)
    assert field.dtype == c.x.dtype and (field - expected).abs().max() < 1e-5
    empty = torch.ones(3, SIZE**2, dtype=torch.bool).index_put_((views, pixels), torch.tensor(False))
    background = run_fixed(c, name="noise-background")
    assert 0.3 < empty.double().mean() < 0.9
    assert torch.equal(field.flatten(2).mT[empty], background.float().to(DOUBLE).flatten(2).mT[empty])


def test_a_view_has_the_same_bytes_in_any_company() -> None:
    view = ball(orbit(20), 2 * SIZE)
    alone = View(view.cameras[3:4], view.alpha[3:4], view.depth[3:4])
    assert torch.equal(FieldNoise.field(Plain(), seen(view, SIZE))[3:4], FieldNoise.field(Plain(), seen(alone, SIZE)))


def test_without_texels_there_is_no_field() -> None:
    with pytest.raises(UserError, match="texels"):
        Plain(texels=0)


class Plain(FieldNoise):
    """The field on its own."""

    def calls(self, c: object, states: object) -> list:
        return []

    def combine(self, e: object, states: object, c: object) -> Tensor:
        raise NotImplementedError
