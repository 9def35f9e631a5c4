"""Files out and back in: by readers that are not ours, and by ours."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from analytic_scenes import Solid, sphere
from PIL import Image

from sds3d.assets import LoadedMesh, Placement, load_mesh
from sds3d.assets.placement import orientation
from sds3d.export import export_asset, files
from sds3d.export.mesh import TexturedMesh
from sds3d.export.usd import package

LANDED = Placement(np.array([10.0, -20.0, 5.0]), 40.0, mesh_axes=orientation("z", None))


@pytest.fixture(scope="module")
def mesh():
    """A tetrahedron with a texture of four colours."""
    vertices = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.75, 0], [0, 0, 0.25]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    normals = vertices - vertices.mean(0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    uv = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]], np.float32)
    texture = np.zeros((16, 16, 3), np.uint8)
    texture[:8, :8], texture[:8, 8:], texture[8:, :8], texture[8:, 8:] = (9, 9, 250), (250, 9, 9), (9, 250, 9), 250
    return TexturedMesh(vertices, faces, normals.astype(np.float32), uv, texture)


def test_gltf_in_parts_says_what_the_glb_says(tmp_path, mesh):
    trimesh = pytest.importorskip("trimesh")
    written = files.write_gltf(tmp_path / "asset.gltf", mesh)
    assert [p.name for p in written] == ["asset.gltf", "asset.bin", "asset-basecolor.png"]
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in written}
    root = json.loads((tmp_path / "asset.gltf").read_text())
    assert root["buffers"] == [{"uri": "asset.bin", "byteLength": (tmp_path / "asset.bin").stat().st_size}]
    assert root["images"][0]["uri"] == "asset-basecolor.png" and "bufferView" not in root["images"][0]
    theirs = trimesh.load(tmp_path / "asset.gltf", force="mesh", process=False)
    assert np.array_equal(theirs.vertices.astype(np.float32), mesh.vertices) and np.array_equal(
        theirs.faces, mesh.faces
    )
    assert np.array_equal(np.asarray(theirs.visual.material.baseColorTexture.convert("RGB")), mesh.texture)


@pytest.mark.parametrize("bumpy", [False, True])
def test_usdz_is_what_usd_reads(tmp_path, mesh, bumpy):
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import UsdGeom, UsdShade

    bumps = np.full((8, 8, 3), (128, 128, 255), np.uint8) if bumpy else None
    mesh = replace(mesh, roughness=0.25, metallic=1.0, normal_map=bumps)
    files.write_usdz(tmp_path / "a.usdz", mesh)
    stage = usd.Stage.Open(str(tmp_path / "a.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and stage.GetDefaultPrim().GetName() == "asset"
    shape = UsdGeom.Mesh(stage.GetPrimAtPath("/asset/mesh"))
    assert np.array_equal(np.array(shape.GetPointsAttr().Get()), mesh.vertices)
    assert np.array_equal(np.array(shape.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), mesh.faces)
    st = UsdGeom.PrimvarsAPI(shape).GetPrimvar("st")
    assert st.GetInterpolation() == "vertex" and np.array_equal(np.array(st.Get()), mesh.uv)
    assert np.allclose(np.array(shape.GetNormalsAttr().Get()), mesh.normals, atol=1e-6)
    material, _ = UsdShade.MaterialBindingAPI(shape).ComputeBoundMaterial()
    surface, _, _ = material.ComputeSurfaceSource()
    texture = UsdShade.Shader(surface.GetInput("diffuseColor").GetConnectedSources()[0][0].source.GetPrim())
    path = texture.GetInput("file").Get().resolvedPath
    assert path.endswith("a.usdz[textures/basecolor.png]")
    assert surface.GetInput("roughness").Get() == 0.25 and surface.GetInput("metallic").Get() == 1.0
    bump = surface.GetInput("normal")
    assert bool(bump and bump.GetConnectedSources()[0]) is bumpy
    if bumpy:
        texture = UsdShade.Shader(bump.GetConnectedSources()[0][0].source.GetPrim())
        assert texture.GetInput("file").Get().resolvedPath.endswith("a.usdz[textures/normal.png]")
        assert list(texture.GetInput("bias").Get()) == [-1, -1, -1, 0]  # bytes to [-1, 1], as the surface expects


def test_usdz_members_are_stored_at_multiples_of_64_bytes():
    for size in (1, 63, 64, 1000):
        data = package({"asset.usda": b"#usda 1.0\n" + b" " * size, "textures/basecolor.png": b"picture" * size})
        archive = zipfile.ZipFile(BytesIO(data))
        assert archive.testzip() is None and archive.namelist() == ["asset.usda", "textures/basecolor.png"]
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
            assert (info.header_offset + 30 + name + extra) % 64 == 0


@pytest.mark.parametrize("name", ["glb", "gltf", "obj", "stl", "mesh-ply"])
def test_a_mesh_lands_where_its_file_was(tmp_path, mesh, name):
    """World -> file -> world by our reader, and the file's own coordinates by trimesh's."""
    trimesh = pytest.importorskip("trimesh")
    path = files.write_mesh(name, tmp_path / f"a.{name.removeprefix('mesh-')}", mesh, LANDED)[0]
    own = LANDED.matrix(None if name in ("glb", "gltf") else LANDED.mesh_axes)
    expected = mesh.vertices @ own[:3, :3].T + own[:3, 3]
    theirs = trimesh.load(path, force="mesh", process=False)
    assert np.allclose(theirs.bounds, [expected.min(0), expected.max(0)], atol=1e-4)
    loaded = load_mesh(path) if name in ("glb", "gltf") else load_mesh(path, up="z")
    back = loaded.vertices @ loaded.transform[:3, :3].T + loaded.transform[:3, 3]
    assert np.allclose(np.sort(back, 0)[[0, -1]], np.sort(expected, 0)[[0, -1]], atol=1e-4)
    corners = loaded.vertices[loaded.faces]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volume * loaded.placement.radius**3 == pytest.approx(0.5 * 0.75 * 0.25 / 6 * 40**3, rel=1e-4)
    assert np.abs(np.linalg.norm(loaded.vertices, axis=1).max() - 1) < 1e-6


@pytest.mark.parametrize("name", ["glb", "gltf", "obj"])
def test_a_gltf_whose_front_was_named_lands_where_it_was(tmp_path, mesh, name):
    """Turned on the way in, turned back on the way out."""
    loaded = load_mesh(files.write_glb(tmp_path / "mine.glb", mesh)[0], front="+x")
    front = mesh.vertices[:, 0].argmax()
    assert loaded.vertices[:, 2].argmax() == np.abs(loaded.uv - mesh.uv[front]).sum(1).argmin()
    moved = replace(mesh, vertices=loaded.vertices, faces=loaded.faces, normals=loaded.normals, uv=loaded.uv)
    back = load_mesh(files.write_mesh(name, tmp_path / f"a.{name}", moved, loaded.placement)[0])
    for point, uv in zip(mesh.vertices, mesh.uv, strict=True):
        assert np.allclose(back.vertices[np.abs(back.uv - uv).sum(1).argmin()], point, atol=1e-6)


@pytest.mark.parametrize("name", ["glb", "gltf", "obj"])
def test_a_texture_comes_back_as_it_was(tmp_path, mesh, name):
    loaded = load_mesh(files.write_mesh(name, tmp_path / f"a.{name}", mesh, Placement())[0])
    assert isinstance(loaded, LoadedMesh) and loaded.notes == () and loaded.colors is None
    assert np.array_equal(loaded.texture[..., :3], mesh.texture) and (loaded.texture[..., 3] == 255).all()
    order = [int(np.abs(loaded.vertices - v).sum(1).argmin()) for v in mesh.vertices]
    assert np.allclose(loaded.uv[order], mesh.uv, atol=1e-6)
    assert np.allclose(loaded.vertices[order], mesh.vertices, atol=1e-7) and np.array_equal(loaded.transform, np.eye(4))


def test_all_formats_of_one_run_go_to_one_folder(tmp_path):
    """No format overwrites another's files."""
    from sds3d.export import FORMATS, ExportConfig

    config = ExportConfig(resolution=32, faces=100, texture=32, unwrap_seconds=0, splats=500)
    result = export_asset(Solid(sphere(0.6)), tmp_path, tuple(FORMATS), config)
    names = [name for written in result["files"].values() for name in written]
    assert len(names) == len(set(names)) and set(names) == {p.name for p in tmp_path.iterdir()}
    assert Image.open(tmp_path / "asset-basecolor.png").size == Image.open(tmp_path / "asset.png").size
