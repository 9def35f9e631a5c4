"""Runs that begin with an asset of the user's: new colours for it, and finer shapes within a distance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sds3d.assets import LoadedMesh, LoadedSplats
from sds3d.assets.load import kind_of
from sds3d.assets.ply_document import read_header
from sds3d.assets.source import open_source
from sds3d.engine.resolve import resolve
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.scenes.texture import load
from sds3d.scenes.texture_config import TextureConfig

RUN_FILES = ("asset.glb", "asset.ply")  # what is taken of a run folder: the first that is there
COLOURED, PLAIN = 0.8, 1.0  # strength for what has colours to keep, and for what has one or none
UNIFORM = 0.02  # spread of colours that still counts as one
TEXTURE = 1024  # texels a side of the texture that is written
FORMATS = {"ply": ("glb", "mesh-ply"), "stl": ("glb", "stl"), "splat-ply": ("ply",)}  # where not the kind alone


def refine_settings(
    asset: Path,
    words: str,
    overrides: Mapping[str, Any],
    preset: str | None = None,
    distance: float = 0.0,
    strength: float | None = None,
) -> tuple[Settings, tuple[str, ...]]:
    """Settings of the run that makes `asset` (a file or a run folder) look like `words`, and what the asset has that is
    not taken over. Geometry moves by at most `distance`; `strength` is by default what the asset's colours ask for."""
    if overrides.get("scene", "texture") != "texture":
        raise UserError(
            "the asset itself is the scene here: leave scene out, or see sds3d generate --set splats.init=FILE"
        )
    path = asset_file(asset)
    up, front = (str(overrides.get(f"texture.{axis}", "")) for axis in ("up", "front"))
    loaded = load(TextureConfig(asset=str(path), up=up, front=front))
    mine = {
        "texture.asset": str(path),
        "texture.distance": distance,
        "strength": strength if strength is not None else usual_strength(loaded),
        "formats": formats_of(path),
        "export.texture": TEXTURE,
    }
    settings = resolve(words, {**mine, **overrides, "scene": "texture"}, preset)
    return settings, loaded.notes


def asset_file(asset: Path) -> Path:
    """The file itself, or the asset in a run folder. UserError where there is none."""
    asset = asset.expanduser()
    if not asset.is_dir():
        return asset.resolve()
    found = [asset / name for name in RUN_FILES if (asset / name).is_file()]
    if not found:
        raise UserError(f"{asset} holds neither {' nor '.join(RUN_FILES)}: finish that run or name a file")
    return found[0].resolve()


def usual_strength(loaded: LoadedMesh | LoadedSplats) -> float:
    """All of the noise for what has no colours that one could want to keep, less for what has."""
    if isinstance(loaded, LoadedSplats):
        colors = loaded.tensors()["colors"].numpy()
    elif loaded.colors is not None:
        colors = loaded.colors[:, :3]
    else:
        middle = np.full((len(loaded.faces), 3), 1 / 3, np.float32)
        colors = loaded.colors_at(np.arange(len(loaded.faces)), middle)[:, :3]
    return PLAIN if float(colors.std(0).max()) < UNIFORM else COLOURED


def formats_of(path: Path) -> tuple[str, ...]:
    """The formats to write for the asset at `path`: that which its content has. Meshes in .ply and .stl, which hold no
    texture, get a .glb as well."""
    source = open_source(path)
    kind = kind_of(source)
    if kind == "gltf" and source.data[:4] == b"glTF":
        return ("glb",)
    if kind == "splat-ply" and read_header(source.data).has("vertex", "packed_position"):
        return ("ply-compressed",)
    return FORMATS.get(kind, (kind,))
