"""A mesh from any file as a binary glTF that the viewer can draw."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.gltf_document import parse, split
from sds3d.assets.limits import Broken
from sds3d.assets.mesh import LoadedMesh, decoded

SHOWN = {"KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_unlit", "EXT_texture_webp"}  # three.js too
FLOAT, UINT, USHORT = 5126, 5125, 5123
SOLID = 0.75  # share of texels that are wholly there or wholly not, from which the rest is not worth blending


def self_contained(data: bytes) -> bool:
    """Whether the viewer can take a file as it is, with all of its materials: a .glb whose JSON comes first, that names
    no other file and requires no extension that is not SHOWN. What loads may still be odd where the loader did not have
    to look; such a file is not taken as it is."""
    if data[:4] != b"glTF" or data[16:20] != b"JSON":
        return False
    try:
        root = parse(split(data)[0])
    except Broken:
        return False
    lists = [root.get(name, []) for name in ("buffers", "images", "extensionsRequired")]
    if not all(isinstance(values, list) for values in lists):
        return False
    buffers, images, required = lists
    parts = [part if isinstance(part, dict) else {"uri": None} for part in buffers + images]
    held = all(str(part.get("uri", "data:")).startswith("data:") for part in parts)
    return held and {str(name) for name in required} <= SHOWN


def to_glb(mesh: LoadedMesh, texels: int = 8192) -> bytes:
    """Positions, normals and base colour (texture of at most `texels` a side, vertex colours or one for all), seen
    from both sides."""
    blob = Blob()
    attributes = {"POSITION": blob.accessor(mesh.vertices, FLOAT), "NORMAL": blob.accessor(mesh.normals, FLOAT)}
    material: dict[str, Any] = {"doubleSided": True}
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    root: dict[str, Any] = {"asset": {"version": "2.0", "generator": "sds3d"}}
    if mesh.texture is not None and mesh.uv is not None:
        attributes["TEXCOORD_0"] = blob.accessor(mesh.uv * [1, -1] + [0, 1], FLOAT)
        root["images"] = [{"bufferView": blob.view(_png(mesh.texture, texels)), "mimeType": "image/png"}]
        root["textures"] = [{"source": 0}]
        surface["baseColorTexture"] = {"index": 0}
        alpha = mesh.texture[..., 3]
    else:
        assert mesh.colors is not None
        linear = np.concatenate([decoded(mesh.colors[:, :3].astype(np.float64)), mesh.colors[:, 3:]], 1).clip(0, 1)
        if (mesh.colors == mesh.colors[0]).all():
            surface["baseColorFactor"] = linear[0].tolist()
        else:
            attributes["COLOR_0"] = blob.accessor((linear * 65535).round(), USHORT)
        alpha = (mesh.colors[:, 3] * 255).round().astype(np.uint8)
    if alpha.min(initial=255) < 255:
        material["alphaMode"] = "MASK" if np.isin(alpha, (0, 255)).mean() > SOLID else "BLEND"
    indices = blob.accessor(mesh.faces.reshape(-1), UINT)
    root |= {
        "materials": [{**material, "pbrMetallicRoughness": surface}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "accessors": blob.accessors,
        "bufferViews": blob.views,
        "buffers": [{"byteLength": len(blob.data)}],
    }
    text = json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(blob.data)
    head = struct.pack("<4s2I", b"glTF", 2, length) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(blob.data), b"BIN\0") + bytes(blob.data)


class Blob:
    """The binary part of a glTF while it grows."""

    DTYPES = {FLOAT: "<f4", UINT: "<u4", USHORT: "<u2"}
    KINDS = {0: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        self.data += data + bytes(-len(data) % 4)
        return len(self.views) - 1

    def accessor(self, values: NDArray[Any], kind: int) -> int:
        """(N,) or (N, C) numbers."""
        columns = values.shape[1] if values.ndim > 1 else 0
        record = {"componentType": kind, "count": len(values), "type": self.KINDS[columns]}
        if columns == 3:
            record |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        if kind == USHORT:
            record["normalized"] = True
        self.accessors.append(record | {"bufferView": self.view(values.astype(self.DTYPES[kind]).tobytes())})
        return len(self.accessors) - 1


def _png(texture: NDArray[np.uint8], texels: int) -> bytes:
    from PIL import Image

    image = Image.fromarray(texture)
    image.thumbnail((texels, texels), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
