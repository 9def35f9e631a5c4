"""A contact sheet: a scene from all around."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from sds3d.camera import Cameras, fit_distance, view_name
from sds3d.files import write_bytes
from sds3d.scenes.base import Scene
from sds3d.view.pictures import channel, frames, tile

CHANNELS = ("rgb", "normal")


def contact_sheet(
    scene: Scene,
    path: Path,
    size: int = 128,
    views: int = 8,
    elevations: Sequence[float] = (10.0, 40.0),
    channels: Sequence[str] = CHANNELS,
    fov: float = 40.0,
) -> Path:
    """Write a .png with a row for every elevation and channel ("rgb", "normal", "depth", "alpha"), `views` azimuths
    across, over white. Channels other than rgb are shown for the first elevation only; depth stands in for normals
    where the scene has none."""
    azimuths = torch.arange(views) * (360.0 / views)
    images, captions = [], []
    for elevation in elevations:
        fovs = torch.full((views,), fov)
        cameras = Cameras(azimuths, torch.full((views,), float(elevation)), fovs, fit_distance(fovs))
        seen = frames(scene, cameras, size)
        for name in channels if elevation == elevations[0] else [c for c in channels if c == "rgb"]:
            shown = "depth" if name == "normal" and seen[0].normal is None else name
            images += [channel(frame, shown)[0] for frame in seen]
            captions += [_caption(float(a), float(elevation), shown) for a in azimuths]
    return write_png(path, tile(images, captions, columns=views))


def _caption(azimuth: float, elevation: float, name: str) -> str:
    kind = f"{azimuth:.0f}°, up {elevation:.0f}°" if name == "rgb" else name
    return f"{view_name(azimuth, elevation)} {kind}"


def write_png(path: Path, image: Image.Image) -> Path:
    """Atomic."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    return write_bytes(path, stream.getvalue())
