"""Tangents, normal maps, and how they reach a .glb."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from sds3d.export.files import placed, write_glb
from sds3d.export.mesh import Mesh, TexturedMesh, vertex_normals
from sds3d.export.normals import _nearest, normal_map, normals_of, tangents
from sds3d.export.seams import bilinear
from sds3d.export.texture import paint, rasterise
from sds3d.export.unwrap import Unwrapping


def icosphere(subdivisions: int, radius: float = 0.7) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))


def bumpy(mesh: Mesh, height: float = 0.025, waves: float = 12.0) -> Mesh:
    """The ball with a relief that only fine triangles hold."""
    lift = 1 + height * np.sin(waves * mesh.vertices).prod(1, keepdims=True)
    return Mesh((mesh.vertices * lift).astype(np.float32), mesh.faces)


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize("turn", [0.0, 30.0, 200.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_tangents_of_a_square_follow_its_texture(turn, mirrored):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    uv = square[:, :2] @ np.array([[cosine, -sine], [sine, cosine]]) * 0.3
    uv = uv * (1, -1) if mirrored else uv
    found = tangents(square, faces, np.tile(np.float32([0, 0, 1]), (4, 1)), uv.astype(np.float32))
    assert found[:, :3] == pytest.approx(np.tile([cosine, sine, 0], (4, 1)), abs=1e-6)  # du = cos dx + sin dy
    assert (found[:, 3] == (-1 if mirrored else 1)).all()


def test_tangents_are_unit_and_orthogonal_also_without_a_texture():
    ball = icosphere(2)
    atlas = Unwrapping(ball, 64, 120).result()
    normals = vertex_normals(ball)[atlas.source]
    for uv in (atlas.uv, np.zeros_like(atlas.uv)):
        found = tangents(ball.vertices[atlas.source], atlas.faces, normals, uv)
        assert np.linalg.norm(found[:, :3], axis=1) == pytest.approx(1, abs=1e-5)
        assert np.abs((found[:, :3] * normals).sum(1)).max() < 1e-5
        assert (np.abs(found[:, 3]) == 1).all()


def test_the_nearest_place_against_trying_all():
    generator = np.random.default_rng(0)
    corners, points = generator.normal(size=(60, 1, 3, 3)), generator.normal(size=(60, 3)) * 2
    a, b = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    grid = np.stack([a, b, 1 - a - b], -1)[a + b <= 1 + 1e-9]
    face, shares = np.empty(1, np.int64), np.empty((1, 3))
    for triangle, point in zip(corners, points, strict=True):
        up = np.cross(triangle[0, 1] - triangle[0, 0], triangle[0, 2] - triangle[0, 0])
        _nearest(point[None], up[None], triangle, np.zeros((1, 1), np.int64), face, shares)
        assert face[0] == 0 and shares.min() >= -1e-9 and shares.sum() == pytest.approx(1)
        gap = np.linalg.norm(shares[0] @ triangle[0] - point)
        tried = np.linalg.norm(grid @ triangle[0] - point, axis=1).min()
        assert tried - 0.05 <= gap <= tried + 1e-9


def test_thin_walls_do_not_take_the_normals_of_their_back():
    front = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    back = front - np.float32([0, 0, 0.01])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]], np.int32)
    wall = Mesh(np.concatenate([front, back]), faces)
    near_back = np.array([[0.4, 0.6, -0.009]], np.float32)
    for z in (1.0, -1.0):
        assert normals_of(wall, near_back, np.array([[0, 0, z]], np.float32))[0] == pytest.approx([0, 0, z])


@pytest.fixture(scope="module")
def baked():
    coarse, fine = icosphere(3), bumpy(icosphere(5))
    atlas = Unwrapping(coarse, 256, 120).result()
    texels = rasterise(coarse, atlas)
    mesh = paint(coarse, atlas, texels, torch.full_like(texels.positions, 0.5))
    mesh = TexturedMesh(
        mesh.vertices, mesh.faces, mesh.normals, mesh.uv, mesh.texture,
        tangents=tangents(mesh.vertices, mesh.faces, mesh.normals, mesh.uv), roughness=0.25, metallic=1.0,
    )  # fmt: skip
    return mesh, texels, fine


def test_a_viewer_gets_the_fine_surface_back(baked):
    """Decoded as the glTF specification says, in the middles of the faces: far nearer to the fine surface than the
    coarse one is."""
    mesh, texels, fine = baked
    image = normal_map(mesh, texels, fine)
    share = np.full((3, 1), 1 / 3, np.float32)
    normal = (mesh.normals[mesh.faces] * share).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tangent = (mesh.tangents[mesh.faces] * share).sum(1)
    across = np.cross(normal, tangent[:, :3]) * tangent[:, 3:]
    mapped = bilinear(image, mesh.uv[mesh.faces].mean(1)) * 2 - 1
    seen = mapped[:, :1] * tangent[:, :3] + mapped[:, 1:2] * across + mapped[:, 2:] * normal
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    wanted = normals_of(fine, mesh.vertices[mesh.faces].mean(1), normal)
    assert angle(normal, wanted).mean() > 4  # degrees
    assert angle(seen, wanted).mean() < 1


def test_the_same_surface_gives_a_flat_map(baked):
    mesh, texels, _ = baked
    image = normal_map(mesh, texels, icosphere(3))
    assert np.abs(image.astype(int) - [128, 128, 255]).max() <= 3


def test_a_glb_carries_tangents_map_and_finish(baked, tmp_path):
    mesh, texels, fine = baked
    from dataclasses import replace

    path = write_glb(tmp_path / "a.glb", replace(mesh, normal_map=normal_map(mesh, texels, fine)))[0]
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    root = json.loads(data[20 : 20 + size])
    attributes = root["meshes"][0]["primitives"][0]["attributes"]
    assert root["accessors"][attributes["TANGENT"]]["type"] == "VEC4"
    assert root["accessors"][attributes["TANGENT"]]["count"] == len(mesh.vertices)
    assert not [name for name in attributes if name.startswith("_")]
    material = trimesh.load(path, force="mesh", process=False).visual.material
    assert material.normalTexture.size == (256, 256)
    assert (material.roughnessFactor, material.metallicFactor) == (0.25, 1.0)


def test_without_a_map_there_are_no_tangents_in_the_file(baked, tmp_path):
    mesh, _, _ = baked
    from dataclasses import replace

    data = write_glb(tmp_path / "a.glb", replace(mesh, tangents=None))[0].read_bytes()
    root = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    assert "TANGENT" not in root["meshes"][0]["primitives"][0]["attributes"]
    assert "normalTexture" not in root["materials"][0]


def test_tangents_turn_with_the_mesh(baked):
    mesh, _, _ = baked
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # Y up to Z up, larger
    moved = placed(mesh, matrix)
    again = tangents(moved.vertices.astype(np.float32), moved.faces, moved.normals, moved.uv)
    assert angle(again[:, :3], moved.tangents[:, :3]).max() < 0.5
    assert np.array_equal(again[:, 3], moved.tangents[:, 3])
    assert np.linalg.norm(moved.normals, axis=1) == pytest.approx(1, abs=1e-5)
