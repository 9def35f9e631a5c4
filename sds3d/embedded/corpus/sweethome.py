"""Sweet Home 3D's furniture libraries: zip files with a .properties catalogue and OBJ models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sds3d.embedded.corpus.archive import Archive, ZipArchive
from sds3d.embedded.corpus.obj import load_obj
from sds3d.render.mesh import Soup

CATALOGUE = "PluginFurnitureCatalog.properties"


@dataclass(frozen=True)
class Furniture:
    """One line of the catalogue."""

    id: str
    name: str
    category: str
    creator: str
    licence: str
    model: str
    rotation: str | None


def parse_properties(text: str) -> dict[str, str]:
    """Java's .properties: key=value lines with unicode escapes."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if line and line[0] not in "#!" and "=" in line:
            key, value = line.split("=", 1)
            pairs[key.strip()] = value.strip().encode("latin1", "replace").decode("unicode_escape")
    return pairs


def spdx(licence: str) -> str | None:
    """The library's licence line as an SPDX identifier; None if it is not a free one we know."""
    if "Public domain" in licence:
        return "CC0-1.0"
    if "Attribution 3.0 United States" in licence:
        return "CC-BY-3.0-US"
    if "Attribution 3.0" in licence:
        return "CC-BY-3.0"
    return None


def catalogue(archive: Archive) -> list[Furniture]:
    """Every piece of a library whose licence we may use."""
    pairs = parse_properties(archive.read(CATALOGUE).decode("latin1"))
    pieces = []
    for i in range(1, 1 + sum(k.startswith("name#") for k in pairs)):
        licence = spdx(pairs.get(f"license#{i}", pairs.get("license", "")))
        name, model = pairs.get(f"name#{i}"), pairs.get(f"model#{i}")
        if licence and name and model:
            identity = pairs.get(f"id#{i}", model)
            category, creator = pairs.get(f"category#{i}", ""), pairs.get(f"creator#{i}", "")
            rotation = pairs.get(f"modelRotation#{i}")
            pieces.append(Furniture(identity, name, category, creator, licence, model, rotation))
    return pieces


def load(archive: Archive, piece: Furniture) -> Soup:
    """The model, turned so that its front looks along +Z."""
    rotation = None
    if piece.rotation:
        rotation = np.array([float(x) for x in piece.rotation.split()], np.float32).reshape(3, 3)
    if not piece.model.lower().endswith(".zip"):
        return load_obj(archive.read, piece.model, rotation)
    inner = ZipArchive(archive.read(piece.model))
    model = next(n for n in inner.names if n.lower().endswith(".obj"))
    return load_obj(inner.read, model, rotation)
