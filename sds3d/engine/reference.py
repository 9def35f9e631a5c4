"""The picture that image-prompted guidance looks at: a file of the user's, or one that the prior draws."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sds3d.engine.sample import imagine
from sds3d.errors import UserError
from sds3d.files import write_bytes
from sds3d.priors.base import Prior

NAME = "reference.png"


def reference_image(prior: Prior, prompt: str, image: str, seed: int, folder: Path | None) -> Tensor:
    """(1, 3, S, S) sRGB in [0, 1] at the prior's size: what is in `folder`, else the file `image`, else, where `image`
    is empty, the prior's own front view of `prompt`. It is kept in `folder` (None: nowhere) as reference.png.

    Eight bits a channel in every case, so that a resumed run sees the very same picture.
    """
    kept = None if folder is None else folder / NAME
    if kept is not None and kept.is_file():
        picture = read_square(kept, prior.size)
    elif image:
        picture = read_square(Path(image), prior.size)
    else:
        drawn = imagine(prior, prompt, views=1, rows=1, seed=seed)[0, 0]
        picture = Image.fromarray((drawn * 255).round().byte().permute(1, 2, 0).numpy())
    if kept is not None and not kept.is_file():
        buffer = io.BytesIO()
        picture.save(buffer, "png")
        write_bytes(kept, buffer.getvalue())
    pixels = torch.from_numpy(np.asarray(picture).copy()).to(prior.device)
    return pixels.permute(2, 0, 1)[None].float() / 255


def read_square(path: Path, size: int) -> Image.Image:
    """The middle square of the picture in `path`, over white where it is transparent, at size x size, RGB.

    Raises UserError for what is not a picture of a reasonable size. A photograph's orientation tag is heeded.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} is not a picture that can be read ({' '.join(str(error).split())[:100]})") from None
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = Image.alpha_composite(white, picture).convert("RGB").crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)
