"""Small files for the tests of assets: glTF documents from Python values, and pictures."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


PLY_KINDS = {"u1": "uchar", "i4": "int", "f4": "float", "f8": "double", "O": "list uchar int"}


def ply(order: str, **tables: Any) -> bytes:
    """A .ply of structured arrays, in which columns of objects hold lists of whole numbers; `order` "<", ">", or "" for
    text."""
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header, body = ["ply", f"format {form} 1.0"], b""
    for name, rows in tables.items():
        kinds = {column: rows.dtype[column] for column in rows.dtype.names}
        header.append(f"element {name} {len(rows)}")
        header += [f"property {PLY_KINDS[kind.str[1:]]} {column}" for column, kind in kinds.items()]
        if order and np.dtype("O") not in kinds.values():
            body += rows.astype(rows.dtype.newbyteorder(order)).tobytes()
            continue
        for row in rows:
            cells: list[Any] = []
            for value in row:
                cells += [np.uint8(len(value)), *value.astype("i4")] if isinstance(value, np.ndarray) else [value]
            words = " ".join(map(str, cells)) + "\n"
            parts = (np.asarray(c).astype(c.dtype.newbyteorder(order)).tobytes() for c in cells)
            body += b"".join(parts) if order else words.encode()
    return "\n".join([*header, "end_header", ""]).encode() + body


def ply_vertices(file: Any) -> np.ndarray:
    """The structured array of a .ply's vertices as trimesh reads it, from a path or an open file."""
    import trimesh

    rows: np.ndarray = trimesh.load(file, file_type="ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    return rows


def data_uri(data: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def png(rows: Any) -> bytes:
    """A PNG of (H, W, 3 or 4) bytes."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(rows, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def checker(*colors: tuple[int, int, int], size: int = 8) -> bytes:
    """Stripes of equal width, left to right."""
    return png(np.repeat(np.array([colors]), size, axis=1).repeat(size * len(colors), axis=0))


class Gltf:
    """A glTF document in the making: arrays become accessors of one buffer."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.binary = bytearray()

    def view(self, data: bytes) -> int:
        self.root["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data + bytes(-len(data) % 4)
        return len(self.root["bufferViews"]) - 1

    def array(self, values: Any, kind: str = "<f4", **extra: Any) -> int:
        rows = np.asarray(values, kind)
        rows = rows.reshape(len(rows), -1)
        code = {"<f4": 5126, "<u4": 5125, "<u2": 5123, "<u1": 5121}[kind]
        shape = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[rows.shape[1]]
        view = self.view(rows.tobytes())
        record = {"bufferView": view, "componentType": code, "type": shape, "count": len(rows), **extra}
        self.root["accessors"].append(record)
        return len(self.root["accessors"]) - 1

    def add(self, kind: str, **record: Any) -> int:
        self.root.setdefault(kind, []).append(record)
        return len(self.root[kind]) - 1

    def mesh(self, positions: Any = TRIANGLE, indices: Any = None, material: int | None = None, **more: int) -> int:
        primitive: dict[str, Any] = {"attributes": {"POSITION": self.array(positions), **more}}
        if indices is not None:
            primitive["indices"] = self.array(np.ravel(indices), "<u4")
        if material is not None:
            primitive["material"] = material
        return self.add("meshes", primitives=[primitive])

    def material(self, picture: bytes | None = None, factor: Any = None, **more: Any) -> int:
        surface: dict[str, Any] = {}
        if picture is not None:
            image = self.add("images", bufferView=self.view(picture), mimeType="image/png")
            surface["baseColorTexture"] = {"index": self.add("textures", source=image, **more)}
        if factor is not None:
            surface["baseColorFactor"] = factor
        return self.add("materials", pbrMetallicRoughness=surface)

    def scene(self, *nodes: int) -> None:
        self.root["scenes"] = [{"nodes": list(nodes)}]

    def text(self, **changes: Any) -> bytes:
        """The .gltf with its buffer inside."""
        buffers = [{"byteLength": len(self.binary), "uri": data_uri(bytes(self.binary))}]
        return json.dumps({"buffers": buffers, **self.root, **changes}).encode()

    def glb(self) -> bytes:
        text = json.dumps({"buffers": [{"byteLength": len(self.binary)}], **self.root}).encode()
        text += b" " * (-len(text) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text
        body += struct.pack("<I4s", len(self.binary), b"BIN\0") + bytes(self.binary)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def save(self, path: Path) -> Path:
        path.write_bytes(self.glb() if path.suffix == ".glb" else self.text())
        return path
