"""Asset files, read back by other means than those that wrote them."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_scenes import Fog, Solid, sphere, union, waves
from asset_files import ply_vertices
from PIL import Image

from sds3d.assets import Placement
from sds3d.config import apply
from sds3d.errors import UserError
from sds3d.export import FORMATS, ExportConfig, export_asset, splat_files
from sds3d.export.files import write_glb
from sds3d.export.qa import Quality, reread_glb
from sds3d.export.splats import Splats, facing, on_surface
from sds3d.render.projection import rotation_matrices

SMALL = ExportConfig(resolution=48, faces=1200, texture=128, unwrap_seconds=300, splats=2000)


def write_splat_ply(path, splats):
    splat_files.write("ply", path, splats, None, Placement())


def tower():
    """Wide and low in the world, with a knob at +Y, blue towards +Z."""

    def color(p):
        return torch.where(p[..., 2:] > 0, torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0.9, 0.2, 0.1]))

    return Solid(union(sphere(0.5, (0, -0.3, 0)), sphere(0.2, (0, 0.5, 0))), color)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asset")
    parts = []
    result = export_asset(tower(), folder, tuple(FORMATS), SMALL, parts.append)
    return folder, result, parts


@pytest.fixture(scope="module")
def gaussians():
    generator = torch.Generator().manual_seed(1)
    n = 50
    return Splats(
        torch.randn(n, 3, generator=generator),
        torch.rand(n, 3, generator=generator) * 0.1 + 0.01,
        torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1),
        torch.rand(n, generator=generator) * 0.9 + 0.05,
        torch.rand(n, 3, generator=generator),
    )


class Glb:
    """A reader of the parts of glTF 2.0 that an asset uses, straight from the specification."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack("<4sII", data[:12])
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack("<I4s", data[12:20])
        assert kind == b"JSON"
        self.json = json.loads(data[20 : 20 + size])
        assert struct.unpack("<4s", data[24 + size : 28 + size]) == (b"BIN\0",)
        self.binary = data[28 + size :]

    def view(self, index: int) -> bytes:
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self.binary[start : start + view["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        kind = {5126: "<f4", 5125: "<u4", 5123: "<u2"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
        values = np.frombuffer(self.view(accessor["bufferView"]), kind, offset=accessor.get("byteOffset", 0))
        return values[: accessor["count"] * width].reshape(-1, width)


def test_the_record_of_an_export(exported):
    folder, result, parts = exported
    assert {name for names in result["files"].values() for name in names} == {p.name for p in folder.iterdir()}
    assert set(result["seconds"]) == set(parts) >= {"views", "surface", "unwrap", "texture", "files", "check"}
    qa = result["qa"]
    assert qa["components"] == 2 and qa["watertight"] and qa["manifold"] and qa["atlas"] == "xatlas"
    assert qa["faces"] <= 1200 and qa["texture"] == 128 and 0.3 < qa["uv_use"] < 1
    assert qa["silhouette_iou"] > 0.95 and qa["texture_psnr"] > 20
    json.dumps(result)
    assert "2 parts, watertight" in result["line"] and "plain" not in result["line"]
    assert "used, plain grid of triangles)" in Quality(**{**qa, "atlas": "grid"}).line


def test_glb_is_whole_upright_and_textured(exported):
    folder, result, _ = exported
    glb = Glb((folder / "asset.glb").read_bytes())
    assert all("uri" not in item for key in ("buffers", "images") for item in glb.json[key])  # nothing outside
    (mesh,) = glb.json["meshes"]
    (part,) = mesh["primitives"]
    position, normal, uv = (glb.accessor(part["attributes"][a]) for a in ("POSITION", "NORMAL", "TEXCOORD_0"))
    faces = glb.accessor(part["indices"]).reshape(-1, 3)
    assert len(faces) == result["qa"]["faces"] and len(position) == len(normal) == len(uv)
    assert all("matrix" not in node or np.allclose(node["matrix"], np.eye(4).ravel()) for node in glb.json["nodes"])
    narrow = position[np.abs(position[:, 0]) < 0.1]
    assert narrow[:, 1].max() == pytest.approx(0.7, abs=0.04)  # the knob is up
    assert position[:, 1].min() == pytest.approx(-0.8, abs=0.04)
    assert np.linalg.norm(normal, axis=1) == pytest.approx(1, abs=1e-3)
    a, b, c = (position[faces[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    assert ((flat * normal[faces].mean(1)).sum(1) > 0).mean() > 0.99  # normals and winding agree
    material = glb.json["materials"][part["material"]]["pbrMetallicRoughness"]
    assert material["metallicFactor"] == 0 and material["roughnessFactor"] == pytest.approx(0.9)
    texture = glb.json["textures"][material["baseColorTexture"]["index"]]
    image = glb.json["images"][texture["source"]]
    picture = np.asarray(Image.open(BytesIO(glb.view(image["bufferView"]))).convert("RGB")).astype(float) / 255
    assert picture.shape == (128, 128, 3)
    middle = uv[faces].mean(1)  # glTF's v grows downwards
    colors = picture[(middle[:, 1] * 128).astype(int), (middle[:, 0] * 128).astype(int)]
    front = position[faces].mean(1)[:, 2] > 0.1
    back = position[faces].mean(1)[:, 2] < -0.1
    assert colors[front].mean(0) == pytest.approx([0.1, 0.2, 0.9], abs=0.05)
    assert colors[back].mean(0) == pytest.approx([0.9, 0.2, 0.1], abs=0.05)


def test_obj_points_to_its_material_and_picture(exported):
    import trimesh

    folder, result, _ = exported
    text = (folder / "asset.obj").read_text()
    assert "mtllib asset.mtl" in text and "map_Kd asset.png" in (folder / "asset.mtl").read_text()
    loaded = trimesh.load(folder / "asset.obj", force="mesh")
    assert len(loaded.faces) == result["qa"]["faces"]
    assert loaded.volume == pytest.approx(4 / 3 * np.pi * (0.5**3 + 0.2**3), rel=0.06)
    assert loaded.visual.material.image.size == (128, 128)


def test_stl_and_coloured_ply(exported):
    import trimesh

    folder, result, _ = exported
    shape = trimesh.load(folder / "asset.stl", force="mesh")
    assert len(shape.faces) == result["qa"]["faces"] and shape.is_watertight
    colored = ply_vertices(folder / "asset-mesh.ply")
    front = colored["z"] > 0.15
    assert colored["blue"][front].mean() > 200 > 60 > colored["red"][front].mean()


def test_splats_over_a_mesh(exported):
    """In the file the world is turned by half a turn about Z."""
    vertex = ply_vertices(exported[0] / "asset.ply")
    assert len(vertex) == SMALL.splats
    means = torch.tensor(np.stack([-vertex["x"], -vertex["y"], vertex["z"]], -1))
    assert tower().distance(means).abs().max() < 0.05
    blue = vertex["f_dc_2"] * 0.28209479 + 0.5
    assert blue[vertex["z"] > 0.15].mean() > 0.8
    assert np.exp(vertex["scale_2"]).max() < np.exp(vertex["scale_0"]).min() / 5  # flat ...
    quats = torch.tensor(np.stack([vertex[f"rot_{i}"] for i in range(4)], -1))
    axis = rotation_matrices(quats)[:, :, 2] * torch.tensor([-1.0, -1, 1])  # ... along the normal
    low = means[:, 1] < 0.22
    outward = torch.nn.functional.normalize(means - torch.tensor([0, -0.3, 0]), dim=-1)
    assert (axis * outward).sum(-1)[low].mean() > 0.95


def test_splat_ply_has_the_standard_properties_and_values(tmp_path, gaussians):
    write_splat_ply(tmp_path / "a.ply", gaussians)
    element = ply_vertices(tmp_path / "a.ply")
    names = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
    assert list(element.dtype.names) == names.split()
    assert {element.dtype[name].str for name in element.dtype.names} == {"<f4"}
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")
    stack = {
        k: torch.tensor(np.stack([element[n] for n in names.split() if n.startswith(k)], -1))
        for k in ("f_dc", "scale", "rot")
    }
    assert torch.allclose(stack["f_dc"] * 0.28209479 + 0.5, gaussians.colors, atol=1e-5)
    assert torch.allclose(stack["scale"].exp(), gaussians.scales, rtol=1e-4)
    assert torch.allclose(torch.tensor(element["opacity"]).sigmoid(), gaussians.opacities, atol=1e-5)
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    assert torch.allclose(rotation_matrices(stack["rot"]), turn @ rotation_matrices(gaussians.quats), atol=1e-5)


def test_splat_ply_agrees_with_gsplat(tmp_path, gaussians):
    gsplat = pytest.importorskip("gsplat")
    turned = gaussians.means * torch.tensor([-1.0, -1.0, 1.0])
    w, x, y, z = gaussians.quats.unbind(-1)
    sh0 = ((gaussians.colors - 0.5) / 0.28209479177387814)[:, None]
    data = gsplat.export_splats(
        turned,
        gaussians.scales.log(),
        torch.stack([-z, -y, x, w], -1),  # k times q: half a turn about Z
        torch.logit(gaussians.opacities),
        sh0,
        torch.zeros(50, 0, 3),
    )
    theirs = ply_vertices(BytesIO(data))
    write_splat_ply(tmp_path / "a.ply", gaussians)
    ours = ply_vertices(tmp_path / "a.ply")
    for name in theirs.dtype.names:
        assert np.allclose(ours[name], theirs[name], atol=1e-5), name


def test_splats_that_are_broken_or_unseen_are_left_out(tmp_path, gaussians):
    means, opacities = gaussians.means.clone(), gaussians.opacities.clone()
    means[3, 1] = torch.nan
    opacities[7] = 1e-4
    write_splat_ply(tmp_path / "a.ply", Splats(means, gaussians.scales, gaussians.quats, opacities, gaussians.colors))
    assert len(ply_vertices(tmp_path / "a.ply")) == 48


def test_facing_turns_z_to_the_normal():
    normals = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(2)), dim=-1)
    normals = torch.cat([normals, torch.tensor([[0.0, 0, 1], [0, 0, -1]])])
    assert torch.allclose(rotation_matrices(facing(normals))[:, :, 2], normals, atol=1e-5)


class OfSplats(Solid):
    """A scene with Gaussians of its own."""

    def splats(self):
        parts = dict(means=torch.zeros(4, 3), scales=torch.full((4, 3), 0.1), opacities=torch.full((4,), 0.5))
        return {**parts, "quats": torch.tensor([[1.0, 0, 0, 0]] * 4), "colors": torch.rand(4, 3)}


def test_a_scene_of_splats_writes_its_own_and_needs_no_mesh_for_that(tmp_path):
    scene = OfSplats(lambda p: 1 / 0)  # neither drawn nor meshed
    result = export_asset(scene, tmp_path, ["ply"], SMALL)
    assert len(ply_vertices(tmp_path / "asset.ply")) == 4
    assert result["qa"] is None and result["line"] == "4 Gaussians"


def test_the_same_scene_gives_the_same_bytes(exported, tmp_path):
    export_asset(tower(), tmp_path, ("glb", "ply"), SMALL)
    for name in ("asset.glb", "asset.ply"):
        assert (tmp_path / name).read_bytes() == (exported[0] / name).read_bytes()


def test_unknown_formats_and_empty_scenes_write_nothing(tmp_path):
    with pytest.raises(UserError, match="did you mean 'glb'"):
        export_asset(tower(), tmp_path, ["gbl"], SMALL)
    with pytest.raises(UserError, match="empty"):
        export_asset(Fog(thickness=1e-4), tmp_path, ["glb", "ply"], SMALL)
    assert list(tmp_path.iterdir()) == []


def test_settings_out_of_range_are_named():
    with pytest.raises(UserError, match="export.faces must lie between"):
        ExportConfig(faces=3)
    with pytest.raises(UserError, match="did you mean 'resolution'"):
        apply(ExportConfig(), {"resolutio": "64"})


@pytest.fixture(scope="module")
def small_mesh():
    from sds3d.export.asset import Clock, build

    return build(Solid(sphere(0.6), waves), SMALL, Clock())[0]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_a_failed_write_leaves_the_old_file(tmp_path, small_mesh, monkeypatch, error):
    path = tmp_path / "asset.glb"
    write_glb(path, small_mesh)
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UserError, match=f"cannot write .*{error.strerror}"):
        write_glb(path, small_mesh)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["asset.glb"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path, small_mesh):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        write_glb(tmp_path / "file" / "asset.glb", small_mesh)


def test_a_file_that_lost_faces_is_noticed(tmp_path, small_mesh):
    from dataclasses import replace

    write_glb(tmp_path / "asset.glb", replace(small_mesh, faces=small_mesh.faces[:-5]))
    with pytest.raises(UserError, match="did not read back"):
        reread_glb(Path(tmp_path / "asset.glb"), small_mesh)


def test_surface_splats_are_spread_evenly(small_mesh):
    means = on_surface(small_mesh, 4000).means
    assert means.norm(dim=1).mean() == pytest.approx(0.6, abs=0.01)
    for axis in range(3):  # on a sphere every coordinate is uniform (Archimedes): mean 0, deviation r / sqrt 3
        assert means[:, axis].mean() == pytest.approx(0, abs=0.02)
        assert means[:, axis].std() == pytest.approx(0.6 / 3**0.5, rel=0.03)
