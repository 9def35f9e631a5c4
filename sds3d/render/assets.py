"""Finished objects to look at: meshes from any file that trimesh reads, Gaussians from a .ply, an asset of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.render.mesh import Material, Soup, concatenate, render_soup
from sds3d.render.splats import render_splats

SH0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt pi)
FITS = (0.5, 1.05)  # an object whose farthest point lies here is in the unit ball already
RUN_FILES = ("asset.glb", "asset.ply")  # what a run folder holds, the first is taken
Look = Callable[[Cameras, int], Tensor]  # cameras, size -> (B, 4, size, size) straight sRGB and alpha in [0, 1]


def load_asset(path: Path) -> Look:
    """The object in a mesh file, in a .ply of Gaussians or in a run folder, as a function that draws it.

    It is put into the unit ball where it is not there already. Meshes are lit as the embedded prior's corpus is on
    average; Gaussians are drawn as they are. Errors: UserError for a file that is missing, unreadable or empty.
    """
    path = path.expanduser()
    if path.is_dir():
        found = [path / name for name in RUN_FILES if (path / name).is_file()]
        if not found:
            raise UserError(f"{path} holds neither asset.glb nor asset.ply: finish the run or name a file")
        path = found[0]
    if not path.is_file():
        raise UserError(f"there is no file {path}: name a mesh, a .ply of Gaussians or a run folder")
    if path.suffix.lower() == ".ply" and (splats := _gaussians(path)) is not None:
        return splat_look(splats)
    return soup_look(load_soup(path))


def soup_look(soup: Soup) -> Look:
    """Views of a triangle soup under the rasteriser's default light."""

    def look(cameras: Cameras, size: int) -> Tensor:
        drawn, _ = render_soup(soup, cameras, size)
        return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255

    return look


def splat_look(splats: dict[str, Tensor]) -> Look:
    """Views of Gaussians given by the arguments of `render_splats` of these names."""

    @torch.no_grad()
    def look(cameras: Cameras, size: int) -> Tensor:
        background = torch.zeros(len(cameras), 3)
        frame = render_splats(
            splats["means"],
            splats["quats"],
            splats["scales"],
            splats["opacities"],
            splats["colors"],
            cameras,
            size,
            background,
        )
        return torch.cat([(frame.rgb / frame.alpha.clamp_min(1e-6)).clamp(0, 1), frame.alpha], 1)

    return look


def over(rgba: Tensor, background: Tensor) -> Tensor:
    """(B, 4, H, W) straight colour and alpha over (B, 3) sRGB -> (B, 3, H, W)."""
    alpha = rgba[:, 3:]
    return rgba[:, :3] * alpha + background[:, :, None, None] * (1 - alpha)


def load_soup(path: Path) -> Soup:
    """All triangles of a mesh file with their base colours, in the unit ball."""
    import trimesh

    try:
        scene: Any = trimesh.load(path, process=False)
        parts = scene.dump() if isinstance(scene, trimesh.Scene) else [scene]
    except Exception as error:  # trimesh raises whatever its many readers raise
        raise UserError(f"{path} could not be read as a mesh: {' '.join(str(error).split())[:200]}") from error
    soups = [_soup(part) for part in parts if len(getattr(part, "faces", ()))]
    if not soups:
        raise UserError(f"{path} holds no triangles")
    soup = concatenate(soups)
    centre, radius = enclosing(soup.corners.reshape(-1, 3))
    return replace(soup, corners=(soup.corners - centre) / radius)


def enclosing(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius that put (P, 3) points into the unit ball; the identity where they are there already."""
    if FITS[0] <= np.linalg.norm(points, axis=1).max() <= FITS[1]:
        return np.zeros(3, np.float32), 1.0
    centre = (points.min(0) + points.max(0)) / 2
    return centre, max(float(np.linalg.norm(points - centre, axis=1).max()), 1e-9)


def _soup(mesh: Any) -> Soup:
    faces = np.asarray(mesh.faces)
    materials, uv = _painted(mesh)
    index = np.arange(len(faces)) if len(materials) > 1 else np.zeros(len(faces))
    corners, normals = (np.asarray(part, np.float32)[faces] for part in (mesh.vertices, mesh.vertex_normals))
    uv = np.zeros((len(faces), 3, 2), np.float32) if uv is None else uv
    return Soup(corners, normals, uv, index.astype(np.int32), materials)


def _painted(mesh: Any) -> tuple[list[Material], np.ndarray | None]:
    """Materials, and uv (F, 3, 2) where there is a texture; without one a material per face, of the mean colour."""
    visual = mesh.visual
    if visual.kind == "texture":
        material, factor = visual.material, getattr(visual.material, "baseColorFactor", None)
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None and visual.uv is not None:
            uv = np.asarray(visual.uv, np.float32)[mesh.faces]
            return [Material(_rgba(factor), np.asarray(image.convert("RGBA"), np.uint8))], uv
        return [Material(_rgba(material.main_color if factor is None else factor))], None
    means = np.asarray(visual.vertex_colors)[mesh.faces].mean(1)
    rows = means[:1] if np.ptp(means, axis=0).max() < 1 else means
    return [Material(_rgba(row)) for row in rows], None


def _rgba(color: Any) -> tuple[float, float, float, float]:
    """Four bytes to [0, 1]; white for None."""
    r, g, b, a = (1.0, 1.0, 1.0, 1.0) if color is None else (float(v) / 255 for v in color)
    return r, g, b, a


def _gaussians(path: Path) -> dict[str, Tensor] | None:
    """The Gaussians that `export.files.write_splat_ply` and 3DGS write, turned upright; None for another .ply."""
    from plyfile import PlyData, PlyParseError

    try:
        vertex = PlyData.read(path)["vertex"]
    except (PlyParseError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a readable .ply: {' '.join(str(error).split())[:200]}") from error
    if "f_dc_0" not in {p.name for p in vertex.properties}:
        return None

    def columns(*names: str) -> Tensor:
        return torch.tensor(np.stack([np.asarray(vertex[n], np.float32) for n in names], -1))

    w, x, y, z = columns("rot_0", "rot_1", "rot_2", "rot_3").unbind(-1)
    means = columns("x", "y", "z") * torch.tensor([-1.0, -1.0, 1.0])
    centre, radius = enclosing(means.numpy())
    return {
        "means": (means - torch.as_tensor(centre)) / radius,
        "quats": torch.stack([z, y, -x, -w], -1),  # half a turn about Z, backwards
        "scales": columns("scale_0", "scale_1", "scale_2").exp() / radius,
        "opacities": columns("opacity")[:, 0].sigmoid(),
        "colors": (columns("f_dc_0", "f_dc_1", "f_dc_2") * SH0 + 0.5).clamp(0, 1),
    }
