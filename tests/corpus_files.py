"""Tiny asset files in the formats the corpus reads, made in memory."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
UP = np.array([[0, 0, 1]] * 3, np.float32)
UV = np.array([[0, 0], [1, 0], [0, 1]], np.float32)


class Memory:
    """An archive in a dict."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.names = files, sorted(files)

    def read(self, path: str) -> bytes:
        return self.files[path]

    def __contains__(self, path: str) -> bool:
        return path in self.files


def png(rgba: tuple[int, int, int, int], size: int = 4) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (size, size), rgba).save(buffer, "PNG")
    return buffer.getvalue()


def pmd(points: dict[str, tuple[float, float, float]] | None = None) -> bytes:
    """One triangle, version 3, no bones, attachment points at the given places."""
    body = struct.pack("<I", 3)
    for p, n, uv in zip(TRIANGLE, UP, UV, strict=True):
        body += struct.pack("<8f4B4f", *p, *n, *uv, 255, 255, 255, 255, 0, 0, 0, 0)
    body += struct.pack("<I3H", 1, 0, 1, 2) + struct.pack("<I", 0)
    body += struct.pack("<I", len(points or {}))
    for name, place in (points or {}).items():
        body += struct.pack("<I", len(name)) + name.encode() + struct.pack("<7fB", *place, 0, 0, 0, 1, 255)
    return b"PSMD" + struct.pack("<II", 3, len(body)) + body


def g3d(texture: str, properties: int) -> bytes:
    """One triangle with a diffuse texture; two frames, the second twice as large."""
    head = b"G3D\x04" + struct.pack("<HB", 1, 0)
    mesh = b"mesh".ljust(64, b"\0") + struct.pack("<3I", 2, 3, 3)
    mesh += struct.pack("<3f3f2f", 0.1, 0.2, 0.3, 0, 0, 0, 0, 1) + struct.pack("<2I", properties, 1)
    mesh += texture.encode().ljust(64, b"\0")
    mesh += np.stack([TRIANGLE, TRIANGLE * 2]).tobytes() + np.stack([UP, UP]).tobytes() + UV.tobytes()
    return head + mesh + struct.pack("<3I", 0, 1, 2)


def spm(colours: bool) -> bytes:
    """One triangle with normals and a texture name; vertex colours are (255, 0, 0) on the first vertex, else white."""
    data = b"SP" + bytes([8, 1 | (2 if colours else 0)]) + b"\0" * 24
    data += struct.pack("<H", 1) + b"\x05a.png" + b"\x00"
    data += struct.pack("<HH", 1, 1) + struct.pack("<IIH", 3, 3, 0)
    for i, (p, uv) in enumerate(zip(TRIANGLE, UV, strict=True)):
        data += p.tobytes() + struct.pack("<I", 0)
        if colours:
            data += bytes([0, 255, 0, 0]) if i == 0 else bytes([128])
        data += uv.astype(np.float16).tobytes()
    return data + bytes([0, 1, 2])


def deb(path: Path, files: dict[str, bytes]) -> None:
    """A .deb whose data member holds `files`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    out = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n"), ("data.tar.xz", buffer.getvalue())):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(out)
