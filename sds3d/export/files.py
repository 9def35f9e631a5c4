"""Asset files. Every write is atomic: the old file or the new one, never a part of one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sds3d.export.mesh import TexturedMesh
from sds3d.export.splats import Splats
from sds3d.export.texture import look_up
from sds3d.files import write_bytes

if TYPE_CHECKING:
    import trimesh

SH0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt pi)
FAINT = 1 / 255  # Gaussians with less opacity than this are not written


def _trimesh(mesh: TexturedMesh) -> trimesh.Trimesh:
    import trimesh
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(
        name="asset", baseColorTexture=Image.fromarray(mesh.texture), metallicFactor=0.0, roughnessFactor=0.9
    )
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_normals=mesh.normals, visual=visual, process=False)


def _write(path: Path, shape: trimesh.Trimesh, kind: str, **options: Any) -> list[Path]:
    data = shape.export(file_type=kind, **options)
    assert isinstance(data, bytes)
    return [write_bytes(path, data)]


def write_glb(path: Path, mesh: TexturedMesh) -> list[Path]:
    """One self-contained binary glTF 2.0: normals, uv, base-colour texture inside, rough and non-metallic, +Y up."""
    return _write(path, _trimesh(mesh), "glb", include_normals=True)


def write_obj(path: Path, mesh: TexturedMesh) -> list[Path]:
    """Wavefront .obj with its .mtl and .png beside it; the .obj is written last, when what it names is there."""
    from PIL import Image

    library, picture = path.with_suffix(".mtl"), path.with_suffix(".png")
    lines = [f"mtllib {library.name}", "usemtl asset"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices.tolist()]
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


def write_splat_ply(path: Path, splats: Splats) -> list[Path]:
    """The .ply of Kerbl et al. 2023, as the common viewers read it.

    Axes: those viewers take +Y as down, as COLMAP does, so the file holds the world turned by half a turn about Z,
    (x, y, z) -> (-x, -y, z): SuperSplat shows it upright with its front towards +Z.
    """
    from plyfile import PlyData, PlyElement

    splats = _presentable(splats)
    columns = {
        **dict(zip(("x", "y", "z"), (splats.means * torch.tensor([-1.0, -1.0, 1.0])).T, strict=True)),
        **dict.fromkeys(("nx", "ny", "nz"), torch.zeros(len(splats.means))),
        **{f"f_dc_{i}": (c - 0.5) / SH0 for i, c in enumerate(splats.colors.T)},
        "opacity": torch.logit(splats.opacities, eps=1e-5),
        **{f"scale_{i}": s.log() for i, s in enumerate(splats.scales.clamp_min(1e-8).T)},
        **{f"rot_{i}": q for i, q in enumerate(half_turn(splats.quats).T)},
    }
    rows = np.empty(len(splats.means), [(name, "<f4") for name in columns])
    for name, column in columns.items():
        rows[name] = column.numpy()
    stream = io.BytesIO()
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(stream)
    return [write_bytes(path, stream.getvalue())]


def _presentable(splats: Splats) -> Splats:
    """Without the invisible and the broken; unit quaternions."""
    parts = (splats.means, splats.scales, splats.quats, splats.opacities[:, None], splats.colors)
    finite = torch.stack([part.isfinite().all(1) for part in parts]).all(0)
    keep = finite & (splats.opacities >= FAINT)
    quats = torch.nn.functional.normalize(splats.quats[keep], dim=-1)
    return Splats(splats.means[keep], splats.scales[keep], quats, splats.opacities[keep], splats.colors[keep])


def half_turn(quats: Tensor) -> Tensor:
    """(N, 4) wxyz rotations followed by half a turn about Z: the quaternion k times q."""
    w, x, y, z = quats.unbind(-1)
    return torch.stack([-z, -y, x, w], -1)


MESH_WRITERS: dict[str, Callable[[Path, TexturedMesh], list[Path]]] = {
    "glb": write_glb,
    "obj": write_obj,
    "stl": write_stl,
    "mesh-ply": write_mesh_ply,
}
