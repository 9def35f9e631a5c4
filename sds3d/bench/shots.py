"""Pictures of results, kept as they are made: a bench that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from sds3d.files import write_bytes
from sds3d.view.pictures import Pixels, to_pixels

NOTE = "sds3d"  # the PNG text chunk that holds what the pictures are of
LARGEST = 128  # pixels a side


@dataclass(frozen=True)
class Shot:
    """The views of one result."""

    views: Pixels  # (V, H, W, 3)
    seconds: float  # that making it took
    failed: str | None = None  # why there is nothing to see

    @property
    def images(self) -> Tensor:
        """(V, 3, H, W) in [0, 1]."""
        return torch.from_numpy(self.views).movedim(-1, 1) / 255


def photograph(images: Tensor, seconds: float, failed: str | None = None) -> Shot:
    """A shot of (V, 3, H, W) in [0, 1], made smaller where it is larger than LARGEST."""
    if images.shape[-1] > LARGEST:
        images = torch.nn.functional.interpolate(images, (LARGEST, LARGEST), mode="area")
    return Shot(to_pixels(images), seconds, failed)


class Album:
    """A folder of shots by key: one PNG strip each, with its facts inside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.png"

    def get(self, key: str) -> Shot | None:
        """The shot, or None when there is none or its file is damaged."""
        try:
            with Image.open(self.path(key)) as picture:
                strip = np.asarray(picture.convert("RGB"))
                facts = json.loads(picture.info[NOTE])
            views = np.stack(np.split(strip, facts["views"], axis=1))
            return Shot(views, float(facts["seconds"]), facts["failed"])
        except (OSError, KeyError, ValueError):
            return None

    def put(self, key: str, shot: Shot, identity: Mapping[str, Any]) -> None:
        """Write it; `identity` is what the key stands for, for people who look into the file."""
        note = PngImagePlugin.PngInfo()
        facts = {"views": len(shot.views), "seconds": shot.seconds, "failed": shot.failed, "identity": dict(identity)}
        note.add_text(NOTE, json.dumps(facts))
        stream = io.BytesIO()
        Image.fromarray(np.concatenate(list(shot.views), axis=1)).save(stream, "PNG", pnginfo=note)
        write_bytes(self.path(key), stream.getvalue())


def key_of(identity: Mapping[str, Any]) -> str:
    """Sixteen hex digits of everything that decides a result."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprint(folder: Path) -> str:
    """Eight hex digits of a model folder's weights: their names, sizes and first mebibytes."""
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size} ".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()
