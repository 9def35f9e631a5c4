"""The picture that image-prompted guidance looks at: a file of the user's, or one that the prior draws."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from torch import Tensor

from sds3d.engine.sample import imagine
from sds3d.files import write_bytes
from sds3d.picture import pixels, read_object, read_picture, square
from sds3d.priors.base import Prior

NAME = "reference.png"


def reference_image(prior: Prior, prompt: str, image: str, seed: int, folder: Path | None) -> Tensor:
    """(1, 3, S, S) sRGB in [0, 1] at the prior's size: what is in `folder`, else the file `image`, else, where `image`
    is empty, the prior's own front view of `prompt`. It is kept in `folder` (None: nowhere) as reference.png.

    Eight bits a channel in every case, so that a resumed run sees the very same picture.
    """
    kept = None if folder is None else folder / NAME
    if kept is not None and kept.is_file():
        picture = square(read_picture(kept), prior.size)
    elif image:
        picture = square(read_object(Path(image)), prior.size)
    else:
        drawn = imagine(prior, prompt, views=1, rows=1, seed=seed)[0, 0]
        picture = Image.fromarray((drawn * 255).round().byte().permute(1, 2, 0).numpy())
    if kept is not None and not kept.is_file():
        buffer = io.BytesIO()
        picture.save(buffer, "png")
        write_bytes(kept, buffer.getvalue())
    return pixels(picture).to(prior.device)[None]
