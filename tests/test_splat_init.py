"""First shapes of the Gaussian scene: each covers the silhouette that it should, in its colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from sds3d.assets import Placement
from sds3d.camera import Cameras, orbit
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import from_values
from sds3d.engine.setup import create_scene
from sds3d.errors import UserError
from sds3d.export import splat_files
from sds3d.export.splats import of_scene
from sds3d.files import digest
from sds3d.render.projection import rotation_matrices
from sds3d.scenes.first_file import locate
from sds3d.scenes.splats import SplatScene
from sds3d.scenes.splats_config import SHAPES, SplatsConfig
from sds3d.streams import stream

SIZE = 64
SOLID = SplatsConfig(count=4000, opacity=0.8, init_opacity=0.8, cap=4000, smooth=0.0)


def scene_of(config: SplatsConfig) -> SplatScene:
    return SplatScene.create(config, "cpu", stream(0, "init"))


def silhouettes(points: Tensor, cameras: Cameras, size: int = SIZE) -> Tensor:
    """(B, size, size) bool: the filled outlines of the convex hull of (P, 3) points."""
    from scipy.spatial import ConvexHull, Delaunay

    view = cameras.world_to_camera()
    centre = np.arange(size) + 0.5
    pixels = np.stack(np.meshgrid(centre, centre), -1).reshape(-1, 2)
    masks = []
    for b in range(len(cameras)):
        camera = points @ view[b, :3, :3].T + view[b, :3, 3]
        flat = (camera[:, :2] / camera[:, 2:] * cameras.focal(size)[b] + size / 2).numpy()
        hull = flat[ConvexHull(flat).vertices]
        masks.append(torch.from_numpy(Delaunay(hull).find_simplex(pixels) >= 0).view(size, size))
    return torch.stack(masks)


@torch.no_grad()
def overlap(scene: SplatScene, points: Tensor) -> float:
    """Intersection over union of the scene's silhouettes with those of convex (P, 3) points, from four sides;
    Gaussians reach over the edge by one or two standard deviations."""
    cameras = orbit(4, 25.0, start=10.0)
    seen, truth = scene.render(cameras, SIZE, torch.zeros(4, 3)).alpha[:, 0] > 0.5, silhouettes(points, cameras)
    return float((seen & truth).sum() / (seen | truth).sum())


def sphere_points(radius: float) -> Tensor:
    return radius * torch.nn.functional.normalize(torch.randn(2000, 3, generator=stream(0, "sphere")), dim=-1)


def corners(half: tuple[float, float, float]) -> Tensor:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    return signs * torch.tensor(half)


def red_and_blue_box(half: tuple[float, float, float] = (0.7, 0.3, 0.5)) -> trimesh.Trimesh:
    """A box, red above and blue below."""
    box = trimesh.creation.box(extents=2 * np.array(half)).subdivide().subdivide()
    colors = np.where(box.vertices[:, 1:2] > 0, [[255, 0, 0, 255]], [[0, 0, 255, 255]])
    box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=colors.astype(np.uint8))
    return box


def test_ball_and_box_cover_theirs() -> None:
    assert overlap(scene_of(replace(SOLID, radius=0.7)), sphere_points(0.7)) > 0.8
    assert overlap(scene_of(replace(SOLID, init="box", box=(0.6, 0.3, 0.15))), corners((0.6, 0.3, 0.15))) > 0.8


def test_a_box_is_filled_evenly() -> None:
    means = scene_of(SplatsConfig(count=6000, init="box", box=(0.6, 0.3, 0.15))).params["means"]
    assert (means.abs() <= torch.tensor([0.6, 0.3, 0.15])).all()
    octants = torch.bincount((means > 0).long() @ torch.tensor([1, 2, 4]), minlength=8)
    assert (octants - 750).abs().max() < 110  # four standard deviations


@pytest.mark.parametrize("name", ["box.glb", "box.obj", "box.ply"])
def test_a_mesh_is_covered_in_its_colours(tmp_path: Path, name: str) -> None:
    """Discs lie on the surface, thin along its normal; the silhouette and the colours are the mesh's."""
    red_and_blue_box().export(tmp_path / name)
    scene = scene_of(replace(SOLID, init=str(tmp_path / name)))
    assert len(scene) == 4000
    assert overlap(scene, corners((0.7, 0.3, 0.5))) > 0.8
    means = scene.params["means"].detach()
    distance = (means.abs() - torch.tensor([0.7, 0.3, 0.5])).amax(-1).abs()
    assert distance.max() < 1e-4
    thin = rotation_matrices(scene.params["quats"].detach())[..., 2]
    face = (means.abs() / torch.tensor([0.7, 0.3, 0.5])).argmax(-1)
    assert (thin.abs().gather(1, face[:, None]) > 0.999).all()
    colors = scene.splats()["colors"].detach()
    above, below = colors[means[:, 1] > 0.16], colors[means[:, 1] < -0.16]
    assert (above[:, 0] > 0.8).all() and (above[:, 2] < 0.2).all()
    assert (below[:, 2] > 0.8).all() and (below[:, 0] < 0.2).all()


def test_a_cloud_of_points_is_covered_in_its_colours(tmp_path: Path) -> None:
    """A .ply without faces, more points than Gaussians, in its own units: scaled into the unit ball."""
    points = sphere_points(40.0) + torch.tensor([500.0, 0.0, 0.0])
    colors = np.tile(np.array([[10, 200, 90, 255]], np.uint8), (len(points), 1))
    trimesh.PointCloud(points.numpy(), colors).export(tmp_path / "cloud.ply")
    scene = scene_of(replace(SOLID, init=str(tmp_path / "cloud.ply"), count=1900))
    assert len(scene) == 1900 and overlap(scene, sphere_points(1.0)) > 0.8
    assert (scene.splats()["colors"] - torch.tensor([10, 200, 90]) / 255).abs().max() < 0.01


def test_gaussians_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    """What a run has written begins another: the same picture within 2e-3, whatever the filter."""
    first = scene_of(SplatsConfig(count=300, sh=1, sh_until=0.0))
    first.params["sh"].data.normal_(std=0.1, generator=stream(0, "sh"))
    first.params["colors"].data.normal_(generator=stream(0, "colors"))
    splats = of_scene(first)
    assert splats is not None
    splat_files.write("ply", tmp_path / "first.ply", splats, None, Placement())
    config = SplatsConfig(count=10, cap=500, sh=1, sh_until=0.0, init=str(tmp_path / "first.ply"))
    second = scene_of(config)
    assert len(second) == 300
    with torch.no_grad():
        ours, theirs = (scene.render(orbit(3), 32, torch.ones(3, 3)).rgb for scene in (second, first))
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_a_runs_folder_means_its_mesh(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no asset.glb"):
        locate(str(tmp_path), "splats.init", SHAPES)
    red_and_blue_box().export(tmp_path / "asset.glb")
    assert locate(str(tmp_path), "splats.init", SHAPES) == tmp_path / "asset.glb"
    with pytest.raises(UserError, match="no file nowhere.glb"):
        locate("nowhere.glb", "splats.init", SHAPES)


def test_settings_hold_the_files_place_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute and with its digest, so that a run's name tells contents apart; a changed file is refused, but a saved
    scene needs none."""
    red_and_blue_box().export(tmp_path / "box.glb")
    monkeypatch.chdir(tmp_path)
    settings = resolve("a box", {"splats.init": "box.glb", "splats.count": "50"})
    assert settings.scene_options.init == str(tmp_path / "box.glb")
    assert settings.scene_options.init_digest == digest(tmp_path / "box.glb")
    assert from_values(settings.as_dict()) == settings
    assert len(create_scene(settings, torch.device("cpu"))) == 50  # type: ignore[arg-type]
    red_and_blue_box((0.2, 0.3, 0.4)).export(tmp_path / "box.glb")
    assert resolve("a box", {"splats.init": "box.glb", "splats.count": "50"}).hash != settings.hash
    with pytest.raises(UserError, match="not the file this run started from"):
        create_scene(settings, torch.device("cpu"))
    (tmp_path / "box.glb").unlink()
    create_scene(settings, torch.device("cpu"), saved=True)


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n1\n")
    with pytest.raises(UserError, match=r"broken.ply"):
        scene_of(SplatsConfig(init=str(tmp_path / "broken.ply")))


def test_splats_take_over_from_a_grid() -> None:
    """A stage of Gaussians begins as what the grid before it shows: silhouettes agree to 0.8, and its blob is grey."""
    from sds3d.engine.hand_over import hand_over
    from sds3d.scenes.grid import GridScene
    from sds3d.scenes.grid_config import DenseConfig, GridConfig

    small = GridConfig(dense=DenseConfig(resolution=16, levels=2), occupancy=16, blob_strength=6.0)
    grid = GridScene.create(small, "cpu", stream(0, "init"))
    splats = scene_of(SOLID)
    hand_over(grid, splats)
    cameras = orbit(3, 20.0)
    with torch.no_grad():
        before, after = (s.render(cameras, SIZE, torch.zeros(3, 3)) for s in (grid, splats))
    old, new = before.alpha > 0.5, after.alpha > 0.5
    assert (old & new).sum() / (old | new).sum() > 0.8
    color = (after.rgb / after.alpha.clamp_min(1e-6)).permute(1, 0, 2, 3)[:, new[:, 0]]
    assert (color.mean(1) - 0.5).abs().max() < 0.05
