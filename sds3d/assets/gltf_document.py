"""The container of glTF 2.0: JSON, buffers, accessors. Every number is checked before it is believed."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import (
    MAX_BYTES,
    MAX_CHUNKS,
    MAX_JSON_VALUES,
    MAX_NUMBERS,
    Broken,
    at_most,
    vertices_within,
)
from sds3d.assets.source import Data, Source

TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Document:
    """A .glb or .gltf file: its JSON as `root`, and its binary parts on demand."""

    def __init__(self, source: Source) -> None:
        self.source = source
        text, self.binary = split(source.data)
        self.root = parse(text)
        self._buffers: dict[int, bytes] = {}
        self._accessors: dict[int, NDArray[Any]] = {}
        self._numbers = 0

    def get(self, kind: str, index: Any) -> dict[str, Any]:
        """The object `index` of the root's list `kind`."""
        items = self.root.get(kind, [])
        number = whole(index, f"index into {kind}")
        if not isinstance(items, list) or number >= len(items) or not isinstance(items[number], dict):
            raise Broken(f"refers to {kind}[{number}], which is not there")
        return items[number]

    def buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            record = self.get("buffers", index)
            uri, length = record.get("uri"), whole(record.get("byteLength"), "buffer length")
            if uri is None:
                if self.binary is None:
                    raise Broken("has a buffer without data")
                data = self.binary
            else:
                data = self.resource(uri)
            if len(data) < length:
                raise Broken(f"ends early: a buffer has {len(data):,} of its {length:,} bytes")
            self._buffers[index] = data[:length] if len(data) != length else data
        return self._buffers[index]

    def resource(self, uri: Any) -> bytes:
        """What a data: URI holds, or a file beside the asset."""
        if not isinstance(uri, str):
            raise Broken("has an address that is not text")
        if not uri.startswith("data:"):
            try:
                return self.source.beside(uri)
            except FileNotFoundError:
                raise Broken(f"names {uri[:80]!r}, which is not beside it") from None
        head, comma, body = uri.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Broken("has a data: address that is not base64")
        at_most(len(body) * 3 // 4, self.source.bytes_left, "bytes in a data: address", "make it smaller")
        self.source.bytes_left -= len(body) * 3 // 4
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Broken(f"has a data: address that cannot be decoded ({error})") from None

    def view(self, index: Any) -> tuple[memoryview, int]:
        """A buffer view's bytes and its stride (0: none given)."""
        record = self.get("bufferViews", index)
        buffer = self.buffer(whole(record.get("buffer"), "buffer index"))
        start, length = whole(record.get("byteOffset", 0), "offset"), whole(record.get("byteLength"), "length")
        if start + length > len(buffer):
            raise Broken(f"has a buffer view that ends at byte {start + length:,} of {len(buffer):,}")
        return memoryview(buffer)[start : start + length], whole(record.get("byteStride", 0), "stride")

    def accessor(self, index: Any) -> NDArray[Any]:
        """(count, width) numbers; normalised integers as floats. Not to be written to."""
        key = whole(index, "accessor index")
        if key not in self._accessors:
            record = self.get("accessors", key)
            kind, width = TYPES.get(record.get("componentType", 0)), WIDTHS.get(record.get("type", ""))
            if kind is None or width is None:
                raise Broken(f"has accessor {key} of an unknown type")
            count = vertices_within(whole(record.get("count"), "count"))
            self._numbers = at_most(self._numbers + count * width, MAX_NUMBERS, "numbers", "decimate it first")
            values = self._dense(record, np.dtype(kind), width, count)
            if "sparse" in record:
                values = self._sparse(record["sparse"], values)
            if record.get("normalized") and values.dtype.kind in "iu":
                values = np.maximum(values / np.float32(np.iinfo(values.dtype).max), np.float32(-1))
            self._accessors[key] = values
        return self._accessors[key]

    def _dense(self, record: dict[str, Any], kind: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        if "bufferView" not in record:
            return np.zeros((count, width), kind)
        data, stride = self.view(record["bufferView"])
        return strided(data, whole(record.get("byteOffset", 0), "offset"), stride, kind, width, count)

    def _sparse(self, record: dict[str, Any], values: NDArray[Any]) -> NDArray[Any]:
        count = at_most(whole(record.get("count"), "count"), len(values), "sparse values")
        where, what = record["indices"], record["values"]
        kind = np.dtype(TYPES[where["componentType"]])
        data, _ = self.view(where["bufferView"])
        rows = strided(data, whole(where.get("byteOffset", 0), "offset"), 0, kind, 1, count)[:, 0].astype(np.int64)
        data, _ = self.view(what["bufferView"])
        offset = whole(what.get("byteOffset", 0), "offset")
        if count and rows.max() >= len(values):
            raise Broken("has sparse values beyond their end")
        changed = values.copy()
        changed[rows] = strided(data, offset, 0, values.dtype, values.shape[1], count)
        return changed


def strided(data: memoryview, offset: int, stride: int, kind: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
    """(count, width) values of `kind`, one row every `stride` bytes (0: without gaps)."""
    size = kind.itemsize * width
    stride = stride or size
    if stride < size or (count and offset + (count - 1) * stride + size > len(data)):
        raise Broken(f"declares {count:,} values where {len(data):,} bytes are")
    if not count:
        return np.zeros((0, width), kind)
    return np.ndarray((count, width), kind, data, offset, (stride, kind.itemsize))


def split(data: Data) -> tuple[bytes, bytes | None]:
    """JSON text and binary chunk of a .glb; a .gltf is all JSON."""
    if data[:4] != b"glTF":
        return data[:], None
    if len(data) < 20:
        raise Broken("ends early: it is cut off in its header")
    _, version, length = struct.unpack_from("<4sII", data)
    if version != 2:
        raise Broken(f"is glTF {version}: only version 2 is read")
    if length > len(data):
        raise Broken(f"ends early: {len(data):,} of its {length:,} bytes are there")
    chunks: dict[bytes, bytes] = {}
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > length:
            break
        size, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + size > length:
            raise Broken("ends early: a chunk is cut off")
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + (-size % 4)
    else:
        raise Broken(f"has more than {MAX_CHUNKS} chunks: two are usual")
    if b"JSON" not in chunks:
        raise Broken("has no JSON chunk")
    return chunks[b"JSON"], chunks.get(b"BIN\0")


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object, unless its values are too many to be held."""
    at_most(text.count(b",") + text.count(b"[") + text.count(b"{"), MAX_JSON_VALUES, "JSON values")
    try:
        root = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Broken(f"is not readable JSON ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(root, dict) or not isinstance(root.get("asset"), dict):
        raise Broken("is JSON, but not glTF")
    if not str(root["asset"].get("version", "")).startswith("2"):
        raise Broken("is not glTF 2")
    return root


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def whole(value: Any, what: str) -> int:
    """`value` as a whole number from 0 to MAX_BYTES."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value != int(value):
        raise Broken(f"has {str(value)[:40]!r} as its {what}")
    return at_most(int(value), MAX_BYTES, f"as its {what}")
