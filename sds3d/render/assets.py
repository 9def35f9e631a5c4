"""Finished objects to look at: any mesh or file of Gaussians that `sds3d.assets` reads, an asset of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sds3d import assets
from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.render.mesh import Soup, render_soup
from sds3d.render.splats import render_splats

RUN_FILES = ("asset.glb", "asset.ply")  # what a run folder holds, the first is taken
Look = Callable[[Cameras, int], Tensor]  # cameras, size -> (B, 4, size, size) straight sRGB and alpha in [0, 1]


def load_asset(path: Path) -> Look:
    """The object in a mesh file, in a file of Gaussians or in a run folder, as a function that draws it.

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
        raise UserError(f"there is no file {path}: name a mesh, a file of Gaussians or a run folder")
    asset = assets.load_asset(path)
    return splat_look(asset.tensors()) if isinstance(asset, assets.LoadedSplats) else soup_look(asset.soup)


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
