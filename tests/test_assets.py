"""Meshes from elsewhere: where they lie, and what colour they have."""

from __future__ import annotations

import numpy as np
import pytest
from asset_files import TRIANGLE, Gltf, checker, ply, png

from sds3d.assets import load_asset, load_mesh
from sds3d.assets.mesh import LoadedMesh, decoded, encoded
from sds3d.assets.placement import orientation
from sds3d.camera import Cameras
from sds3d.errors import UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
UV = [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]  # glTF: v downwards


def in_file(mesh: LoadedMesh) -> np.ndarray:
    """The vertices back in the file's own coordinates."""
    return mesh.vertices @ mesh.transform[:3, :3].T + mesh.transform[:3, 3]


def middle(mesh: LoadedMesh, face: int = 0) -> np.ndarray:
    return mesh.colors_at(np.array([face]), np.full((1, 3), 1 / 3, np.float32))[0]


def test_nodes_are_flattened(tmp_path):
    """Parent and child, a turn, a scale, a mirror: positions, normals and windings follow."""
    gltf = Gltf()
    normals = gltf.array([[0, 0, 1]] * 3)
    mesh = gltf.mesh(NORMAL=normals)
    half = np.sqrt(0.5)
    child = gltf.add("nodes", mesh=mesh, scale=[2, 4, 1])
    mirror = gltf.add("nodes", mesh=mesh, matrix=[-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 9, 1])
    parent = gltf.add("nodes", children=[child], rotation=[0, half, 0, half], translation=[10, 0, 0])
    gltf.add("nodes", mesh=mesh, translation=[1000, 0, 0])  # in no scene
    gltf.scene(parent, mirror)
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    expected = [[10, 0, 0], [10, 0, -2], [10, 4, 0], [0, 0, 9], [-1, 0, 9], [0, 1, 9]]
    assert np.allclose(sorted(in_file(loaded).round(4).tolist()), sorted(map(list, expected)), atol=1e-4)
    flat = np.cross(*(loaded.vertices[loaded.faces[:, i]] - loaded.vertices[loaded.faces[:, 0]] for i in (1, 2)))
    assert (np.einsum("fi,fi->f", flat, loaded.normals[loaded.faces[:, 0]]) > 0).all()
    assert sorted(loaded.normals.round(4).tolist()) == [[0, 0, 1]] * 3 + [[1, 0, 0]] * 3
    assert np.linalg.norm(loaded.vertices, axis=1).max() == pytest.approx(1)


def test_a_skin_stands_in_its_joints_pose(tmp_path):
    gltf = Gltf()
    joints = gltf.array([[0, 1, 0, 0]] * 3, "<u1")
    weights = gltf.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    mesh = gltf.mesh(JOINTS_0=joints, WEIGHTS_0=weights)
    bones = [gltf.add("nodes", translation=[0, 0, z]) for z in (5, 7)]
    inverse = gltf.array(np.stack([np.eye(4), np.eye(4)]))
    gltf.add("skins", joints=bones, inverseBindMatrices=inverse)
    node = gltf.add("nodes", mesh=mesh, skin=0, translation=[100, 0, 0])  # which a skin overrules
    gltf.scene(node, *bones)
    loaded = in_file(load_mesh(gltf.save(tmp_path / "a.glb")))
    assert np.allclose(loaded, [[0, 0, 5], [1, 0, 7], [0, 1, 6]], atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "faces"), [(4, [[0, 1, 2]]), (5, [[0, 1, 2], [2, 1, 3]]), (6, [[0, 1, 2], [0, 2, 3]])]
)
def test_triangles_strips_and_fans(tmp_path, mode, faces):
    gltf = Gltf()
    mesh = gltf.mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5]])
    gltf.root["meshes"][mesh]["primitives"][0]["mode"] = mode
    gltf.scene(gltf.add("nodes", mesh=mesh))
    loaded = load_mesh(gltf.save(tmp_path / "a.gltf"))
    assert sorted(map(sorted, loaded.faces.tolist())) == sorted(map(sorted, faces))
    assert loaded.faces.tolist()[-1] in [np.roll(faces[-1], k).tolist() for k in range(3)]


def test_sparse_strided_and_normalised_accessors(tmp_path):
    gltf = Gltf()
    rows = np.zeros(3, [("p", "<f4", 3), ("uv", "<u2", 2)])
    rows["p"], rows["uv"] = TRIANGLE, [[0, 65535], [65535, 65535], [0, 0]]
    view = gltf.view(rows.tobytes())
    gltf.root["bufferViews"][view]["byteStride"] = 16
    gltf.root["accessors"] = [
        {"bufferView": view, "componentType": 5126, "type": "VEC3", "count": 3},
        {"bufferView": view, "byteOffset": 12, "componentType": 5123, "type": "VEC2", "count": 3, "normalized": True},
    ]
    indices, values = gltf.view(np.array([2], "<u2").tobytes()), gltf.view(np.array([[0, 3, 0]], "<f4").tobytes())
    sparse = {"bufferView": indices, "componentType": 5123}
    gltf.root["accessors"][0]["sparse"] = {"count": 1, "indices": sparse, "values": {"bufferView": values}}
    attributes = {"POSITION": 0, "TEXCOORD_0": 1}
    gltf.add("meshes", primitives=[{"attributes": attributes, "material": gltf.material(checker(RED, BLUE))}])
    gltf.scene(gltf.add("nodes", mesh=0))
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    assert np.allclose(in_file(loaded), [[0, 0, 0], [1, 0, 0], [0, 3, 0]], atol=1e-6)
    assert np.allclose(loaded.uv, [[0, 0], [1, 0], [0, 1]])


def test_a_factor_multiplies_linear_light(tmp_path):
    """The product of texture and baseColorFactor is taken of linear light; the factor alone becomes sRGB."""
    for picture in (png(np.full((4, 4, 3), 188)), None):
        gltf = Gltf()
        uv = gltf.array(UV)
        material = gltf.material(picture, [0.5, 1.0, 0.0, 1.0])
        gltf.scene(gltf.add("nodes", mesh=gltf.mesh(material=material, TEXCOORD_0=uv)))
        base = 188 / 255 if picture else 1.0
        expected = encoded(decoded(np.array(base)) * np.array([0.5, 1, 0]))
        assert np.allclose(middle(load_mesh(gltf.save(tmp_path / "a.glb"))), [*expected, 1], atol=3e-3)


def test_vertex_colours_of_gltf_are_linear(tmp_path):
    gltf = Gltf()
    colors = gltf.array([[0.5, 0.5, 0.5]] * 3)
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh(COLOR_0=colors)))
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    assert loaded.texture is None and np.allclose(loaded.colors[0], [0.7354, 0.7354, 0.7354, 1], atol=1e-3)


def test_materials_share_an_atlas(tmp_path):
    """A texture, one that repeats, a plain colour and colours at the vertices: each keeps what it shows."""
    gltf = Gltf()
    stripes, tiled = gltf.material(checker(RED, GREEN)), gltf.material(checker(BLUE, WHITE))
    plain = gltf.material(factor=[1, 0, 1, 1])
    uv = gltf.array(UV)
    wide = gltf.array(np.array(UV) * [2, 1] + [3, -2])
    corners = np.array([[0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.4, 0.4, 0.6]])
    colors = gltf.array(decoded(corners))
    meshes = [
        gltf.mesh(material=stripes, TEXCOORD_0=uv),
        gltf.mesh(material=tiled, TEXCOORD_0=wide),
        gltf.mesh(material=plain),
        gltf.mesh(COLOR_0=colors),
    ]
    gltf.scene(*(gltf.add("nodes", mesh=m, translation=[0, 0, i]) for i, m in enumerate(meshes)))
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    assert loaded.colors is None and loaded.texture is not None and len(loaded.faces) == 4
    assert loaded.uv.min() >= 0 and loaded.uv.max() <= 1
    order = np.argsort(in_file(loaded)[loaded.faces[:, 0], 2])
    along = np.array([[0.9 - t, t, 0.1] for t in (0.05, 0.3, 0.6, 0.85)], np.float32)

    def seen(k):
        return loaded.colors_at(np.full(len(along), order[k]), along)[:, :3]

    assert np.allclose(seen(0) * 255, [RED, RED, GREEN, GREEN], atol=1)
    assert np.allclose(seen(1) * 255, [BLUE, WHITE, BLUE, WHITE], atol=1)  # u runs over two tiles
    assert np.allclose(seen(2), [[1, 0, 1]] * 4, atol=5e-3)
    assert np.allclose(seen(3), along @ corners, atol=5e-3)


def test_a_texture_that_repeats_too_often_becomes_vertex_colours(tmp_path):
    gltf = Gltf()
    uv = gltf.array(np.array(UV) * 50 + 0.25)
    mesh = gltf.mesh(material=gltf.material(checker(RED, GREEN)), TEXCOORD_0=uv)
    gltf.scene(gltf.add("nodes", mesh=mesh))
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    assert np.allclose(middle(loaded), [1, 0, 0, 1], atol=0.02) and loaded.texture.shape[0] <= 64


@pytest.mark.parametrize(
    ("wrap", "expected"), [(10497, [RED, BLUE, RED]), (33071, [RED, BLUE, BLUE]), (33648, [RED, BLUE, BLUE])]
)
def test_samplers_wrap(tmp_path, wrap, expected):
    """u runs to 1.5: repeated, clamped, mirrored."""
    gltf = Gltf()
    sampler = gltf.add("samplers", wrapS=wrap, wrapT=wrap)
    material = gltf.material(checker(RED, BLUE), sampler=sampler)
    corners = [[0, 0, 0], [3, 0, 0], [0, 1, 0]]
    points = np.array([0.25, 0.75, 1.25])
    mesh = gltf.mesh(
        [[x, y, 0] for u in points for x, y in ((u, 0), (u + 0.1, 0), (u, 1))],
        material=material,
        TEXCOORD_0=gltf.array([[u, 0.5] for u in points for _ in corners]),
    )
    gltf.scene(gltf.add("nodes", mesh=mesh))
    loaded = load_mesh(gltf.save(tmp_path / "a.glb"))
    order = np.argsort(in_file(loaded)[loaded.faces[:, 0], 0])
    assert [(middle(loaded, f)[:3] * 255).round().tolist() for f in order] == [list(map(float, c)) for c in expected]


def test_alpha_modes(tmp_path):
    pixels = np.full((2, 2, 4), 100)
    for mode, alpha in (("OPAQUE", 1.0), ("MASK", 0.0), ("BLEND", 100 / 255)):
        gltf = Gltf()
        material = gltf.material(png(pixels))
        gltf.root["materials"][material]["alphaMode"] = mode
        gltf.scene(gltf.add("nodes", mesh=gltf.mesh(material=material, TEXCOORD_0=gltf.array(UV))))
        assert middle(load_mesh(gltf.save(tmp_path / "a.glb")))[3] == pytest.approx(alpha, abs=1e-6), mode


def test_texture_transforms(tmp_path):
    """KHR_texture_transform: offset, rotation about the upper left corner, scale."""
    gltf = Gltf()
    material = gltf.material(checker(RED, GREEN, BLUE, WHITE))
    info = gltf.root["materials"][material]["pbrMetallicRoughness"]["baseColorTexture"]
    info["extensions"] = {"KHR_texture_transform": {"offset": [0.5, 0], "scale": [0.25, 1]}}
    gltf.root["extensionsRequired"] = ["KHR_texture_transform"]
    uv = gltf.array([[0.2, 0.5]] * 3)
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh(material=material, TEXCOORD_0=uv)))
    assert np.allclose(middle(load_mesh(gltf.save(tmp_path / "a.glb")))[:3] * 255, BLUE, atol=1)


def test_obj_polygons_materials_and_references(tmp_path):
    """Quads, negative references, every way to write a corner, materials with and without a picture."""
    (tmp_path / "a b.png").write_bytes(checker(RED, GREEN))
    (tmp_path / "m.mtl").write_text("newmtl plain\nKd 0 0 1\n\nnewmtl pic\nKd 0 0 0\nmap_Kd -s 1 1 1 a b.png\n")
    (tmp_path / "a.obj").write_text(
        "# text\nmtllib m.mtl\no thing\nv 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nvt 0.25 0.5\nvn 0 0 1\n"
        "usemtl plain\nf 1 2 3 4\nv 0 0 1\nv 1 0 1\nv 0 1 1\nusemtl pic\n"
        "f -3/1/1 -2/1/1 -1/1/1\nf 5//1 6//1 7//1\nf 5/1 6/1 7/1\n"
    )
    loaded = load_mesh(tmp_path / "a.obj")
    assert len(loaded.faces) == 5 and loaded.notes == ()
    depth = in_file(loaded)[loaded.faces, 2].mean(1).round(3)
    assert sorted(depth.tolist()) == [0, 0, 1, 1, 1]
    assert {tuple((middle(loaded, f)[:3] * 255).round().astype(int).tolist()) for f in np.flatnonzero(depth == 0)} == {
        BLUE
    }


def test_obj_without_its_material_says_so(tmp_path):
    (tmp_path / "a.obj").write_text("mtllib gone.mtl\nv 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nf 1 2 3\n")
    loaded = load_mesh(tmp_path / "a.obj")
    assert loaded.notes == ("the colours: gone.mtl is not beside it",)
    assert np.allclose(middle(loaded), [1, 0, 0, 1])


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("polygons", [[[0, 1, 2]], [[0, 1, 2], [0, 2, 3, 1]]])
def test_ply_with_colours_and_polygons(tmp_path, text, polygons):
    kinds = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertex = np.array([(0, 0, 0, *RED), (1, 0, 0, *RED), (0, 1, 0, *RED), (0, 0, 1, *RED)], kinds)
    face = np.empty(len(polygons), [("vertex_indices", "O"), ("flags", "i4")])
    face["vertex_indices"] = [np.array(p, "i4") for p in polygons]
    face["flags"] = 7
    (tmp_path / "a.ply").write_bytes(ply("" if text else ">", vertex=vertex, face=face))
    loaded = load_mesh(tmp_path / "a.ply")
    assert len(loaded.faces) == sum(len(p) - 2 for p in polygons)
    assert np.allclose(middle(loaded), [1, 0, 0, 1])


@pytest.mark.parametrize("text", [False, True])
def test_stl_corners_are_welded(tmp_path, text):
    """A cube of twelve free triangles, its binary header beginning as a text file's."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], "<f4")
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = corners[[[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)]]
    if text:
        facets = (" ".join(f"vertex {x} {y} {z}\n" for x, y, z in t) for t in triangles)
        inner = "".join(f"facet normal 0 0 0\n outer loop\n {t} endloop\nendfacet\n" for t in facets)
        (tmp_path / "a.stl").write_text(f"solid cube\n{inner}endsolid cube\n")
    else:
        rows = np.zeros(12, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        rows["corners"] = triangles
        (tmp_path / "a.stl").write_bytes(b"solid".ljust(80) + np.uint32(12).tobytes() + rows.tobytes())
    loaded = load_mesh(tmp_path / "a.stl")
    assert len(loaded.vertices) == 8 and len(loaded.faces) == 12
    assert np.allclose(sorted(in_file(loaded).round(5).tolist()), corners, atol=1e-5)


def test_up_and_front_are_turned(tmp_path):
    """A Z-up file's +Z is our +Y and its -Y our +Z; the way back is exact; a left-handed pair cannot be named."""
    (tmp_path / "a.obj").write_text("v 0 0 5\nv 0 -1 0\nv 1 0 0\nf 1 2 3\n")
    loaded = load_mesh(tmp_path / "a.obj", up="z")
    top, front, right = loaded.vertices[
        [int(np.abs(in_file(loaded) - p).sum(1).argmin()) for p in ([0, 0, 5], [0, -1, 0], [1, 0, 0])]
    ]
    assert top[1] > front[1] and front[2] > top[2] and right[0] > top[0]
    assert np.allclose(orientation("+y", "+x") @ [0, 0, 1], [1, 0, 0])  # our front is the file's +X
    for up in ("+x", "-x", "+y", "-y", "+z", "-z"):
        assert np.linalg.det(orientation(up, None)) == pytest.approx(1)
    with pytest.raises(UserError, match="same axis"):
        orientation("y", "-y")
    with pytest.raises(UserError, match="unknown up axis"):
        orientation("w", None)


def test_what_fits_the_unit_ball_is_not_moved(tmp_path):
    (tmp_path / "a.obj").write_text("v 0.9 0 0\nv 0 0.9 0\nv 0.1 0.1 0\nf 1 2 3\n")
    loaded = load_mesh(tmp_path / "a.obj")
    assert np.array_equal(loaded.transform, np.eye(4)) and loaded.vertices.max() == np.float32(0.9)


def test_a_far_away_mesh_keeps_its_shape(tmp_path):
    """Map coordinates: centred in double precision, before they become single."""
    (tmp_path / "a.obj").write_text(
        "".join(f"v 500000.00{x} 4649776.00{y} 0\n" for x, y in ((1, 0), (2, 0), (1, 1))) + "f 1 2 3\n"
    )
    loaded = load_mesh(tmp_path / "a.obj")
    sides = np.linalg.norm(loaded.vertices[loaded.faces[0]] - loaded.vertices[np.roll(loaded.faces[0], 1)], axis=1)
    assert np.sort(sides) / sides.min() == pytest.approx([1, 1, np.sqrt(2)], rel=1e-5)


def test_the_soup_shows_the_colours(tmp_path):
    """Vertex colours as a texture interpolate as vertex colours do."""
    from sds3d.render.mesh import render_soup

    gltf = Gltf()
    corners = np.array([[0.8, 0.4, 0.4], [0.4, 0.8, 0.4], [0.4, 0.4, 0.8]])
    colors = gltf.array(decoded(corners))
    gltf.scene(gltf.add("nodes", mesh=gltf.mesh([[-0.8, -0.5, 0], [0.8, -0.5, 0], [0, 0.9, 0]], COLOR_0=colors)))
    loaded = load_asset(gltf.save(tmp_path / "a.glb"))
    import torch

    cameras = Cameras(*(torch.tensor([v]) for v in (0.0, 0.0, 40.0, 3.2)))
    drawn, _ = render_soup(loaded.soup, cameras, 64, ambient=1.0, diffuse=0.0, headlight=0.0)
    rows, columns = np.nonzero(drawn[0, ..., 3] == 255)
    low, high = rows.max(), rows.min()
    left, right = columns[rows == low].min(), columns[rows == low].max()
    for row, column, channel in ((low, left, 0), (low, right, 1), (high, columns[rows == high][0], 2)):
        pixel = drawn[0, row, column, :3].astype(int)
        assert np.abs(pixel - corners[channel] * 255).max() < 8
    spot = rows.mean().astype(int), columns.mean().astype(int)
    assert np.abs(drawn[0][spot][:3] / 255 - corners.mean(0)).max() < 0.03
