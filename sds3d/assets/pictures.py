"""Pictures inside assets, opened only when their header says that they are small enough."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import Broken
from sds3d.assets.source import Source
from sds3d.picture import KINDS, MAX_PIXELS

TOO_LARGE = f"has a picture of more than {MAX_PIXELS:,} pixels: make it smaller"


def open_picture(source: Source, data: bytes) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB and straight alpha, first row on top. Raises Broken for what is too large or no picture."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sizes are checked here
            image = Image.open(io.BytesIO(data), formats=KINDS)
        if image.width * image.height > MAX_PIXELS:
            raise Broken(TOO_LARGE)
        source.take_pixels(image.width * image.height)
        return np.asarray(image.convert("RGBA"))
    except Image.DecompressionBombError as error:
        raise Broken(TOO_LARGE) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:120]
        raise Broken(f"holds a picture that cannot be opened ({reason or type(error).__name__})") from error
