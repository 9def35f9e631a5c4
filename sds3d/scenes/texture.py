"""The scene that an asset from elsewhere is, mesh or Gaussians."""

from __future__ import annotations

from pathlib import Path

import torch

from sds3d.assets import LoadedMesh, LoadedSplats, load_asset
from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.scenes.texture_config import TextureConfig
from sds3d.scenes.texture_scene import TextureScene
from sds3d.scenes.texture_splats import TextureSplats


def create_texture(
    config: TextureConfig, device: torch.device | str, generator: torch.Generator
) -> TextureScene | TextureSplats:
    """The scene of `config.asset`. UserError when there is none or it is no longer what it was."""
    loaded = load(config)
    if isinstance(loaded, LoadedSplats):
        return TextureSplats(config, loaded, device)
    return TextureScene(config, loaded, device, generator)


def load(config: TextureConfig) -> LoadedMesh | LoadedSplats:
    """The asset that the settings name."""
    config.check()
    if config.asset_digest and digest(Path(config.asset)) != config.asset_digest:
        raise UserError(f"{config.asset} is not what this run started from: start again with sds3d texture or refine")
    return load_asset(config.asset, config.up or None, config.front or None)
