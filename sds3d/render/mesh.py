"""A z-buffer rasteriser for textured triangle soups: the corpus is drawn with it, and exports are checked with it.

No GL: numba kernels on the CPU. Pass 1 keeps the nearest triangle of every sample (alpha-tested against a Bayer
screen, so translucency resolves exactly after 4x supersampling); pass 2 shades each sample once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from sds3d.camera import Cameras

Array = NDArray[np.float32]
JIT: dict[str, Any] = dict(cache=True, fastmath=True, error_model="numpy", nogil=True)
BAYER = ((np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16).astype(np.float32)
OPAQUE = 0.98  # alpha above which a surface is not screened
NEAR = 1e-3  # triangles with a corner nearer than this to the camera plane are dropped, not clipped


@dataclass(frozen=True)
class Material:
    """A base colour (sRGB, straight alpha) that multiplies an optional (H, W, 4) uint8 texture."""

    rgba: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1.0)
    texture: NDArray[np.uint8] | None = field(default=None, compare=False)


class Packed(NamedTuple):
    """Materials as flat arrays for the kernels."""

    texels: NDArray[np.uint8]  # all textures, end to end
    start: NDArray[np.int64]  # (M,) first byte, -1 for none
    shape: NDArray[np.int64]  # (M, 2) height, width
    rgba: Array  # (M, 4)
    cutout: NDArray[np.bool_]  # (M,) needs the alpha test


@dataclass
class Soup:
    """F free triangles in the world frame (+Y up, front +Z).

    Texture v grows upwards from the bottom row of the image (OBJ's convention; glTF's v is 1 - v); textures repeat.
    Normals need not be unit or oriented.
    """

    corners: Array  # (F, 3, 3)
    normals: Array  # (F, 3, 3)
    uv: Array  # (F, 3, 2)
    material: NDArray[np.int32]  # (F,)
    materials: list[Material]

    def __post_init__(self) -> None:
        self.corners = np.ascontiguousarray(self.corners, np.float32)
        self.normals = np.ascontiguousarray(self.normals, np.float32)
        self.uv = np.ascontiguousarray(self.uv, np.float32)
        self.material = np.ascontiguousarray(self.material, np.int32)

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def packed(self) -> Packed:
        """Built on first use; make a new Soup rather than changing `materials` afterwards."""
        return pack_materials(self.materials)

    def areas(self) -> Array:
        """(F,) triangle areas."""
        a, b, c = self.corners.transpose(1, 0, 2)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def face_normals(corners: Array) -> Array:
    """(F, 3, 3) corners -> (F, 3, 3) flat unit normals, zero for degenerate triangles."""
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    n = n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    return np.repeat(n[:, None], 3, 1).astype(np.float32)


def concatenate(soups: list[Soup]) -> Soup:
    """One soup of several, materials kept apart."""
    offsets = np.cumsum([0] + [len(s.materials) for s in soups])
    return Soup(
        np.concatenate([s.corners for s in soups]),
        np.concatenate([s.normals for s in soups]),
        np.concatenate([s.uv for s in soups]),
        np.concatenate([s.material + o for s, o in zip(soups, offsets, strict=False)]),
        [m for s in soups for m in s.materials],
    )


def pack_materials(materials: list[Material]) -> Packed:
    """Flatten base colours and textures; a texture shared by several materials is stored once."""
    flat: list[NDArray[np.uint8]] = []
    starts: dict[int, int] = {}
    at = 0
    start, shape, cutout = [], [], []
    for m in materials:
        if m.texture is None:
            start.append(-1)
            shape.append((1, 1))
            cutout.append(m.rgba[3] < OPAQUE)
            continue
        if id(m.texture) not in starts:
            starts[id(m.texture)] = at
            flat.append(np.ascontiguousarray(m.texture, np.uint8).reshape(-1))
            at += flat[-1].size
        start.append(starts[id(m.texture)])
        shape.append((m.texture.shape[0], m.texture.shape[1]))
        cutout.append(bool(m.rgba[3] < OPAQUE or m.texture[..., 3].min() < 250))
    return Packed(
        np.concatenate(flat) if flat else np.zeros(4, np.uint8),
        np.array(start, np.int64),
        np.array(shape, np.int64).reshape(-1, 2),
        np.array([m.rgba for m in materials], np.float32).reshape(-1, 4),
        np.array(cutout, np.bool_),
    )


@nb.njit(**JIT)
def _texel(texels, start, height, width, u, v):
    """Bilinear, repeating, colours weighted by alpha so that hidden texels do not bleed: r, g, b, a in [0, 1]."""
    x = (u - math.floor(u)) * width - np.float32(0.5)
    y = (np.float32(1) - (v - math.floor(v))) * height - np.float32(0.5)
    x0, y0 = int(math.floor(x)), int(math.floor(y))
    fx, fy = x - x0, y - y0
    r = g = b = a = np.float32(0)
    for dy in range(2):
        row = start + ((y0 + dy) % height) * width * 4
        wy = fy if dy else np.float32(1) - fy
        for dx in range(2):
            i = row + ((x0 + dx) % width) * 4
            w = wy * (fx if dx else np.float32(1) - fx) * texels[i + 3]
            r += w * texels[i]
            g += w * texels[i + 1]
            b += w * texels[i + 2]
            a += w
    k = np.float32(1 / 255) / max(a, np.float32(1e-9))
    return r * k, g * k, b * k, a * np.float32(1 / 255)


@nb.njit(**JIT)
def _visible(corners, uv, material, packed, bayer, pose, focal, samples, inverse_depth, hit, weights):
    """Pass 1. pose (3, 4) world to camera; fills inverse_depth (S, S), hit (S, S) triangle or -1 and weights
    (S, S, 2), the perspective-correct barycentrics of its first two corners."""
    texels, start, shape, rgba, cutout = packed
    half = np.float32(0.5 * samples)
    p = np.empty((3, 3), np.float32)  # pixel x, pixel y, 1/z of the three corners
    for t in range(corners.shape[0]):
        ahead = True
        for k in range(3):
            x, y, z = corners[t, k, 0], corners[t, k, 1], corners[t, k, 2]
            depth = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
            if not depth > NEAR:
                ahead = False
                break
            inverse = np.float32(1) / depth
            p[k, 0] = half + focal * inverse * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3])
            p[k, 1] = half + focal * inverse * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3])
            p[k, 2] = inverse
        if not ahead:
            continue
        x0, y0, x1, y1, x2, y2 = p[0, 0], p[0, 1], p[1, 0], p[1, 1], p[2, 0], p[2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not abs(area) > 1e-9:
            continue
        left, right = max(0, math.ceil(min(x0, x1, x2) - 0.5)), min(samples - 1, math.floor(max(x0, x1, x2) - 0.5))
        top, bottom = max(0, math.ceil(min(y0, y1, y2) - 0.5)), min(samples - 1, math.floor(max(y0, y1, y2) - 0.5))
        scale = np.float32(1) / area
        m = material[t]
        step0, step1 = (y1 - y2) * scale, (y2 - y0) * scale
        for y in range(top, bottom + 1):
            py = np.float32(y + 0.5)
            px = np.float32(left + 0.5)
            w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * scale
            w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * scale
            for x in range(left, right + 1):
                b0 = w0 + (x - left) * step0
                b1 = w1 + (x - left) * step1
                b2 = np.float32(1) - b0 - b1
                if b0 < -1e-5 or b1 < -1e-5 or b2 < -1e-5:
                    continue
                inverse = b0 * p[0, 2] + b1 * p[1, 2] + b2 * p[2, 2]
                if inverse <= inverse_depth[y, x]:
                    continue
                a0, a1 = b0 * p[0, 2] / inverse, b1 * p[1, 2] / inverse
                if cutout[m]:
                    alpha = rgba[m, 3]
                    if start[m] >= 0:
                        a2 = np.float32(1) - a0 - a1
                        u = a0 * uv[t, 0, 0] + a1 * uv[t, 1, 0] + a2 * uv[t, 2, 0]
                        v = a0 * uv[t, 0, 1] + a1 * uv[t, 1, 1] + a2 * uv[t, 2, 1]
                        alpha *= _texel(texels, start[m], shape[m, 0], shape[m, 1], u, v)[3]
                    if alpha < OPAQUE and alpha < bayer[y & 3, x & 3]:
                        continue
                inverse_depth[y, x] = inverse
                hit[y, x] = t
                weights[y, x, 0] = a0
                weights[y, x, 1] = a1


@nb.njit(**JIT)
def _shade(normals, uv, material, packed, pose, light, terms, supersample, inverse_depth, hit, weights, out, depth):
    """Pass 2. light (3,) unit, in the camera's axes (x right, y up, z towards the viewer); terms (3,) ambient, diffuse,
    headlight. Averages samples into out (size, size, 4) straight alpha and depth (size, size)."""
    texels, start, shape, rgba, _ = packed
    size = out.shape[0]
    n = np.empty(3, np.float32)
    for row in range(size):
        for column in range(size):
            red = green = blue = far = np.float32(0)
            count = 0
            for y in range(row * supersample, (row + 1) * supersample):
                for x in range(column * supersample, (column + 1) * supersample):
                    t = hit[y, x]
                    if t < 0:
                        continue
                    a0, a1 = weights[y, x, 0], weights[y, x, 1]
                    a2 = np.float32(1) - a0 - a1
                    m = material[t]
                    r, g, b = rgba[m, 0], rgba[m, 1], rgba[m, 2]
                    if start[m] >= 0:
                        u = a0 * uv[t, 0, 0] + a1 * uv[t, 1, 0] + a2 * uv[t, 2, 0]
                        v = a0 * uv[t, 0, 1] + a1 * uv[t, 1, 1] + a2 * uv[t, 2, 1]
                        tr, tg, tb, _a = _texel(texels, start[m], shape[m, 0], shape[m, 1], u, v)
                        r, g, b = r * tr, g * tg, b * tb
                    for k in range(3):
                        n[k] = a0 * normals[t, 0, k] + a1 * normals[t, 1, k] + a2 * normals[t, 2, k]
                    right = pose[0, 0] * n[0] + pose[0, 1] * n[1] + pose[0, 2] * n[2]
                    up = -(pose[1, 0] * n[0] + pose[1, 1] * n[1] + pose[1, 2] * n[2])
                    out_of = -(pose[2, 0] * n[0] + pose[2, 1] * n[1] + pose[2, 2] * n[2])
                    flip = np.float32(-1) if out_of < 0 else np.float32(1)
                    k = flip / (math.sqrt(right * right + up * up + out_of * out_of) + np.float32(1e-9))
                    lambert = max(np.float32(0), (right * light[0] + up * light[1] + out_of * light[2]) * k)
                    shade = terms[0] + terms[1] * lambert + terms[2] * out_of * k
                    red += min(np.float32(1), r * shade)
                    green += min(np.float32(1), g * shade)
                    blue += min(np.float32(1), b * shade)
                    far += np.float32(1) / inverse_depth[y, x]
                    count += 1
            if count:
                out[row, column, 0] = np.uint8(red / count * 255 + 0.5)
                out[row, column, 1] = np.uint8(green / count * 255 + 0.5)
                out[row, column, 2] = np.uint8(blue / count * 255 + 0.5)
                out[row, column, 3] = np.uint8(255 * count / (supersample * supersample) + 0.5)
                depth[row, column] = far / count


@nb.njit(parallel=True, **{**JIT, "nogil": False})
def _render_views(corners, normals, uv, material, packed, bayer, poses, focal, lights, terms, supersample, out, depth):
    samples = out.shape[1] * supersample
    for b in nb.prange(out.shape[0]):
        inverse_depth = np.zeros((samples, samples), np.float32)
        hit = np.full((samples, samples), -1, np.int32)
        weights = np.empty((samples, samples, 2), np.float32)
        _visible(corners, uv, material, packed, bayer, poses[b], focal[b], samples, inverse_depth, hit, weights)
        _shade(
            normals, uv, material, packed, poses[b], lights[b], terms[b], supersample, inverse_depth, hit, weights,
            out[b], depth[b],
        )  # fmt: skip


def render_soup(
    soup: Soup,
    cameras: Cameras,
    size: int,
    supersample: int = 4,
    light: tuple[float, float, float] | Array = (0.35, 0.75, 0.55),
    ambient: float | Array = 0.6,
    diffuse: float | Array = 0.3,
    headlight: float | Array = 0.15,
) -> tuple[NDArray[np.uint8], Array]:
    """Draw B views: (B, size, size, 4) uint8 straight alpha with white under alpha 0, and (B, size, size) depth.

    Colour = base x texture x (ambient + diffuse max(0, n.l) + headlight n.view); ambient 1 and the others 0 is unlit.
    `light` is a direction in the camera's axes (x right, y up, z towards the viewer), one or (B, 3); the three
    strengths are one number or (B,). Depth runs along the view axis: the mean over the covered part, 0 elsewhere.
    """
    views = len(cameras)
    out = np.full((views, size, size, 4), (255, 255, 255, 0), np.uint8)
    depth = np.zeros((views, size, size), np.float32)
    if not len(soup):
        return out, depth
    lights = np.broadcast_to(np.asarray(light, np.float32), (views, 3))
    lights = np.ascontiguousarray(lights / np.linalg.norm(lights, axis=1, keepdims=True), np.float32)
    terms = np.stack([np.broadcast_to(np.asarray(k, np.float32), views) for k in (ambient, diffuse, headlight)], 1)
    poses = np.ascontiguousarray(cameras.world_to_camera()[:, :3].cpu().numpy(), np.float32)
    focal = cameras.focal(size * supersample).cpu().numpy().astype(np.float32)
    _render_views(
        soup.corners, soup.normals, soup.uv, soup.material, soup.packed, BAYER, poses, focal, lights,
        np.ascontiguousarray(terms), supersample, out, depth,
    )  # fmt: skip
    return out, depth
