"""Atlases and baking."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch
from analytic_scenes import Solid, box, sphere, torus, waves

from sds3d.camera import ring
from sds3d.export import unwrap
from sds3d.export.mesh import Mesh
from sds3d.export.qa import likeness
from sds3d.export.surface import extract
from sds3d.export.texture import from_field, from_views, look_up, paint, rasterise
from sds3d.export.unwrap import Unwrapping, grid_atlas
from sds3d.export.views import look

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def torus_mesh() -> Mesh:
    scene = Solid(torus())
    return extract(scene.surface(), look(scene, ring(8, (0.0, 35.0)), 72), CPU, 64, 3000).mesh


@pytest.fixture(scope="module")
def atlases(torus_mesh):
    return {"xatlas": Unwrapping(torus_mesh, 256, 60).result(), "grid": grid_atlas(torus_mesh, 256)}


def overlap(mesh: Mesh, atlas: unwrap.Atlas, side: int = 1024) -> float:
    """Share of texel centres that lie inside more than one face."""
    corners = (atlas.uv[atlas.faces] * side).astype(np.float64)
    count = np.zeros((side, side), np.int32)
    for a, b, c in corners:
        low = np.floor(np.minimum(np.minimum(a, b), c) - 0.5).astype(int).clip(0)
        high = np.ceil(np.maximum(np.maximum(a, b), c) - 0.5).astype(int).clip(0, side - 1)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1) + 0.5, np.arange(low[1], high[1] + 1) + 0.5)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        inside = (wb > 1e-6) & (wc > 1e-6) & (wb + wc < 1 - 1e-6)
        count[low[1] : high[1] + 1, low[0] : high[0] + 1] += inside
    return float((count > 1).mean())


@pytest.mark.parametrize("kind", ["xatlas", "grid"])
def test_atlases_fit_the_mesh_and_do_not_overlap(torus_mesh, atlases, kind):
    atlas = atlases[kind]
    assert atlas.kind == kind
    assert np.array_equal(atlas.source[atlas.faces], torus_mesh.faces)
    assert atlas.uv.min() >= 0 and atlas.uv.max() <= 1
    assert overlap(torus_mesh, atlas) < 1e-4


def test_the_grid_atlas_makes_small_textures_larger_and_never_large_ones(torus_mesh):
    assert [grid_atlas(torus_mesh, n).texels for n in (512, 1024, 1500, 4096)] == [1024, 2048, 2048, 4096]


@pytest.mark.parametrize("faces", [1, 2, 3, 50_001])
def test_the_grid_atlas_takes_any_number_of_faces(faces):
    mesh = Mesh(np.eye(3, dtype=np.float32), np.tile(np.arange(3, dtype=np.int32), (faces, 1)))
    atlas = grid_atlas(mesh, 256)
    corners = atlas.uv[atlas.faces]
    assert corners.min() > 0 and corners.max() < 1
    side = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.abs(side) > 0).all()


def test_no_time_gives_the_grid(torus_mesh):
    unwrapping = Unwrapping(torus_mesh, 256, 0)
    assert unwrapping.process is None
    assert unwrapping.result().kind == "grid"


@pytest.mark.parametrize("forever", ["time.sleep(600)", "while True: pass"])
def test_a_worker_that_never_ends_is_killed_at_the_limit(torus_mesh, monkeypatch, tmp_path, forever):
    stuck = tmp_path / "stuck.py"
    stuck.write_text(f"import sys, time\nsys.stdin.buffer.read()\n{forever}\n")
    monkeypatch.setattr(unwrap, "WORKER", stuck)
    monkeypatch.setattr(unwrap, "PATIENCE", 1.0 if "sleep" in forever else 1000.0)
    start = time.monotonic()
    unwrapping = Unwrapping(torus_mesh, 256, 0.5)
    assert unwrapping.result().kind == "grid"
    assert time.monotonic() - start < 30
    assert unwrapping.process is not None and unwrapping.process.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the processor time of another process")
def test_a_machine_that_is_busy_changes_nothing(torus_mesh, monkeypatch, tmp_path):
    """A worker that waits for a processor longer than its limit is waited for."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import io, sys, time\nimport numpy as np\ndata = io.BytesIO(sys.stdin.buffer.read())\n"
        "vertices, faces = np.load(data), np.load(data)\ntime.sleep(0.8)\n"
        "for array in (np.arange(len(vertices)), faces, np.zeros((len(vertices), 2))):\n"
        "    np.save(sys.stdout.buffer, array)\n"
    )
    monkeypatch.setattr(unwrap, "WORKER", slow)
    monkeypatch.setattr(unwrap, "PATIENCE", 1000.0)
    assert Unwrapping(torus_mesh, 256, 0.5).result().kind == "xatlas"


@pytest.mark.parametrize(
    "worker", ["raise SystemExit(3)", "import sys; sys.stdin.buffer.read(); sys.stdout.write('not arrays')"]
)
def test_a_worker_that_fails_gives_the_grid(torus_mesh, monkeypatch, tmp_path, worker):
    script = tmp_path / "worker.py"
    script.write_text(worker)
    monkeypatch.setattr(unwrap, "WORKER", script)
    assert Unwrapping(torus_mesh, 256, 60).result().kind == "grid"


@pytest.mark.parametrize("kind", ["xatlas", "grid"])
def test_texels_lie_on_the_surface(torus_mesh, atlases, kind):
    texels = rasterise(torus_mesh, atlases[kind])
    assert texels.side == atlases[kind].texels
    assert torus()(texels.positions).abs().max() < 0.03
    outward = texels.positions - 0.6 * torch.nn.functional.normalize(
        texels.positions * torch.tensor([1.0, 0, 1]), dim=-1
    )
    assert (torch.nn.functional.normalize(outward, dim=-1) * texels.normals).sum(-1).mean() > 0.98


@pytest.mark.parametrize("kind", ["xatlas", "grid"])
def test_a_baked_texture_gives_the_colours_back(torus_mesh, atlases, kind):
    atlas = atlases[kind]
    texels = rasterise(torus_mesh, atlas)
    mesh = paint(torus_mesh, atlas, texels, from_field(texels, Solid(torus()).surface(), CPU))
    middle = mesh.vertices[mesh.faces].mean(1)
    error = look_up(mesh, mesh.uv[mesh.faces].mean(1)) - waves(torch.from_numpy(middle)).numpy()
    assert -10 * np.log10((error**2).mean()) > 30
    like = likeness(mesh, look(Solid(torus()), ring(6, (20.0,)), 96))
    assert like.psnr > 28 and like.iou > 0.95


def test_views_paint_what_they_see_and_leave_the_rest(torus_mesh, atlases):
    texels = rasterise(torus_mesh, atlases["xatlas"])
    seen_from_above = look(Solid(torus()), ring(6, (60.0,)), 160)
    marker = torch.full_like(texels.positions, -1.0)
    colors = from_views(texels, torus_mesh, seen_from_above, marker)
    below = texels.normals[:, 1] < -0.9
    above = texels.normals[:, 1] > 0.9
    assert (colors[below] == 0).all()  # the marker, clamped
    error = (colors[above] - waves(texels.positions[above])).square().mean()
    assert -10 * error.log10() > 28


def test_a_near_part_does_not_paint_the_far_one():
    """A small red ball before a blue wall: the wall's texels behind the ball must stay blue."""

    def color(p):
        return torch.where((p[..., 2:] > 0.2), torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1.0]))

    def distance(p):
        wall = box(0.7, 0.7, 0.1)(p + torch.tensor([0, 0, 0.4]))
        return torch.minimum(wall, sphere(0.2, (0, 0, 0.5))(p))

    scene = Solid(distance, color)
    views = look(scene, ring(1, (0.0,)), 128)
    mesh = extract(scene.surface(), look(scene, ring(8, (0.0, 35.0)), 72), CPU, 64, 3000).mesh
    texels = rasterise(mesh, grid_atlas(mesh, 256))
    colors = from_views(texels, mesh, views, torch.tensor([0.0, 1.0, 0.0]).expand_as(texels.positions))
    wall = (texels.positions[:, 2] > -0.32) & (texels.positions[:, 2] < -0.2) & (texels.normals[:, 2] > 0.9)
    hidden = wall & (texels.positions[:, :2].norm(dim=1) < 0.15)
    lit = wall & (texels.positions[:, :2].norm(dim=1) > 0.35) & (texels.positions[:, :2].abs().amax(1) < 0.6)
    assert hidden.sum() > 20 and lit.sum() > 100
    assert (colors[hidden, 0] < 0.05).all() and (colors[hidden, 1] > 0.9).all()
    assert (colors[lit, 2] > 0.95).float().mean() > 0.99


def test_padding_leaves_no_empty_texel(torus_mesh, atlases):
    atlas = atlases["xatlas"]
    texels = rasterise(torus_mesh, atlas)
    mesh = paint(torus_mesh, atlas, texels, torch.full_like(texels.positions, 0.8))
    assert (mesh.texture == 204).all()
