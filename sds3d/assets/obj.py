"""Wavefront .obj with its .mtl: polygons, texture coordinates, normals, vertex colours, Kd, d, map_Kd."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import (
    MAX_LIBRARIES,
    MAX_MATERIALS,
    MAX_VERTICES,
    Broken,
    at_most,
    faces_within,
    vertices_within,
)
from sds3d.assets.mesh import WHITE, Bytes, Doubles, Paint, Part
from sds3d.assets.pictures import open_picture
from sds3d.assets.source import Source
from sds3d.assets.text import numbers

DARK = 0.35  # a Kd below this under a texture is an exporter's zero, not a tint


@dataclass
class Column:
    """Rows of `width` numbers, as text until all are there."""

    width: int
    text: bytearray = field(default_factory=bytearray)
    count: int = 0

    def add(self, words: list[bytes]) -> None:
        """`words` is the row, its key first; what is missing is 0."""
        if len(words) <= self.width:
            words = words + [b"0"] * (self.width + 1 - len(words))
        self.text += b" ".join(words[1 : self.width + 1])
        self.text += b" "
        self.count += 1
        if self.count > MAX_VERTICES:
            vertices_within(self.count)

    def rows(self) -> Doubles:
        return numbers(self.text, self.count * self.width).reshape(-1, self.width)


def read_obj(source: Source) -> list[Part]:
    """One part per material."""
    text = source.data[:]
    faces_within(text.count(b"\nf "))  # before any of them is looked at
    vertices_within(text.count(b"\nv "))
    columns = {b"v": Column(3), b"vt": Column(2), b"vn": Column(3), b"rgb": Column(3)}
    corners, sizes, owners = bytearray(), array("I"), array("I")  # three indices a corner; per face: corners, material
    materials: dict[str, int] = {}
    paints: dict[str, Paint] = {}
    libraries: set[str] = set()
    current, triangles = 0, 0
    for line in source.lines(text):
        words = line.split()
        key = words[0] if words else b""
        if key in (b"v", b"vt", b"vn"):
            columns[key].add(words)
            if key == b"v" and len(words) >= 7:
                columns[b"rgb"].add(words[3:])
        elif key == b"f":
            triangles = faces_within(triangles + max(len(words) - 3, 1))
            corners += face_text(words[1:], [columns[k].count for k in (b"v", b"vt", b"vn")]) + b" "
            sizes.append(len(words) - 1)
            owners.append(current)
        elif key == b"usemtl":
            name = _name(line)
            current = materials.setdefault(name, len(materials) + 1)
            at_most(current, MAX_MATERIALS, "materials")
        elif key == b"mtllib" and (name := _name(line)) not in libraries:
            libraries.add(name)
            at_most(len(libraries), MAX_LIBRARIES, "material libraries")
            _add_library(source, name, paints)
    if not sizes:
        raise Broken("holds no faces" if columns[b"v"].count else "is no mesh: it has no vertices")
    index = numbers(corners, 3 * sum(sizes)).reshape(-1, 3).astype(np.int64)
    shared = _part(columns, index)
    faces, owner = _fans(shared.faces.ravel(), np.array(sizes, np.int64), np.array(owners, np.int64))
    by_index = {number: paints.get(name, Paint()) for name, number in materials.items()}
    return [_painted(shared, faces[owner == k], by_index.get(int(k), Paint())) for k in np.unique(owner)]


def _name(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip().partition(" ")[2].strip()


def face_text(words: list[bytes], counts: list[int]) -> bytes:
    """The corners of an `f` line as "v vt vn" each, counted from 1, 0 for none."""
    text = b" ".join(words)
    slashes = text.count(b"/")
    if b"-" not in text:
        if slashes == 2 * len(words):
            return text.replace(b"//", b"/0/").replace(b"/", b" ")
        if slashes == len(words):
            return b" 0 ".join(words).replace(b"/", b" ") + b" 0"
        if slashes == 0:
            return b" 0 0 ".join(words) + b" 0 0"
    resolved = []
    for word in words:
        parts = (word.split(b"/") + [b"", b""])[:3]
        values = [int(part) if part else 0 for part in parts]
        resolved += [v if v >= 0 else count + v + 1 for v, count in zip(values, counts, strict=True)]
    return " ".join(map(str, resolved)).encode()


def _part(columns: dict[bytes, Column], index: NDArray[np.int64]) -> Part:
    """All corners (C, 3), equal ones made one vertex; `faces` is (1, C) for the time being."""
    counts = [columns[key].count for key in (b"v", b"vt", b"vn")]
    for i, count in enumerate(counts):
        if index[:, i].min() < (1 if i == 0 else 0) or index[:, i].max() > count:
            raise Broken(f"has a face that names {('vertex', 'vt', 'vn')[i]} {index[:, i].max():,} of {count:,}")
    inverse = index[:, 0]
    for i in (1, 2):
        inverse = np.unique(inverse * (counts[i] + 1) + index[:, i], return_inverse=True)[1]
    first = np.unique(inverse, return_index=True)[1]
    which = index[first]
    part = Part(columns[b"v"].rows()[which[:, 0] - 1], inverse[None])
    if which[:, 1].all():
        part.uv = columns[b"vt"].rows()[which[:, 1] - 1]
    if which[:, 2].all():
        part.normals = columns[b"vn"].rows()[which[:, 2] - 1]
    if columns[b"rgb"].count == counts[0]:
        rgb = columns[b"rgb"].rows()[which[:, 0] - 1]
        part.colors = np.concatenate([rgb / (255 if rgb.max() > 1 else 1), np.ones((len(rgb), 1))], 1)
    return part


def _fans(
    corners: NDArray[np.integer], sizes: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """(F, 3) triangles of polygons that lie end to end in `corners`, and (F,) their owners."""
    starts = np.concatenate([[0], sizes.cumsum()[:-1]])
    per = np.maximum(sizes - 2, 0)
    polygon = np.repeat(np.arange(len(sizes)), per)
    step = np.arange(len(polygon)) - np.repeat(per.cumsum() - per, per)
    first = starts[polygon]
    return corners[np.stack([first, first + step + 1, first + step + 2], 1)], owners[polygon]


def _painted(shared: Part, faces: NDArray[np.integer], paint: Paint) -> Part:
    plain = paint.texture is None and shared.colors is not None
    return Part(shared.vertices, faces, shared.normals, shared.uv, shared.colors, WHITE if plain else paint)


def _add_library(source: Source, name: str, paints: dict[str, Paint]) -> None:
    try:
        paints.update(read_mtl(source, source.beside(plain(name))))
    except FileNotFoundError:
        source.note(f"the colours: {name[:80]} is not beside it")


def plain(name: str) -> str:
    """The file's name alone, where an exporter wrote the place that it had on its author's disk."""
    path = PureWindowsPath(name)  # which knows both sorts of slash
    return path.name if path.root else name


def read_mtl(source: Source, data: bytes) -> dict[str, Paint]:
    """Paints by name. Kd is taken as sRGB, as most programs write it; a dark one under a texture as white."""
    pictures: dict[str, Bytes | None] = {}
    return {name: _paint(source, said, pictures) for name, said in _materials(source, data)}


def _materials(source: Source, data: bytes) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """Every material's name, and the last of its lines of each kind."""
    name, said, count = "", dict[bytes, bytes](), 0
    for line in source.lines(data):
        words = line.split(None, 1)
        key = words[0].lower() if words else b""
        if key == b"newmtl":
            yield name, said
            count = at_most(count + 1, MAX_MATERIALS, "materials")
            name, said = _name(line), {}
        elif key in (b"kd", b"d", b"map_kd"):
            said[key] = line
    yield name, said


def _paint(source: Source, said: dict[bytes, bytes], pictures: dict[str, Bytes | None]) -> Paint:
    kd, opacity, texture = [0.8, 0.8, 0.8], 1.0, None
    if len(words := said.get(b"kd", b"").split()) >= 4:
        kd = numbers(b" ".join(words[1:4]), 3).clip(0, 1).tolist()
    if b"d" in said:
        opacity = float(numbers(said[b"d"].split()[-1], 1).clip(0, 1)[0])
    if b"map_kd" in said:
        file = picture_name(_name(said[b"map_kd"]))
        if file not in pictures:
            pictures[file] = _picture(source, file)
        texture = pictures[file]
    return Paint((*([1.0] * 3 if texture is not None and max(kd) < DARK else kd), opacity), texture)


def picture_name(text: str) -> str:
    """The file at the end of a map_Kd line, without the options (-s 1 1 1, -clamp on) before it."""
    words = text.split()
    while words and words[0].startswith("-"):
        words.pop(0)
        while words and (words[0] in ("on", "off") or words[0].replace(".", "").replace("-", "").isdigit()):
            words.pop(0)
    return text[text.find(words[0]) :] if words and not text.startswith(words[0]) else text


def _picture(source: Source, name: str) -> Bytes | None:
    try:
        return open_picture(source, source.beside(plain(name)))
    except FileNotFoundError:
        source.note(f"the texture {name[:80]}: it is not beside it")
        return None
