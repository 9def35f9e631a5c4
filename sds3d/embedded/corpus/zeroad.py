"""0 A.D. actors: an XML tree of groups and variants picks meshes, textures, colours and props on attachment points."""

from __future__ import annotations

import random
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sds3d.embedded.corpus.archive import Archive
from sds3d.embedded.corpus.pmd import Pmd, load_pmd
from sds3d.embedded.corpus.textures import decode_image, to_texture
from sds3d.render.mesh import Material, Soup, concatenate

RGB = tuple[float, float, float]
TEAM: dict[str, RGB] = {
    "blue": (0.12, 0.25, 0.75),
    "red": (0.75, 0.10, 0.10),
    "green": (0.20, 0.55, 0.15),
    "yellow": (0.90, 0.80, 0.15),
    "purple": (0.50, 0.20, 0.60),
    "orange": (0.90, 0.50, 0.10),
    "white": (0.90, 0.90, 0.90),
}
HIDDEN = ("particle", "decal", "blood", "shadow", "smoke", "fire")
BARE = (0.6, 0.55, 0.5, 1.0)  # a mesh without a texture
MIRROR = np.array([-1, 1, 1], np.float32)  # their frame is left-handed
DEEPEST = 3  # props on props


@dataclass
class Choice:
    """What one actor resolves to once a variant of each group is drawn."""

    mesh: str | None = None
    texture: str | None = None
    colour: RGB | None = None
    props: dict[str | None, list[str]] = field(default_factory=dict)
    material: str = ""


class Actors:
    """Builds soups from the game's `art` tree."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.pmd = lru_cache(256)(self._pmd)
        self.texture = lru_cache(64)(self._texture)

    def names(self) -> list[str]:
        prefix, suffix = "art/actors/", ".xml"
        return [n[len(prefix) :] for n in self.archive.names if n.startswith(prefix) and n.endswith(suffix)]

    def build(self, actor: str, turn: bool) -> Soup:
        """The actor as a soup facing +Z; `turn` for those modelled facing -Z. Variants are drawn from the name."""
        rng = random.Random(actor)
        team = TEAM[rng.choice(sorted(TEAM))]
        parts: list[Soup] = []
        self._collect(actor, rng, team, np.eye(4), 0, parts)
        if not parts:
            raise ValueError("no mesh")
        soup = concatenate(parts)
        axes = MIRROR * (np.array([-1, 1, -1], np.float32) if turn else 1)
        soup.corners, soup.normals = soup.corners * axes, soup.normals * axes
        return soup

    def _collect(
        self, actor: str, rng: random.Random, team: RGB, pose: NDArray[np.float64], depth: int, parts: list[Soup]
    ) -> None:
        choice = self._resolve(actor, rng)
        points: dict[str, NDArray[np.float64]] = {}
        if choice.mesh:
            mesh = self.pmd(choice.mesh)
            points = mesh.points
            parts.append(_place(mesh, pose, self._material(choice, team)))
        if depth >= DEEPEST:
            return
        for point, props in choice.props.items():
            at = _attachment(point, points) if choice.mesh else np.eye(4)
            for prop in props:
                hidden = not prop or any(word in prop for word in HIDDEN)
                if at is None or hidden or f"art/actors/{prop}" not in self.archive:
                    continue
                try:
                    self._collect(prop, rng, team, pose @ at, depth + 1, parts)
                except (KeyError, ValueError, struct.error, ET.ParseError):
                    continue

    def _resolve(self, actor: str, rng: random.Random) -> Choice:
        root = self._xml(f"art/actors/{actor}")
        if root.tag == "qualitylevels":
            best = [child for child in root if child.tag == "actor"][-1]
            inline = best.find("actor")
            root = (
                self._xml(f"art/actors/{best.get('file')}") if best.get("file") else best if inline is None else inline
            )
        choice = Choice(material=(root.findtext("material") or "").strip())
        for group in root.findall("group"):
            drawn = _draw(group.findall("variant"), rng)
            if drawn is not None:
                before, choice.props = choice.props, {}
                self._apply(drawn, choice, 0)
                choice.props = {**before, **choice.props}
        return choice

    def _apply(self, variant: ET.Element, choice: Choice, depth: int) -> None:
        base = variant.get("file")
        if base and depth < 5 and f"art/variants/{base}" in self.archive:
            self._apply(self._xml(f"art/variants/{base}"), choice, depth + 1)
        for child in variant:
            text = (child.text or "").strip()
            if child.tag == "mesh" and text:
                choice.mesh = text
            elif child.tag == "textures":
                choice.texture = next((t.get("file") for t in child if t.get("name") == "baseTex"), choice.texture)
            elif child.tag == "texture" and text:
                choice.texture = text
            elif child.tag == "color" and text:
                r, g, b = (float(x) / 255 for x in text.split()[:3])
                choice.colour = (r, g, b)
            elif child.tag == "props":
                for prop in child:
                    choice.props.setdefault(prop.get("attachpoint"), []).append(prop.get("actor") or "")

    def _xml(self, path: str) -> ET.Element:
        return ET.fromstring(self.archive.read(path))

    def _pmd(self, path: str) -> Pmd:
        stem = path.rsplit(".", 1)[0]
        for candidate in (f"{path}.cached.pmd", f"{stem}.pmd", f"{stem}.dae.cached.pmd", f"{stem}.pmd.cached.pmd"):
            if f"art/meshes/{candidate}" in self.archive:
                return load_pmd(self.archive.read(f"art/meshes/{candidate}"))
        raise KeyError(path)

    def _material(self, choice: Choice, team: RGB) -> Material:
        """Texture alpha means player colour, object colour, cut-out or nothing, as the shader's name says."""
        kind = choice.material
        tint = team if "player" in kind else None
        if "objectcolor" in kind and tint is None:
            tint = choice.colour or (0.5, 0.4, 0.3)
        cutout = "alpha" in kind or ("trans" in kind and "no_trans" not in kind and "player" not in kind)
        texture = self.texture(choice.texture, tint, cutout) if choice.texture else None
        return Material(BARE) if texture is None else Material((1.0, 1.0, 1.0, 1.0), texture)

    def _texture(self, name: str, tint: RGB | None, cutout: bool) -> NDArray[np.uint8] | None:
        stem = name.rsplit(".", 1)[0]
        for candidate in (
            f"{name}.cached.dds",
            name,
            f"{stem}.dds.cached.dds",
            f"{stem}.png.cached.dds",
            f"{stem}.dds",
        ):
            path = f"art/textures/skins/{candidate}"
            if path in self.archive:
                image = decode_image(self.archive.read(path))
                if tint is None:
                    return to_texture(image if cutout else image.convert("RGB").convert("RGBA"))
                return to_texture(_tinted(image, tint))
        return None


def _draw(variants: list[ET.Element], rng: random.Random) -> ET.Element | None:
    """One variant by frequency; where none has a frequency the idle one, else the first."""
    usable = [v for v in variants if float(v.get("frequency") or 0) > 0]
    if usable:
        return rng.choices(usable, [max(float(v.get("frequency") or 1), 0.01) for v in usable])[0]
    idle = (v for v in variants if (v.get("name") or "").lower() in ("idle", "base", ""))
    return next(idle, variants[0] if variants else None)


def _attachment(point: str | None, points: dict[str, NDArray[np.float64]]) -> NDArray[np.float64] | None:
    if point in (None, "root"):
        return np.eye(4)
    return next((points[k] for k in (point, f"prop-{point}", f"prop_{point}") if k in points), None)


def _place(mesh: Pmd, pose: NDArray[np.float64], material: Material) -> Soup:
    positions = mesh.positions @ pose[:3, :3].T + pose[:3, 3]
    normals = mesh.normals @ pose[:3, :3].T
    owner = np.zeros(len(mesh.faces), np.int32)
    return Soup(positions[mesh.faces], normals[mesh.faces], mesh.uv[mesh.faces], owner, [material])


def _tinted(image: Image.Image, tint: RGB) -> Image.Image:
    """Where alpha is low the tint shows, modulated by brightness; the result is opaque."""
    texels = np.asarray(image).astype(np.float32)
    alpha = texels[..., 3:] / 255
    shade = np.maximum(texels[..., :3].max(-1, keepdims=True) / 255, 0.6)
    rgb = texels[..., :3] * alpha + np.array(tint, np.float32) * 255 * (1 - alpha) * shade
    return Image.fromarray(np.concatenate([rgb, np.full_like(alpha, 255)], -1).astype(np.uint8), "RGBA")
