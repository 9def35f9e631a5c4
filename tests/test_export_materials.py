"""Finishes by words, de-lighting, depth fusion, settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analytic_scenes import Solid, box, sphere, union
from torch.nn import functional as F

from sds3d.errors import UserError
from sds3d.export.config import ExportConfig
from sds3d.export.delight import delighted, harmonics, shading, to_linear, to_srgb
from sds3d.export.fusion import all_around, fuse
from sds3d.export.materials import FINISHES, PLAIN, WORDS, Finish, finish_of
from sds3d.export.mesh import signed_volume, topology
from sds3d.export.surface import fused
from sds3d.export.views import look


@pytest.mark.parametrize(
    ("prompt", "finish"),
    [
        ("a red chair", PLAIN),
        ("a golden ring", WORDS["gold"]),
        ("A WOODEN table with iron legs", WORDS["wood"]),  # the first word decides
        ("a glass of milk", WORDS["glass"]),
        ("a golden retriever", PLAIN),
        ("a golden retriever made of wool", WORDS["wool"]),
        ("a marigold", PLAIN),
        ("", PLAIN),
    ],
)
def test_finishes_by_words(prompt, finish):
    assert finish_of(prompt) == finish


def test_given_factors_go_before_words():
    assert finish_of("a golden ring", roughness=0.0) == Finish(0.0, 1.0)
    assert finish_of("a golden ring", metallic=0.0) == Finish(0.3, 0.0)
    assert finish_of("a chair", 0.5, 0.5) == Finish(0.5, 0.5)


def test_no_word_stands_twice_and_all_factors_are_legal():
    assert len(WORDS) == sum(len(words.split()) for words in FINISHES)
    assert all(0 <= f.roughness <= 1 and 0 <= f.metallic <= 1 for f in FINISHES.values())


@pytest.mark.parametrize("key", ["roughness", "metallic"])
def test_factors_out_of_range_are_refused(key):
    with pytest.raises(UserError, match=f"export.{key}"):
        ExportConfig(**{key: 1.5})


def lit_ball(strength: float = 0.5, count: int = 20_000):
    """Patches of eight albedos, unrelated to the normals, under light from above and one side."""
    generator = torch.Generator().manual_seed(0)
    normals = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    albedo = (torch.rand(8, 3, generator=generator) * 0.5 + 0.1)[torch.randint(8, (count,), generator=generator)]
    light = 1 + strength * normals @ F.normalize(torch.tensor([0.5, 1.0, 0.2]), dim=0)
    return albedo, light, normals


def test_delighting_takes_the_light_and_leaves_the_colours():
    albedo, light, normals = lit_ball()
    found = to_linear(delighted(to_srgb(albedo * light[:, None]), normals))
    scale = (found * albedo).sum() / albedo.square().sum()
    assert ((found / scale - albedo).abs() / albedo).mean() < 0.05
    before = albedo * light[:, None]
    assert ((before / before.mean() * albedo.mean() - albedo).abs() / albedo).mean() > 0.15
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    assert (found @ weights).mean() == pytest.approx(float((before @ weights).mean()), rel=0.01)


def test_delighting_leaves_what_is_not_lit():
    albedo, _, normals = lit_ball()
    assert (delighted(to_srgb(albedo), normals) - to_srgb(albedo)).abs().max() < 0.03


def test_a_white_patch_is_not_taken_for_light():
    normals = lit_ball()[2]
    luminance = torch.where(normals[:, 1] > 0.9, 0.9, 0.2)  # 5 % of the ball: a cap of snow
    light = shading(luminance, normals)
    assert light.max() / light.min() < 1.3


def test_harmonics_are_orthogonal():
    normals = F.normalize(torch.randn(200_000, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    basis = F.normalize(torch.cat([torch.ones(len(normals), 1), harmonics(normals)], 1), dim=0)
    assert (basis.T @ basis - torch.eye(9)).abs().max() < 0.01


def test_srgb_goes_there_and_back():
    values = torch.linspace(0, 1, 256)
    assert torch.allclose(to_srgb(to_linear(values)), values, atol=1e-5)
    assert to_linear(torch.tensor([0.5])) == pytest.approx(0.21404, abs=1e-5)


def test_cameras_all_around_are_even():
    places = F.normalize(all_around(40, -90.0, 90.0).positions, dim=-1)
    assert places.mean(0).norm() < 0.02
    gaps = (places @ places.T - 2 * torch.eye(40)).max(1).values.clamp(-1, 1).arccos().rad2deg()
    assert gaps.min() > 20  # forty even ones would be 33 apart


def test_fusion_of_depths_finds_the_surface():
    scene = Solid(union(sphere(0.4, (-0.45, 0, 0)), box(0.3, 0.3, 0.3)))
    views = look(scene, all_around(), 96)
    found = fused(views, 1.0, 64, 4000)
    shape = topology(found.mesh)
    assert shape.watertight and shape.manifold and shape.components == 1
    assert scene.distance(torch.from_numpy(found.mesh.vertices)).abs().mean() < 0.5 * 2 / 64  # half a cell
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 65)] * 3, indexing="ij"), -1).view(-1, 3)
    volume = float((scene.distance(grid) < 0).float().mean()) * (65 / 64 * 2) ** 3
    assert signed_volume(found.mesh) == pytest.approx(volume, rel=0.05)


def test_fusion_votes():
    """One half at the surface; empty in front of it and beside it, full behind it."""
    scene = Solid(sphere(0.6))
    volume, hull = fuse(look(scene, all_around(), 96), 1.0, 48)
    at = volume.at(torch.tensor([[0.6, 0, 0], [0.0, 0.45, 0], [0, 0, 0.0], [0.0, 0, 0.75]]))
    assert at[0] == pytest.approx(0.5, abs=0.06) and at[1] > 0.6 and at[2] > 0.95 and at[3] < 0.4
    assert not hull[0, 0, 0] and np.isfinite(volume.values.numpy()).all()
