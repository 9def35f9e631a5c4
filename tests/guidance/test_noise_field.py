"""The noise field (O7): white and normal in every view, tied to the surface across views."""

from __future__ import annotations

import math

import pytest
import torch
from field_scenes import DOUBLE, ball, seen
from torch import Tensor

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.errors import UserError
from sds3d.guidance.noise_field import FieldNoise, gather, visible

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


def test_without_texels_there_is_no_field() -> None:
    with pytest.raises(UserError, match="texels"):
        Plain(texels=0)


class Plain(FieldNoise):
    """The field on its own."""

    def calls(self, c: object, states: object) -> list:
        return []

    def combine(self, e: object, states: object, c: object) -> Tensor:
        raise NotImplementedError
