"""A .glb taken apart: JSON, one buffer, pictures, each in a file of its own."""

from __future__ import annotations

import json
import struct
from typing import Any

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
ROLES = {  # where a material refers to a picture: its part of the file name
    "baseColorTexture": "basecolor",
    "metallicRoughnessTexture": "metallicroughness",
    "normalTexture": "normal",
    "occlusionTexture": "occlusion",
    "emissiveTexture": "emissive",
}


def separate(glb: bytes, stem: str) -> dict[str, bytes]:
    """File names and contents that say what a .glb of ours says; the .gltf itself comes last."""
    size = struct.unpack_from("<I", glb, 12)[0]
    root = json.loads(glb[20 : 20 + size])
    binary = glb[28 + size :]
    files: dict[str, bytes] = {}
    roles = picture_roles(root)
    pictures = {}  # buffer view: file name
    for index, image in enumerate(root.get("images", [])):
        view = image.pop("bufferView")
        name = f"{stem}-{roles.get(index, index)}{SUFFIXES[image.pop('mimeType')]}"
        files[name] = _view(root, binary, view)
        image["uri"] = name
        pictures[view] = name
    moved: dict[int, int] = {}
    buffer = bytearray()
    views: list[dict[str, Any]] = []
    for index, view in enumerate(root["bufferViews"]):
        if index in pictures:
            continue
        moved[index] = len(views)
        data = _view(root, binary, index)
        views.append({**view, "byteOffset": len(buffer)})
        buffer += data + bytes(-len(data) % 4)
    for accessor in root["accessors"]:
        accessor["bufferView"] = moved[accessor["bufferView"]]
    root["bufferViews"] = views
    root["buffers"] = [{"uri": f"{stem}.bin", "byteLength": len(buffer)}]
    files[f"{stem}.bin"] = bytes(buffer)
    files[f"{stem}.gltf"] = json.dumps(root, indent=1).encode()
    return files


def picture_roles(root: dict[str, Any]) -> dict[int, str]:
    """image index -> what a material takes it for."""
    roles: dict[int, str] = {}
    for material in root.get("materials", []):
        for key, value in {**material, **material.get("pbrMetallicRoughness", {})}.items():
            if key in ROLES:
                roles.setdefault(root["textures"][value["index"]]["source"], ROLES[key])
    return roles


def _view(root: dict[str, Any], binary: bytes, index: int) -> bytes:
    view = root["bufferViews"][index]
    start = view.get("byteOffset", 0)
    return binary[start : start + view["byteLength"]]
