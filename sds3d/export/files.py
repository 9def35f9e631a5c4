"""Asset files. Every write is atomic: the old file or the new one, never a part of one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sds3d.assets.placement import Matrix, Placement
from sds3d.export import axes_kind
from sds3d.export.gltf import separate
from sds3d.export.mesh import TexturedMesh
from sds3d.export.texture import look_up
from sds3d.export.usd import write_usdz
from sds3d.files import write_bytes

if TYPE_CHECKING:
    import trimesh


def _trimesh(mesh: TexturedMesh) -> trimesh.Trimesh:
    import trimesh
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(
        name="asset",
        baseColorTexture=Image.fromarray(mesh.texture),
        metallicFactor=mesh.metallic,
        roughnessFactor=mesh.roughness,
        normalTexture=None if mesh.normal_map is None else Image.fromarray(mesh.normal_map),
    )
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_normals=mesh.normals, visual=visual, process=False)
    if mesh.tangents is not None:
        shape.vertex_attributes["_TANGENT"] = mesh.tangents
    return shape


def _glb(mesh: TexturedMesh) -> bytes:
    data = _trimesh(mesh).export(file_type="glb", include_normals=True, tree_postprocessor=_name_tangents)
    assert isinstance(data, bytes)
    return data


def _name_tangents(root: dict[str, Any]) -> None:
    """trimesh takes attributes of our own only, which begin with an underscore."""
    for mesh in root["meshes"]:
        for primitive in mesh["primitives"]:
            if "_TANGENT" in primitive["attributes"]:
                primitive["attributes"]["TANGENT"] = primitive["attributes"].pop("_TANGENT")


def _write(path: Path, shape: trimesh.Trimesh, kind: str, **options: Any) -> list[Path]:
    data = shape.export(file_type=kind, **options)
    assert isinstance(data, bytes)
    return [write_bytes(path, data)]


def write_glb(path: Path, mesh: TexturedMesh) -> list[Path]:
    """One self-contained binary glTF 2.0: normals, uv, base colour, roughness and metallic; with a normal map also its
    tangents. +Y up."""
    return [write_bytes(path, _glb(mesh))]


def write_gltf(path: Path, mesh: TexturedMesh) -> list[Path]:
    """The same in separate files: .gltf, .bin and pictures. The .gltf is written last, when what it names is there."""
    return [write_bytes(path.with_name(name), part) for name, part in separate(_glb(mesh), path.stem).items()][::-1]


def write_obj(path: Path, mesh: TexturedMesh) -> list[Path]:
    """Wavefront .obj with its .mtl and .png beside it; the .obj is written last, when what it names is there."""
    from PIL import Image

    library, picture = path.with_suffix(".mtl"), path.with_suffix(".png")
    lines = [f"mtllib {library.name}", "usemtl asset"]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.uv.tolist()]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals.tolist()]
    lines += [f"f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}" for a, b, c in (mesh.faces + 1).tolist()]
    image = io.BytesIO()
    Image.fromarray(mesh.texture).save(image, "PNG")
    material = f"newmtl asset\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n"
    write_bytes(picture, image.getvalue())
    write_bytes(library, material.encode())
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return [path, library, picture]


def write_mesh_ply(path: Path, mesh: TexturedMesh) -> list[Path]:
    """Binary .ply with a colour per vertex."""
    import trimesh

    colors = (look_up(mesh, mesh.uv) * 255).round().astype(np.uint8)
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=colors, process=False)
    return _write(path, shape, "ply", vertex_normal=True)


def write_stl(path: Path, mesh: TexturedMesh) -> list[Path]:
    """Binary .stl: the shape alone."""
    import trimesh

    return _write(path, trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), "stl")


MESH_WRITERS: dict[str, Callable[[Path, TexturedMesh], list[Path]]] = {
    "glb": write_glb,
    "obj": write_obj,
    "stl": write_stl,
    "mesh-ply": write_mesh_ply,
    "gltf": write_gltf,
    "usdz": write_usdz,
}


def write_mesh(name: str, path: Path, mesh: TexturedMesh, placement: Placement) -> list[Path]:
    """The mesh in the coordinates that a file of this format has."""
    return MESH_WRITERS[name](path, placed(mesh, placement.matrix(placement.axes(axes_kind(name)))))


def placed(mesh: TexturedMesh, matrix: Matrix) -> TexturedMesh:
    """The mesh under a (4, 4) similarity; in double precision, since a file may have it far from the origin."""
    if np.array_equal(matrix, np.eye(4)):
        return mesh
    linear = matrix[:3, :3]
    turn = (linear / np.cbrt(np.linalg.det(linear))).T
    tangents = mesh.tangents
    if tangents is not None:
        tangents = np.concatenate([tangents[:, :3] @ turn, tangents[:, 3:]], 1).astype(np.float32)
    return replace(
        mesh,
        vertices=mesh.vertices.astype(np.float64) @ linear.T + matrix[:3, 3],
        normals=(mesh.normals @ turn).astype(np.float32),
        tangents=tangents,
    )
