"""SuperTuxKart's karts, props and library objects, as far as their files are under free culture licences."""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ET
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sds3d.embedded.corpus import dep5
from sds3d.embedded.corpus.archive import FolderArchive
from sds3d.embedded.corpus.spm import Buffer, load_spm
from sds3d.embedded.corpus.textures import load_texture
from sds3d.render.mesh import Material, Soup, face_normals

ALLOWED = {  # what the package's copyright file says -> SPDX, the freest first
    "CC0": "CC0-1.0",
    "CC0-1.0": "CC0-1.0",
    "public-domain": "public-domain",
    "CC-BY-3.0": "CC-BY-3.0",
    "CC-BY-4.0": "CC-BY-4.0",
    "CC-BY-SA-3.0": "CC-BY-SA-3.0",
    "CC-BY-SA-4.0": "CC-BY-SA-4.0",
}
STRICTNESS = list(dict.fromkeys(ALLOWED.values()))
Placed = list[tuple[str, NDArray[np.float64]]]  # model files with their poses


def spdx(said: str) -> str | None:
    """The licence of what is under `said`; None if we may not use it. Where it says "or", the freest is chosen, where
    it says "and", the strictest binds."""
    choices = [[ALLOWED.get(one) for one in choice.split(" and ")] for choice in said.split(" or ")]
    usable = [max((one for one in choice if one), key=STRICTNESS.index) for choice in choices if all(choice)]
    return min(usable, key=STRICTNESS.index, default=None)


class Karts:
    """The unpacked package."""

    def __init__(self, root: Path) -> None:
        data = next(root.rglob("supertuxkart/data"))
        self.archive = FolderArchive(data)
        self.stanzas = dep5.parse(next(root.rglob("copyright")).read_text("utf-8", "replace"))
        self.shared = {posixpath.basename(n): n for n in self.archive.names if n.startswith("textures/")}
        self.buffers = lru_cache(64)(self._buffers)

    def _buffers(self, path: str) -> list[Buffer]:
        return load_spm(self.archive.read(path))

    def parts(self, key: str) -> Placed:
        """The model files of "models/x", "karts/x" or "library/x"."""
        if key.startswith("models/"):
            return [(f"{key}.spm", np.eye(4))]
        if key.startswith("karts/"):
            return self._kart(key)
        return self._library(key)

    def _kart(self, folder: str) -> Placed:
        root = ET.fromstring(self.archive.read(f"{folder}/kart.xml"))
        placed: Placed = [(f"{folder}/{root.get('model-file')}", np.eye(4))]
        for wheel in root.find("wheels") or ():
            path = f"{folder}/{wheel.get('model')}"
            if path in self.archive:
                placed.append((path, placement((0, 0, 0), (1, 1, 1), _numbers(wheel, "position", "0 0 0"))))
        return placed

    def _library(self, folder: str) -> Placed:
        placed: Placed = []
        for element in ET.fromstring(self.archive.read(f"{folder}/node.xml")).iter():
            model = element.get("model") or ""
            detail = element.get("lod_instance") == "true" or "lod" in model.lower() or "_low" in model
            if model.endswith(".spm") and not detail and f"{folder}/{model}" in self.archive:
                hpr, scale = _numbers(element, "hpr", "0 0 0"), _numbers(element, "scale", "1 1 1")
                placed.append((f"{folder}/{model}", placement(hpr, scale, _numbers(element, "xyz", "0 0 0"))))
        if not placed:
            models = [n for n in self.archive.names if n.startswith(f"{folder}/") and n.endswith(".spm")]
            placed = [(models[0], np.eye(4))]
        return placed

    def texture_path(self, name: str, folder: str) -> str | None:
        """Next to the model, one folder up, or among the shared textures."""
        for candidate in (f"{folder}/{name}", f"{posixpath.dirname(folder)}/{name}"):
            if name and candidate in self.archive:
                return posixpath.normpath(candidate)
        return self.shared.get(name)

    def credit(self, key: str) -> tuple[str, str] | None:
        """(SPDX licence, authors) of everything the model is made of; None if any file is under another licence."""
        try:
            parts = self.parts(key)
        except (KeyError, IndexError):
            return None
        files = {path for path, _ in parts}
        for path, _ in parts:
            textures = (self.texture_path(b.texture, posixpath.dirname(path)) for b in self.buffers(path))
            files |= {t for t in textures if t}
        stanzas = [s for f in sorted(files) if (s := dep5.stanza_of(self.stanzas, f"data/{f}"))]
        licences = [licence for s in stanzas if (licence := spdx(s.licence))]
        if len(licences) < len(files):
            return None
        authors = dict.fromkeys(h for s in stanzas for h in s.holders)
        return max(licences, key=STRICTNESS.index), "; ".join(authors)

    def load(self, key: str) -> Soup:
        """One soup facing +Z. Untextured helper boxes are left out where other parts have textures."""
        pieces = []
        for path, pose in self.parts(key):
            for buffer in self.buffers(path):
                texture = self.texture_path(buffer.texture, posixpath.dirname(path))
                pieces.append((buffer, pose, texture))
        if any(texture for _, _, texture in pieces):
            pieces = [p for p in pieces if p[2]]
        corners, uv, owner = [], [], []
        materials: list[Material] = []
        for buffer, pose, texture in pieces:
            positions = buffer.positions @ pose[:3, :3].T + pose[:3, 3]
            corners.append(positions[buffer.faces])
            uv.append(np.stack([buffer.uv[:, 0], 1 - buffer.uv[:, 1]], 1)[buffer.faces])
            owner.append(np.full(len(buffer.faces), len(materials), np.int32))
            materials.append(self._material(buffer, texture))
        triangles = np.concatenate(corners).astype(np.float32) * np.array([-1, 1, 1], np.float32)
        return Soup(triangles, face_normals(triangles), np.concatenate(uv), np.concatenate(owner), materials)

    def _material(self, buffer: Buffer, texture: str | None) -> Material:
        """Vertex colours tint untextured parts; on textured ones they are baked shadows, and kept light."""
        if texture is None:
            colour = buffer.colour if (buffer.colour < 1).any() else np.full(3, 0.7)
            return Material((float(colour[0]), float(colour[1]), float(colour[2]), 1.0))
        colour = np.maximum(buffer.colour, 0.85)
        rgba = (float(colour[0]), float(colour[1]), float(colour[2]), 1.0)
        return Material(rgba, load_texture(self.archive.read(texture)))


def _numbers(element: ET.Element, key: str, default: str) -> tuple[float, ...]:
    return tuple(float(x) for x in (element.get(key) or default).split())


def placement(hpr: tuple[float, ...], scale: tuple[float, ...], xyz: tuple[float, ...]) -> NDArray[np.float64]:
    """(4, 4) of rotations about x, then y, then z in degrees, a scale and a translation."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(hpr)), np.sin(np.radians(hpr))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = (about_z @ about_y @ about_x) * np.array(scale)
    matrix[:3, 3] = xyz
    return matrix
