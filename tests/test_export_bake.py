"""Baking: samples within a texel, correction by views, seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from analytic_scenes import Solid, sphere, waves

from sds3d.camera import ring
from sds3d.export import bake
from sds3d.export.bake import refined, supersampled
from sds3d.export.mesh import Mesh
from sds3d.export.qa import likeness
from sds3d.export.seams import bilinear, seam_gap, seams
from sds3d.export.texture import from_field, paint, rasterise
from sds3d.export.unwrap import Atlas, Unwrapping, grid_atlas
from sds3d.export.views import look

CPU = torch.device("cpu")
BALL = Solid(sphere(0.7))


@pytest.fixture(scope="module")
def ball() -> Mesh:
    shape = trimesh.creation.icosphere(3, 0.7)
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))


@pytest.fixture(scope="module")
def atlas(ball) -> Atlas:
    return Unwrapping(ball, 128, 120).result()


def test_supersampling_averages_what_is_finer_than_a_texel(ball, atlas):
    """Stripes three quarters of a texel wide: their mean is grey, and single samples see black or white. (Where the
    surface looks along x they are wider.)"""
    texels = rasterise(ball, atlas)
    across = texels.normals[:, 0].abs() < 0.3
    width = float(np.sqrt(4 * np.pi * 0.49 / len(texels.positions)))

    def stripes(some):
        return (torch.sin(some.positions[:, :1] * (2 * torch.pi / (1.5 * width))) > 0).float().expand(-1, 3)

    spread = [(supersampled(stripes, ball, atlas, texels, n)[across] - 0.5).square().mean() for n in (1, 2, 4)]
    assert spread[0] == pytest.approx(0.25, abs=0.001)
    assert spread[1] < spread[0] / 2 and spread[2] < spread[0] / 5


def test_supersampling_leaves_smooth_colours(ball, atlas):
    texels = rasterise(ball, atlas)
    once, often = (supersampled(lambda t: waves(t.positions), ball, atlas, texels, n) for n in (1, 3))
    assert (once - often).abs().mean() < 0.005


def test_shifted_texels_lie_where_the_shift_says(ball):
    """On a flat patch the world moves with the texture."""
    square = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2], [0, 2, 3]]))
    flat = Atlas(np.arange(4, dtype=np.int32), square.faces.astype(np.int32), square.vertices[:, :2], 32, "xatlas")
    middle, moved = rasterise(square, flat), rasterise(square, flat, (0.25, -0.5))
    apart = (moved.positions - middle.positions).view(32, 32, 3)[2:-2, 2:-2]
    assert torch.allclose(apart, torch.tensor([0.25, 0.5, 0.0]) / 32, atol=1e-6)  # rows grow downwards


@pytest.mark.parametrize("coarse", [512, 64])
def test_views_correct_wrong_colours(ball, atlas, monkeypatch, coarse):
    monkeypatch.setattr(bake, "COARSE", coarse)
    texels = rasterise(ball, atlas)
    wrong = (from_field(texels, BALL.surface(), CPU) * 0.6 + 0.3).clamp(0, 1)
    held_out = look(BALL, ring(4, (15.0, 40.0), start=22.5), 64)
    colors = refined(ball, atlas, texels, wrong, look(BALL, ring(12, (-30.0, 20.0, 50.0)), 96))
    before, after = (likeness(paint(ball, atlas, texels, c), held_out).psnr for c in (wrong, colors))
    assert before < 20 and after > 34


def test_what_no_view_sees_keeps_its_colour(ball, atlas):
    texels = rasterise(ball, atlas)
    start = torch.full_like(texels.positions, 0.25)
    colors = refined(ball, atlas, texels, start, look(BALL, ring(4, (70.0,)), 64))
    below = texels.normals[:, 1] < -0.7
    assert below.sum() > 500 and (colors[below] == 0.25).all()
    assert (colors[texels.normals[:, 1] > 0.7] - 0.25).abs().mean() > 0.1


def test_seams_are_the_edges_that_the_atlas_cuts(ball, atlas):
    one, other = seams(ball, atlas)
    assert 0 < len(one) < 300  # charts have borders, and little else
    whole = Atlas(np.arange(len(ball.vertices), dtype=np.int32), ball.faces, ball.vertices[:, :2], 64, "xatlas")
    assert len(seams(ball, whole)[0]) == 0
    assert len(seams(ball, grid_atlas(ball, 64))[0]) == len(ball.faces) * 3 // 2
    start = ball.vertices[atlas.source[atlas.faces.ravel()]]
    after = start.reshape(-1, 3, 3)[:, [1, 2, 0]].reshape(-1, 3)
    assert np.array_equal(start[one], after[other]) and np.array_equal(after[one], start[other])


@pytest.mark.parametrize("kind", ["xatlas", "grid"])
def test_no_seam_shows(ball, atlas, kind):
    """Half a level of 255 on average, also after the views' correction; a texture that is not padded shows tens."""
    laid = atlas if kind == "xatlas" else grid_atlas(ball, 128)
    texels = rasterise(ball, laid)
    colors = from_field(texels, BALL.surface(), CPU)
    wrong = (colors * 0.6 + 0.3).clamp(0, 1)
    corrected = refined(ball, laid, texels, wrong, look(BALL, ring(12, (-30.0, 20.0, 50.0)), 96))
    for some in (colors, corrected):
        assert seam_gap(ball, laid, paint(ball, laid, texels, some).texture) < 0.01
    bare = np.zeros((laid.texels, laid.texels, 3), np.uint8)
    bare[texels.where] = (colors.numpy() * 255).astype(np.uint8)
    random = np.random.default_rng(0).integers(0, 255, bare.shape, np.uint8)
    assert seam_gap(ball, laid, random) > 0.1


def test_bilinear_reads_as_viewers_do():
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 1] = 255  # top right
    places = np.array([[0.75, 0.75], [0.5, 0.75], [0.5, 0.5], [0.25, 0.25], [1.0, 1.0]], np.float32)
    assert bilinear(texture, places)[:, 0] == pytest.approx([1, 0.5, 0.25, 0, 1])
