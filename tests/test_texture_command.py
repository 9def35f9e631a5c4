"""texture and refine: an asset of the user's gets new colours, keeps its place, and moves no farther than it may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from engine_helpers import Log, disc
from PIL import Image

from sds3d.assets import Gaussians, load_mesh, load_splats
from sds3d.camera import orbit
from sds3d.engine import run as runs
from sds3d.engine.generate import _carry_through
from sds3d.engine.refine import asset_file, formats_of, refine_settings, usual_strength
from sds3d.engine.resolve import resolve
from sds3d.engine.setup import check_source
from sds3d.errors import UserError
from sds3d.export.compressed import write_compressed_ply
from sds3d.export.splat_files import write_ply
from sds3d.priors.oracle import MixturePrior, finite_set
from sds3d.render.mesh import render_soup
from sds3d.scenes.foreground import opaque
from sds3d.scenes.mesh_subdivide import subdivide
from sds3d.scenes.texture import create_texture
from sds3d.scenes.texture_config import TextureConfig
from sds3d.scenes.texture_scene import TextureScene
from sds3d.streams import stream

CPU = torch.device("cpu")
TABLE = Path(__file__).parent / "data" / "bedside-table.glb"
QUICK: dict[str, Any] = {
    "guidance": "sds",
    "sds.cfg": 1.0,
    "background": "white",
    "guidance_weight": 1.0,
    "views": 4,
    "steps": 12,
    "time.policy": "linear",
    "export.texture": 128,
    "export.unwrap_seconds": 0,
}


@pytest.fixture(scope="module")
def cup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A green and white striped cylinder, standing far from the origin and larger than the ball."""
    mesh = trimesh.creation.cylinder(radius=2.0, height=5.0, sections=24)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))
    mesh.apply_translation([10.0, 3.0, -4.0])
    uv = np.stack(
        [np.arctan2(mesh.vertices[:, 0] - 10, mesh.vertices[:, 2] + 4) / 7 + 0.5, mesh.vertices[:, 1] / 9], -1
    )
    stripes = np.full((64, 64, 3), 255, np.uint8)
    stripes[::8] = stripes[1::8] = (20, 160, 40)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(stripes))
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv.clip(0, 1), material=material)
    path = tmp_path_factory.mktemp("assets") / "cup.glb"
    path.write_bytes(mesh.export(file_type="glb"))
    return path


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Green Gaussians in a ball, away from the origin."""
    generator = stream(3, "cloud")
    n = 300
    means = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1) * 1.5 + torch.tensor(
        [4.0, 0, 1]
    )
    path = tmp_path_factory.mktemp("assets") / "cloud.ply"
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1)
    sh = torch.tensor([[-1.2, 0.3, -1.2]]).expand(n, 1, 3)
    ones = torch.ones(n)
    parts = (means, torch.full((n, 3), -1.5), quats, 3 * ones, sh.contiguous())
    write_ply(path, Gaussians(*(part.float().numpy() for part in parts)))
    return path


MESH: dict[str, Any] = {
    "texture.color.dense.resolution": 16,
    "texture.color.base": 32,
    "texture.color.lr": (0.3, 0.1),
    "texture.light": "none",
    "texture.supersample": 1,
}


def wide_balls() -> MixturePrior:
    """Knows a red and a blue ball that fill the view, as assets do."""
    return finite_set(torch.stack([disc((0.9, 0.1, 0.1), 0.95), disc((0.1, 0.1, 0.9), 0.95)]), ("red", "blue"))


def make(asset: Path, folder: Path, distance: float = 0.0, **overrides: Any) -> runs.Run:
    own = MESH if asset.suffix == ".glb" else {"texture.lr_colors": (0.3, 0.1)}
    chosen, _ = refine_settings(asset, "red", {**QUICK, **own, **overrides}, None, distance)
    run = runs.create(chosen, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sds3d.engine.generate.load_prior", lambda name, device: wide_balls())
        _carry_through(run, CPU, Log(), None)
    return run


def picture(path: Path) -> np.ndarray:
    drawn, _ = render_soup(load_mesh(path).soup, orbit(4, elevation=20.0, start=10.0), 96)
    return drawn


@pytest.mark.parametrize("name", ["cup", "table"])
def test_a_textured_asset_is_red_now_and_is_where_and_as_it_was(name: str, cup: Path, tmp_path: Path) -> None:
    """The table is a glTF model by someone else, of three materials."""
    asset = {"cup": cup, "table": TABLE}[name]
    run = make(asset, tmp_path, strength=1.0)
    before, after = load_mesh(asset), load_mesh(run.folder / "asset.glb")
    np.testing.assert_allclose(before.transform, after.transform, atol=1e-4)
    ours, theirs = (trimesh.load(p, force="mesh", process=False) for p in (run.folder / "asset.glb", asset))
    np.testing.assert_allclose(ours.triangles, theirs.triangles, atol=1e-4)
    old, new = picture(asset), picture(run.folder / "asset.glb")
    covered = [p[..., 3] > 127 for p in (old, new)]
    assert (covered[0] & covered[1]).sum() / (covered[0] | covered[1]).sum() > 0.999
    red, green, blue = (new[covered[1]][:, i].mean() for i in range(3))
    assert red > green + 40 and red > blue + 40


def test_hard_edges_keep_their_normals(cup: Path, tmp_path: Path) -> None:
    run = make(cup, tmp_path, steps=1)
    mesh = trimesh.load(run.folder / "asset.glb", force="mesh", process=False)
    lid = np.abs(mesh.face_normals[:, 1]) > 0.99
    np.testing.assert_allclose(np.abs(mesh.vertex_normals[mesh.faces[lid]][..., 1]), 1.0, atol=1e-3)


def test_little_strength_keeps_the_stripes(cup: Path, tmp_path: Path) -> None:
    kept = make(cup, tmp_path, **{"steps": 1, "texture.color.lr": (1e-6, 1e-6)})
    covered = picture(cup)[..., 3] == 255
    difference = picture(cup)[covered].astype(float) - picture(kept.folder / "asset.glb")[covered]
    assert np.sqrt((difference[:, :3] ** 2).mean()) < 14, "the texture is not what it was"


@pytest.mark.parametrize("distance", [0.05, 0.2])
def test_geometry_moves_within_the_distance_and_no_crack_opens(cup: Path, distance: float) -> None:
    config = TextureConfig(asset=str(cup), distance=distance)
    scene = create_texture(config, CPU, stream(0, "init"))
    assert scene.move is not None
    for level in scene.move.levels:
        with torch.no_grad():
            level += 50 * torch.randn(level.shape, generator=stream(1, "push"))
    moved = (scene.vertices() - scene.rest).norm(dim=-1).detach()
    assert 0.9 * distance < float(moved.max()) <= distance * 1.0001
    mesh = scene.own_mesh()
    joined = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy())  # merges what lies at one place
    assert joined.is_watertight


def test_refining_changes_the_outline_and_texturing_does_not(cup: Path) -> None:
    for distance, expected in ((0.0, {"color"}), (0.1, {"color", "move"})):
        scene = create_texture(TextureConfig(asset=str(cup), distance=distance), CPU, stream(0, "init"))
        frame = scene.render(orbit(2), 32, torch.ones(2, 3))
        frame.rgb.sum().backward()
        pulled = {g.name for g in scene.parameters() if any(p.grad is not None and p.grad.any() for p in g.params)}
        assert pulled == expected


def test_a_shift_of_the_whole_costs_nothing_and_a_squeeze_does(cup: Path) -> None:
    """At half its size every edge has changed by a half: the mean square is a quarter."""
    scene = create_texture(TextureConfig(str(cup), distance=0.1, stretch=1.0, bending=0.0), CPU, stream(0, "init"))
    frame = scene.render(orbit(1), 16, torch.ones(1, 3))
    shapes = [scene.rest, scene.rest + 0.05, 0.5 * scene.rest]
    still, moved, small = (scene.regulariser(replace(frame, extra={"vertices": v}), 0.5).item() for v in shapes)
    assert still == 0 and moved < 1e-6 and small == pytest.approx(0.25, rel=1e-3)


def test_pieces_lie_on_their_faces_and_are_short() -> None:
    box = trimesh.creation.box((1.0, 0.6, 0.2))
    vertices, faces = box.vertices.astype(np.float32), box.faces.astype(np.int32)
    pieces = subdivide(vertices, faces, 0.1, 10_000)
    corners = pieces.vertices[pieces.faces]
    assert np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=-1).max() <= 0.1
    again = np.einsum("fkj,fjc->fkc", pieces.shares, vertices[faces][pieces.origin])
    np.testing.assert_allclose(corners, again, atol=1e-6)
    whole = trimesh.Trimesh(pieces.vertices, pieces.faces)
    assert whole.is_watertight and whole.area == pytest.approx(box.area, rel=1e-5)
    assert len(subdivide(vertices, faces, 0.001, 3000).faces) < 12_000


def test_gaussians_get_colours_and_everything_else_is_the_files_to_the_bit(cloud: Path, tmp_path: Path) -> None:
    run = make(cloud, tmp_path, strength=1.0)
    old, new = load_splats(cloud).stored, load_splats(run.folder / "asset.ply").stored
    for part in ("means", "scales", "quats", "opacities"):
        np.testing.assert_array_equal(getattr(old, part), getattr(new, part))
    red, green, _ = new.sh[:, 0].mean(0)
    assert red > green + 0.2 and old.sh[0, 0, 0] < old.sh[0, 0, 1] - 1, "the Gaussians did not become red"


def test_gaussians_move_within_the_distance(cloud: Path, tmp_path: Path) -> None:
    run = make(cloud, tmp_path, distance=0.03, **{"texture.lr_move": (1.0, 1.0), "steps": 6})
    old, new = load_splats(cloud), load_splats(run.folder / "asset.ply")
    away = np.linalg.norm(old.stored.means - new.stored.means, axis=1) / old.placement.radius
    assert 0.02 < away.max() <= 0.03 * 1.0001 and len(old) == len(new)


def test_what_it_starts_from(cup: Path, cloud: Path, tmp_path: Path) -> None:
    assert usual_strength(load_mesh(cup)) < 1
    assert usual_strength(load_splats(cloud)) == 1, "one colour is nothing to keep"
    chosen, notes = refine_settings(cup, "red", {}, None, 0.05)
    assert (chosen.scene, chosen.formats, chosen.scene_options.distance) == ("texture", ("glb",), 0.05) and notes == ()
    (tmp_path / "asset.ply").write_bytes(cloud.read_bytes())
    assert asset_file(tmp_path) == (tmp_path / "asset.ply").resolve()
    assert refine_settings(tmp_path, "red", {})[0].formats == ("ply",)


def test_formats_are_those_of_the_content(cup: Path, cloud: Path, tmp_path: Path) -> None:
    """Whatever the name ends in. What holds no texture gets a file that does."""
    write_compressed_ply(tmp_path / "packed.ply", load_splats(cloud).world)
    mesh = trimesh.creation.box()
    for name in ("box.stl", "box.ply", "box.obj"):
        mesh.export(tmp_path / name)
    (tmp_path / "cup.gltf").write_bytes(cup.read_bytes())
    expected = {
        "packed.ply": ("ply-compressed",),
        "box.stl": ("glb", "stl"),
        "box.ply": ("glb", "mesh-ply"),
        "box.obj": ("obj",),
        "cup.gltf": ("glb",),
    }
    assert {name: formats_of(tmp_path / name) for name in expected} == expected
    assert formats_of(cloud) == ("ply",) and formats_of(TABLE) == ("glb",)


@pytest.mark.parametrize(
    ("distance", "overrides", "words"),
    [
        (0.9, {}, "share of the unit ball"),
        (0.0, {"strength": 0.0}, "strength"),
        (0.0, {"texture.edgy": 3}, "texture.edge"),
        (0.0, {"scene": "grid"}, "the asset itself is the scene here: leave scene out"),
        (0.0, {"texture.bending": 3}, "texture.bending has no effect: nothing moves"),
        (0.0, {"texture.move.resolution": 8}, "texture.move.resolution has no effect: nothing moves"),
        (0.0, {"texture.up": "+z"}, "\\+Y up"),
        (0.0, {"export.faces": 500}, "export.faces has no effect"),
        (0.0, {"export.bake": "views"}, "export.bake has no effect"),
    ],
)
def test_mistakes_are_told(cup: Path, distance: float, overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        refine_settings(cup, "red", overrides, None, distance)


def test_the_scene_texture_is_checked_before_a_run_begins(
    cup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="sds3d texture ASSET"):
        check_source(resolve("red", {"scene": "texture"}))
    with pytest.raises(UserError, match="export.faces has no effect"):
        resolve("red", {"scene": "texture", "texture.asset": str(cup), "export.faces": 500})
    (tmp_path / "mine.glb").write_bytes(cup.read_bytes())
    monkeypatch.chdir(tmp_path)
    chosen = resolve("red", {"scene": "texture", "texture.asset": "mine.glb"})
    monkeypatch.chdir("/")  # from where the run may be resumed
    assert isinstance(create_texture(chosen.scene_options, CPU, stream(0, "init")), TextureScene)
    (tmp_path / "mine.glb").write_bytes(b"something else")
    with pytest.raises(UserError, match="not what this run started from"):
        create_texture(chosen.scene_options, CPU, stream(0, "init"))


def test_a_changed_or_missing_asset_is_told(cup: Path, cloud: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sds3d texture ASSET"):
        create_texture(TextureConfig(), CPU, stream(0, "init"))
    with pytest.raises(UserError, match="not what this run started from"):
        create_texture(TextureConfig(asset=str(cup), asset_digest="00000000"), CPU, stream(0, "init"))
    with pytest.raises(UserError, match="neither asset.glb nor asset.ply"):
        asset_file(tmp_path)
    for unused in ({"edge": 0.1}, {"stretch": 1.0}):
        with pytest.raises(UserError, match=f"texture.{next(iter(unused))} is for meshes"):
            create_texture(TextureConfig(asset=str(cloud), **unused), CPU, stream(0, "init"))
    with pytest.raises(UserError, match="texture.lr_colors is for Gaussians, and .* holds a mesh"):
        create_texture(TextureConfig(asset=str(cup), lr_colors=(0.1, 0.1)), CPU, stream(0, "init"))


def test_a_surface_is_not_painted_like_its_background() -> None:
    """Straight to the background: nothing. Away from it or elsewhere: all of it."""
    white = torch.ones(3)
    for wanted, expected in (
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (-1.0, -1.0, -1.0)),
        ((1.0, 0.5, 0.0), (1.0, 0.0, -1.0)),
        ((1.0, 0.5, 0.5), (1.0, 0.0, 0.0)),
        ((1.0, 1.0, 0.8), (0.4 / 3, 0.4 / 3, -0.8 / 3)),
    ):
        grey = torch.full((1, 3), 0.5, requires_grad=True)
        (opaque(grey, white) - torch.tensor(wanted)).square().sum().backward()
        assert grey.grad is not None
        torch.testing.assert_close(-grey.grad[0], torch.tensor(expected), atol=1e-6, rtol=0)
