"""Base colours of glTF materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gltf_document import Document, whole
from sds3d.assets.limits import MAX_MATERIALS, Broken, at_most
from sds3d.assets.mesh import BOTH_SIDES, METAL, OTHER_MAPS, WHITE, Bytes, Doubles, Paint, encoded
from sds3d.assets.pictures import open_picture

CLAMPED, MIRRORED = 33071, 33648  # wrap modes of a sampler; any other repeats
MAPS = ("normalTexture", "occlusionTexture", "emissiveTexture")


@dataclass(frozen=True)
class Coordinates:
    """Which texture coordinates a material takes, and what it does to them."""

    name: str  # attribute
    wraps: tuple[Any, Any]
    matrix: Doubles  # (2, 3) of KHR_texture_transform
    margin: tuple[float, float]  # half a texel, so that what is clamped does not see the other side

    def apply(self, stored: NDArray[Any]) -> Doubles:
        """(V, 2) with v upwards, of coordinates as glTF has them (v downwards)."""
        uv = stored.astype(np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        for axis, mode in enumerate(self.wraps):
            if mode == CLAMPED:
                uv[:, axis] = uv[:, axis].clip(self.margin[axis], 1 - self.margin[axis])
            elif mode == MIRRORED:  # the texture is twice as long there
                uv[:, axis] /= 2
        return uv * [1, -1] + [0, 1]


class Paints:
    """The materials of a document, each read once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._known: dict[int, tuple[Paint, Coordinates | None]] = {}
        self._images: dict[int, Bytes] = {}
        self._textures: dict[tuple[object, ...], Bytes] = {}

    def of(self, index: Any) -> tuple[Paint, Coordinates | None]:
        """The paint of a material; with a texture, also how that is laid on."""
        if index is None:
            return WHITE, None
        key = whole(index, "material")
        if key not in self._known:
            at_most(len(self._known), MAX_MATERIALS, "materials")
            self._known[key] = self._read(self.document.get("materials", key))
        return self._known[key]

    def _read(self, material: dict[str, Any]) -> tuple[Paint, Coordinates | None]:
        rough = material.get("pbrMetallicRoughness", {})
        glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        factor = rough.get("baseColorFactor", (1, 1, 1, 1)) if glossy is None else glossy.get("diffuseFactor", (1,) * 4)
        info = rough.get("baseColorTexture") if glossy is None else glossy.get("diffuseTexture")
        if "metallicRoughnessTexture" in rough or any(name in material for name in MAPS):
            self.document.source.note(OTHER_MAPS)
        if glossy is None and rough.get("metallicFactor", 0) != 0:  # left out it means metal, but is seldom meant
            self.document.source.note(METAL)
        if material.get("doubleSided"):
            self.document.source.note(BOTH_SIDES)
        linear = np.array(factor, np.float64).clip(0, 1)
        if linear.shape != (4,) or not np.isfinite(linear).all():
            raise Broken("has a base colour that is not four numbers")
        opaque = material.get("alphaMode", "OPAQUE") == "OPAQUE"
        red, green, blue = encoded(linear[:3]).tolist()
        rgba = (red, green, blue, 1.0 if opaque else float(linear[3]))
        if info is None:
            return Paint(rgba), None
        coordinates, texture = self._texture(info, material, opaque)
        return Paint(rgba, texture), coordinates

    def _texture(self, info: dict[str, Any], material: dict[str, Any], opaque: bool) -> tuple[Coordinates, Bytes]:
        record = self.document.get("textures", info.get("index"))
        webp = record.get("extensions", {}).get("EXT_texture_webp", {})
        image = whole(webp.get("source", record.get("source")), "texture's image")
        sampler = self.document.get("samplers", record["sampler"]) if "sampler" in record else {}
        wraps = (sampler.get("wrapS"), sampler.get("wrapT"))
        cutoff = material.get("alphaCutoff", 0.5) if material.get("alphaMode") == "MASK" else None
        key = (image, *(mode == MIRRORED for mode in wraps), opaque, cutoff)
        if key not in self._textures:
            plain = self._image(image)
            made = with_alpha(unfolded(plain, wraps), opaque, cutoff)
            if made is not plain:
                self.document.source.take_pixels(made.shape[0] * made.shape[1])
            self._textures[key] = made
        return coordinates_of(info, wraps, self._textures[key]), self._textures[key]

    def _image(self, index: int) -> Bytes:
        if index not in self._images:
            record = self.document.get("images", index)
            if "bufferView" in record:
                data = bytes(self.document.view(record["bufferView"])[0])
            else:
                data = self.document.resource(record.get("uri"))
            self._images[index] = open_picture(self.document.source, data)
        return self._images[index]


def coordinates_of(info: dict[str, Any], wraps: tuple[Any, Any], texture: Bytes) -> Coordinates:
    """`info` is a material's reference to a texture; its transform is applied as offset @ rotation @ scale."""
    transform = info.get("extensions", {}).get("KHR_texture_transform", {})
    number = whole(transform.get("texCoord", info.get("texCoord", 0)), "texCoord")
    angle = float(transform.get("rotation", 0))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]]) * np.array(transform.get("scale", (1, 1)), np.float64)
    offset = np.array(transform.get("offset", (0, 0)), np.float64).reshape(2, 1)
    margin = (0.5 / texture.shape[1], 0.5 / texture.shape[0])
    return Coordinates(f"TEXCOORD_{number}", wraps, np.concatenate([turn, offset], 1), margin)


def unfolded(image: Bytes, wraps: tuple[Any, Any]) -> Bytes:
    """The image with its mirror beside it along the axes that mirror, so that repeating it is right."""
    if wraps[0] == MIRRORED:
        image = np.concatenate([image, image[:, ::-1]], 1)
    if wraps[1] == MIRRORED:
        image = np.concatenate([image, image[::-1]], 0)
    return image


def with_alpha(image: Bytes, opaque: bool, cutoff: float | None) -> Bytes:
    """The image with the alpha that its material's alphaMode makes of it."""
    if (cutoff is None and not opaque) or image[..., 3].min() == 255:
        return image
    alpha = np.full(image.shape[:2], 255, np.uint8) if opaque else (image[..., 3] >= float(cutoff or 0) * 255) * 255
    return np.concatenate([image[..., :3], alpha[..., None].astype(np.uint8)], -1)
