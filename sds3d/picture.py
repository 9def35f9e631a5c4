"""Picture files: opened only when their header says that they are small enough; upright, over white."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sds3d.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "GIF")  # no reader that calls a program or follows a reference
MAX_PIXELS = 8192 * 8192  # of one picture
FLAT = 8  # of 256 levels: what compression makes of one colour


def read_picture(path: Path) -> Image.Image:
    """The picture in `path` as RGB, turned as a photograph's orientation tag says, over white where it is transparent.

    Raises UserError for what is missing, too large or no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, of large pictures
            with Image.open(path, formats=KINDS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise UserError(f"the picture {path} has more than {MAX_PIXELS:,} pixels: make it smaller")
                picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"cannot read the picture {path}: {_reason(path, error)}") from None
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB")


def read_object(path: Path) -> Image.Image:
    """`read_picture`, for one to be cut `square`. Raises UserError where that is of one colour all over, too."""
    picture = read_picture(path)
    if np.ptp(np.asarray(square(picture, 64)), axis=(0, 1)).max() < FLAT:
        raise UserError(f"the picture {path} has no object in its middle square: it is of one colour there")
    return picture


def square(picture: Image.Image, size: int) -> Image.Image:
    """Its middle square at size x size."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    return cut if side == size else cut.resize((size, size), Image.Resampling.LANCZOS)


def pixels(picture: Image.Image) -> Tensor:
    """(3, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"give a {', '.join(KINDS[:-1])} or {KINDS[-1]} file"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MAX_PIXELS:,} pixels, make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:100] or type(error).__name__
