"""Image files to (H, W, 4) uint8 textures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LIMIT = 256  # the corpus draws at 64 pixels: finer texels would only alias


def decode_image(data: bytes) -> Image.Image:
    """Any format Pillow reads, DDS included, as RGBA."""
    return Image.open(io.BytesIO(data)).convert("RGBA")


def to_texture(image: Image.Image, limit: int = LIMIT) -> NDArray[np.uint8]:
    """At most `limit` texels a side; reduced in premultiplied colour, so hidden texels do not bleed into edges."""
    longest = max(image.size)
    if longest > limit:
        size = (max(1, image.width * limit // longest), max(1, image.height * limit // longest))
        image = image.convert("RGBa").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).convert("RGBA")
    return np.asarray(image, np.uint8)


def load_texture(data: bytes, limit: int = LIMIT) -> NDArray[np.uint8]:
    return to_texture(decode_image(data), limit)
