"""Meshes from fields: level, closedness, parts, budgets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from analytic_scenes import Fog, Solid, box, sphere, torus, union, waves
from scipy import ndimage

from sds3d.camera import ring
from sds3d.errors import UserError
from sds3d.export.agreement import agreement
from sds3d.export.mesh import Mesh, signed_volume, taubin, topology, vertex_normals
from sds3d.export.repair import outward
from sds3d.export.surface import decimate, extract
from sds3d.export.views import look
from sds3d.export.volume import bridged, iou_by_level, mended, solid, within
from sds3d.scenes.base import Field

CPU = torch.device("cpu")


def surface_of(scene, resolution: int = 56, faces: int = 6000, field: Field | None = None):
    return extract(field or scene.surface(), look(scene, ring(8, (0.0, 35.0)), 72), CPU, resolution, faces)


@pytest.mark.parametrize(
    ("distance", "volume"),
    [
        (sphere(0.8), 4 / 3 * np.pi * 0.8**3),
        (box(0.5, 0.35, 0.6), 8 * 0.5 * 0.35 * 0.6),
        (torus(0.6, 0.22), 2 * np.pi**2 * 0.6 * 0.22**2),
    ],
)
def test_solids_come_out_closed_and_of_the_right_size(distance, volume):
    found = surface_of(Solid(distance))
    shape = topology(found.mesh)
    assert shape.watertight and shape.manifold and shape.components == 1
    assert found.level_iou > 0.97
    assert signed_volume(found.mesh) == pytest.approx(volume, rel=0.03)  # positive: faces look outwards
    assert distance(torch.from_numpy(found.mesh.vertices)).abs().max() < 2 / 56  # a cell


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_level_follows_the_units_of_the_field(scale):
    scene = Solid(sphere(0.7), sharpness=20)
    exact = scene.surface()
    found = surface_of(scene, field=Field(lambda p: scale * exact.density(p), exact.color, 1.0))
    radius = np.linalg.norm(found.mesh.vertices, axis=1).mean()
    assert radius == pytest.approx(0.7, abs=0.015)
    assert found.level == pytest.approx(50 * scale, rel=0.25)  # the density at the true surface


def test_fog_is_cut_where_its_silhouette_is():
    """alpha = 1 - exp(-T exp(-r^2 / 2 w^2)) passes one half at r = w sqrt(2 ln(T / ln 2))."""
    fog = Fog(thickness=3.0, width=0.3)
    radius = 0.3 * np.sqrt(2 * np.log(3.0 / np.log(2)))
    vertices = surface_of(fog).mesh.vertices
    assert np.linalg.norm(vertices, axis=1).mean() == pytest.approx(radius, abs=0.02)


def test_a_scene_that_is_thin_everywhere_still_gives_a_mesh():
    found = surface_of(Fog(thickness=0.1))
    assert len(found.mesh.faces) > 100 and topology(found.mesh).watertight


def test_a_field_that_contradicts_the_views_gives_their_hull():
    found = surface_of(Solid(sphere(0.6)), field=Field(lambda p: torch.zeros(len(p)), lambda p: p, 1.0))
    radii = np.linalg.norm(found.mesh.vertices, axis=1)
    assert found.level == 0.0
    assert radii.min() > 0.55 and radii.mean() == pytest.approx(0.66, abs=0.06)


def test_broken_densities_do_not_break_the_mesh():
    exact = Solid(sphere(0.6)).surface()

    def density(p):
        values = exact.density(p)
        values[::97] = torch.nan
        values[5::1001] = torch.inf
        return values

    found = surface_of(Solid(sphere(0.6)), field=Field(density, exact.color, 1.0))
    assert np.isfinite(found.mesh.vertices).all() and signed_volume(found.mesh) > 0.5


def test_an_empty_scene_is_a_user_error():
    with pytest.raises(UserError, match="empty"):
        surface_of(Fog(thickness=1e-3))


def test_separate_parts_stay_and_crumbs_go():
    scene = Solid(union(sphere(0.35, (-0.5, 0, 0)), sphere(0.2, (0.6, 0, 0)), sphere(0.045, (0, 0.7, 0))))
    found = surface_of(scene)
    assert topology(found.mesh).components == 2
    assert found.mesh.vertices[:, 1].max() < 0.5
    assert found.mesh.vertices[:, 0].max() > 0.7


def test_solid_keeps_thin_long_parts_and_fills_cavities():
    grid = np.zeros((40, 40, 40), np.float32)
    grid[2:18, 2:18, 2:18] = 1
    grid[8:12, 8:12, 8:12] = 0  # nobody sees inside
    grid[30, 30, 5:35] = 1  # a leg: under 1 % of the volume, but long
    grid[25:27, 5, 5] = 1  # a crumb
    cleaned = solid(grid) > 0.5
    assert cleaned[2:18, 2:18, 2:18].all()
    assert cleaned[30, 30, 5:35].all()
    assert not cleaned[25:27, 5, 5].any()


def test_iou_by_level_against_counting():
    generator = torch.Generator().manual_seed(3)
    peaks, covered = torch.rand(200, generator=generator), torch.rand(200, generator=generator) > 0.6
    total = int(covered.sum()) + 7  # seven more that no level reaches
    levels, iou = iou_by_level(peaks, covered, total)
    for level, value in zip(levels.tolist(), iou.tolist(), strict=True):
        above = peaks >= level
        assert value == pytest.approx(int((above & covered).sum()) / (int((above & ~covered).sum()) + total))


def test_decimation_keeps_the_budget_and_the_surface_closed():
    fine = surface_of(Solid(torus()), faces=100_000).mesh
    assert len(fine.faces) > 8000
    coarse = decimate(fine, 1500)
    assert 1000 < len(coarse.faces) <= 1500
    assert topology(coarse).watertight and topology(coarse).manifold
    assert signed_volume(coarse) == pytest.approx(signed_volume(fine), rel=0.02)


def cube() -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return Mesh(corners, np.array([[q[0], *q[i : i + 2]] for q in quads for i in (1, 2)], np.int32))


def test_topology_of_a_cube_and_its_damages():
    whole = cube()
    assert topology(whole).watertight and topology(whole).manifold
    assert signed_volume(whole) == pytest.approx(1.0)
    assert not topology(Mesh(whole.vertices, whole.faces[1:])).watertight  # a hole
    turned = whole.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not topology(Mesh(whole.vertices, turned)).watertight  # a face the wrong way round
    doubled = Mesh(whole.vertices, np.concatenate([whole.faces, whole.faces[:, ::-1]]))
    assert not topology(doubled).manifold


def test_outward_turns_an_inside_out_mesh():
    inside_out = Mesh(cube().vertices, cube().faces[:, ::-1])
    assert signed_volume(outward(inside_out)) == pytest.approx(1.0)
    centre = np.array([0.5, 0.5, 0.5])
    mesh = outward(inside_out)
    assert (((mesh.vertices - centre) * vertex_normals(mesh)).sum(1) > 0).all()


def test_taubin_removes_noise_but_not_volume():
    smooth = surface_of(Solid(sphere(0.7)), faces=100_000).mesh
    shake = torch.randn(smooth.vertices.shape, generator=torch.Generator().manual_seed(0)).numpy()
    rough = Mesh(smooth.vertices + 0.005 * shake, smooth.faces)
    calmed = taubin(rough, 6)
    spread = [np.linalg.norm(m.vertices, axis=1).std() for m in (rough, calmed)]
    assert spread[1] < spread[0] / 2
    assert signed_volume(calmed) == pytest.approx(signed_volume(smooth), rel=0.01)


def test_small_holes_are_mended_and_gaps_outside_the_hull_stay() -> None:
    slab = np.zeros((24, 24, 24), np.float32)
    slab[4:20, 10:14, 4:20] = 1.0
    slab[11:13, 10:14, 11:13] = 0.1  # a hole right through
    everywhere = np.ones(slab.shape, bool)
    closed = mended(slab, everywhere, 3) > 0.5
    assert closed[11:13, 10:14, 11:13].all() and closed.sum() == 16 * 4 * 16  # and nothing else grew
    carved = everywhere.copy()
    carved[11:13, :, 11:13] = False  # a view looks through it
    assert np.array_equal(mended(slab, carved, 3), slab)
    slab[11:13, 10:14, 11:13], slab[4:20, 10:14, 8:16] = 1.0, 0.0  # a gap wider than two radii
    assert np.array_equal(mended(slab, everywhere, 3), slab)


def test_soft_holes_are_bridged_and_empty_ones_stay() -> None:
    sheet = np.zeros((24, 12, 40), np.float32)
    sheet[2:22, 4:8, 2:38] = 1.0
    soft, faint = (np.s_[9:15, 4:8, x : x + 6] for x in (6, 24))  # holes, wider than the sheet is thick
    sheet[soft], sheet[faint] = 0.4, 0.3
    everywhere = np.ones(sheet.shape, bool)
    assert not (mended(sheet, everywhere, 2) > 0.5)[soft][1:-1, :, 1:-1].any()
    closed = bridged(sheet, everywhere, 7) > 0.5
    assert closed[soft][:, 1:3].all() and not closed[faint].any()
    assert not closed[np.where(sheet == 0)].any()  # nothing else grew
    everywhere[9:15, :, 6:12] = False  # a view looks through it
    assert np.array_equal(bridged(sheet, everywhere, 7), sheet)


def test_views_agree_best_on_a_surface_that_lies_where_their_colours_do() -> None:
    """Balls around and inside the true one. IoU of a smaller one: the squared ratio of tan asin(r / distance)."""
    views = look(Solid(sphere(0.6), color=lambda p: waves(3 * p)), ring(8, (0.0, 35.0)), 96)
    balls = {r: trimesh.creation.icosphere(4, r) for r in (0.52, 0.56, 0.6, 0.64)}
    found = {r: agreement(Mesh(np.float32(b.vertices), np.int32(b.faces)), views) for r, b in balls.items()}
    assert found[0.6].iou > 0.98 and found[0.6].variance < 0.3 * min(found[0.56].variance, found[0.64].variance)
    assert found[0.56].variance < 0.8 * found[0.52].variance
    distance = float(views.cameras.distance[0])
    seen = [np.tan(np.arcsin(r / distance)) for r in (0.52, 0.6)]
    assert found[0.52].iou == pytest.approx((seen[0] / seen[1]) ** 2, abs=0.02)


@pytest.mark.parametrize("cells", [0, 1])
def test_cells_larger_than_the_holes_change_nothing(cells: int) -> None:
    block = np.zeros((9, 8, 7), np.float32)
    block[:6, 2:5, 1:6] = 1.0  # up to the border of the volume
    assert np.array_equal(mended(block, np.ones(block.shape, bool), cells), block)


def test_within_is_the_distance_transform_cut_off() -> None:
    mask = np.random.default_rng(0).random((40, 21, 33)) < 0.002
    squared = np.rint(ndimage.distance_transform_edt(~mask) ** 2)
    for reach in (0, 1, 10, 145, 300):  # the last needs more than a byte
        assert np.array_equal(within(mask, reach), squared <= reach)


def test_what_only_a_small_hole_leads_to_is_filled() -> None:
    shell = np.zeros((30, 30, 30), np.float32)
    shell[3:27, 3:27, 3:27] = 1.0
    shell[5:25, 5:25, 5:25] = 0.0
    shell[:5, 13:17, 13:17] = 0.0  # the hole: a ball of radius 3 does not pass
    filled = mended(shell, np.ones(shell.shape, bool), 3) > 0.5
    assert filled[5:25, 5:25, 5:25].all() and not filled[:2].any()
    shell[:5, 9:21, 9:21] = 0.0  # now it does
    assert not (mended(shell, np.ones(shell.shape, bool), 3) > 0.5)[12:18, 12:18, 12:18].any()
