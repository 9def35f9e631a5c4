"""Primitive solids for the procedural objects: every function returns triangles (F, 3, 3), outward winding, +Y up.

Shapes are made where they belong or at the origin and then moved; there is no scene graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Outline = Sequence[tuple[float, float]]
_AXES = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}


# --- meshing -------------------------------------------------------------------------------------------------------


def outward(tri: Array) -> Array:
    """Drop triangles without area and flip all of them if the signed volume about the centroid is negative."""
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    tri = tri[np.einsum("fi,fi->f", cross, cross) > 1e-18]
    c = tri - tri.reshape(-1, 3).mean(0)
    volume = np.einsum("fi,fi->f", c[:, 0], np.cross(c[:, 1], c[:, 2])).sum()
    return tri if volume >= 0 else tri[:, ::-1]


def grid(points: Array) -> Array:
    """Triangles of a (V, U, 3) lattice of surface points."""
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    halves = [np.stack([a, b, c], 2), np.stack([a, c, d], 2)]
    return outward(np.concatenate([h.reshape(-1, 3, 3) for h in halves]))


def _unit(v: Array) -> Array:
    return v / np.maximum(np.sqrt(np.einsum("fi,fi->f", v, v)), 1e-12)[:, None]


def smooth_normals(tri: Array, crease: float = 50.0) -> Array:
    """(F, 3, 3) corner normals: area-weighted mean over the faces at a vertex within `crease` degrees of one's own."""
    face = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    unit = _unit(face)
    q = np.round(tri.reshape(-1, 3) * 2e4).astype(np.int64)
    _, vertex = np.unique(q @ np.array([1, 2_000_003, 4_000_037_000_009]), return_inverse=True)
    order = np.argsort(vertex, kind="stable")
    v, f = vertex[order], order // 3
    total = face[f].copy()
    for shift in range(1, int(np.bincount(v).max())):
        i = np.nonzero(v[shift:] == v[:-shift])[0]
        j = i + shift
        near = np.einsum("ci,ci->c", unit[f[i]], unit[f[j]]) > np.cos(np.deg2rad(crease))
        i, j = i[near], j[near]
        total[i] += face[f[j]]
        total[j] += face[f[i]]
    out = np.empty_like(total)
    out[order] = _unit(total)
    return out.reshape(-1, 3, 3)


def curve(points: ArrayLike, steps: int = 5) -> Array:
    """A Catmull-Rom spline through the (n, k) control points, `steps` samples a span."""
    p = np.asarray(points, float)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = (np.arange(steps) / steps)[:, None]
    spans = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate([*spans, p[-2:-1]])


# --- placing -------------------------------------------------------------------------------------------------------


def move(tri: Array, by: ArrayLike) -> Array:
    return tri + np.asarray(by, float)


def scale(tri: Array, by: ArrayLike) -> Array:
    return tri * np.asarray(by, float)


def turn(tri: Array, axis: str, degrees: float, about: ArrayLike = (0, 0, 0)) -> Array:
    """Right-handed rotation about an axis through the point `about`."""
    i, j = _AXES[axis]
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    p = tri - np.asarray(about, float)
    out = p.copy()
    out[..., i] = c * p[..., i] - s * p[..., j]
    out[..., j] = s * p[..., i] + c * p[..., j]
    return out + np.asarray(about, float)


def join(*shapes: Array) -> Array:
    return np.concatenate(shapes)


def mirror(tri: Array) -> Array:
    """The other hand of a shape: x -> -x."""
    return (tri * [-1.0, 1.0, 1.0])[:, ::-1]


def pair(tri: Array) -> Array:
    """A shape and its mirror image."""
    return join(tri, mirror(tri))


def ring(tri: Array, n: int, start: float = 0.0) -> Array:
    """`n` copies turned evenly about +Y."""
    return join(*(turn(tri, "y", start + 360 * k / n) for k in range(n)))


# --- solids --------------------------------------------------------------------------------------------------------


def ball(at: ArrayLike, r: ArrayLike, e: float | tuple[float, float] = 1.0, n: int = 20, low: float = -90.0) -> Array:
    """Superellipsoid at `at`, half-axes `r` (number or 3), from latitude `low` upwards (0: a dome).

    Exponents (around, upright): 1 round, 0.3 boxy, 2 pinched.
    """
    around, upright = e if isinstance(e, tuple) else (e, e)
    a = np.linspace(0, 2 * np.pi, n + 1)[None]
    b = np.linspace(np.deg2rad(low), np.pi / 2, n * 2 // 3 + 1)[:, None]

    def power(x: Array, p: float) -> Array:
        return np.sign(x) * np.abs(x) ** p

    flat = power(np.maximum(np.cos(b), 0), upright)
    unit = np.stack(
        [flat * power(np.sin(a), around), power(np.sin(b), upright) + 0 * a, flat * power(np.cos(a), around)], -1
    )
    return grid(unit * np.broadcast_to(np.asarray(r, float), 3) + np.asarray(at, float))


def box(at: ArrayLike, half: ArrayLike, bevel: float = 0.04, taper: float | tuple[float, float] = 1.0) -> Array:
    """Box with rounded edges (`bevel` = radius). `taper` multiplies the x and z extent at the top."""
    h = np.broadcast_to(np.asarray(half, float), 3)
    r = min(bevel, 0.98 * float(h.min()))
    turns = np.deg2rad([q * 90 + d for q in range(4) for d in (0, 45, 90)] + [0])
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])[np.r_[np.repeat(np.arange(4), 3), 0]]  # of (sin, cos)
    rows = []
    for sy, angles in ((-1, (-90, -45, 0)), (1, (0, 45, 90))):
        for b in np.deg2rad(angles):
            n = np.stack([np.cos(b) * np.sin(turns), np.full(13, np.sin(b)), np.cos(b) * np.cos(turns)], -1)
            core = np.stack([signs[:, 0] * (h[0] - r), np.full(13, sy * (h[1] - r)), signs[:, 1] * (h[2] - r)], -1)
            rows.append(core + r * n)
    bottom, top = (np.tile([0.0, s * h[1], 0.0], (13, 1)) for s in (-1, 1))
    p = np.stack([bottom, *rows, top])
    up = (p[..., 1] / h[1] + 1) / 2
    tx, tz = taper if isinstance(taper, tuple) else (taper, taper)
    p[..., 0] *= 1 + (tx - 1) * up
    p[..., 2] *= 1 + (tz - 1) * up
    return grid(p + np.asarray(at, float))


def lathe(
    profile: Outline,
    sides: int = 24,
    smooth: bool = False,
    wobble: Callable[[Array, Array], Array] | None = None,
) -> Array:
    """Surface of revolution about +Y of a profile [(radius, y), ...]; `wobble(angle, y)` multiplies the radius."""
    p = curve(profile, 4) if smooth else np.asarray(profile, float)
    r, y = np.maximum(p[:, :1], 0), p[:, 1:]
    a = np.linspace(0, 2 * np.pi, sides + 1)[None]
    if wobble is not None:
        r = r * wobble(a, y)
    return grid(np.stack([r * np.sin(a), y + 0 * a, r * np.cos(a)], -1))


def cylinder(at: ArrayLike, r: float, half: float, axis: str = "y", sides: int = 20, top: float = 1.0) -> Array:
    """Cylinder or frustum along an axis; `top` is the radius at the far end over that at the near end."""
    tri = lathe([(0, -half), (r, -half), (r * top, half), (0, half)], sides)
    if axis != "y":
        tri = turn(tri, "x", 90) if axis == "z" else turn(tri, "z", -90)
    return move(tri, at)


def torus(
    at: ArrayLike, big: float, small: float | tuple[float, float], axis: str = "y", arc: tuple[float, float] = (0, 360)
) -> Array:
    """Torus about an axis; `small` is the tube's radius or its (radial, axial) radii; `arc` in degrees."""
    sr, sy = small if isinstance(small, tuple) else (small, small)
    a = np.deg2rad(np.linspace(arc[0], arc[1], 29))[None]
    b = np.linspace(0, 2 * np.pi, 13)[:, None]
    r = big + sr * np.cos(b)
    tri = grid(np.stack([r * np.cos(a), sy * np.sin(b) + 0 * a, r * np.sin(a)], -1))
    if axis != "y":
        tri = turn(tri, "x", -90) if axis == "z" else turn(turn(tri, "x", -90), "y", -90)
    return move(tri, at)


def _frames(path: Array) -> tuple[Array, Array]:
    """Sideways and upward unit vectors along a path, carried in parallel so that curls do not twist."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    upright = abs(path[-1, 1] - path[0, 1]) > 0.8 * np.linalg.norm(path[-1] - path[0])
    side = np.cross([0.0, 0, -1] if upright else [0.0, 1, 0], tangent[0])
    if np.linalg.norm(side) < 1e-6:
        side = np.array([1.0, 0, 0])
    sides = []
    for t in tangent:
        side = side - t * (side @ t)
        side = side / np.linalg.norm(side)
        sides.append(side)
    s = np.array(sides)
    return s, np.cross(tangent, s)


def sweep(path: Sequence[Any] | Array, radii: ArrayLike, sides: int = 12, steps: int = 5, caps: str = "round") -> Array:
    """Tube through the (n, 3) control points; radii: a number, (n,), or (n, 2) (sideways, upward). caps: round|flat."""
    p = np.asarray(path, float)
    r = np.asarray(radii, float)
    r = np.full(len(p), r) if r.ndim == 0 else r
    r = np.stack([r, r], -1) if r.ndim == 1 else r
    line = curve(np.concatenate([p, r], 1), steps if len(p) > 2 else 1)
    centre, width = line[:, :3], np.maximum(line[:, 3:], 0)
    s, u = _frames(centre)
    ring_of = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
    offsets = [w[0] * np.cos(ring_of) * si + w[1] * np.sin(ring_of) * ui for w, si, ui in zip(width, s, u, strict=True)]

    def cap(end: int, outwards: float) -> list[Array]:
        bulge = outwards * width[end].min() * np.cross(s[end], u[end])
        angles = np.deg2rad([30, 60, 90]) if caps == "round" else [np.pi / 2]
        return [
            centre[end] + offsets[end] * np.cos(b) + (bulge * np.sin(b) if caps == "round" else 0.0) for b in angles
        ]

    tube = [c + o for c, o in zip(centre, offsets, strict=True)]
    return grid(np.stack([*cap(0, -1)[::-1], *tube, *cap(-1, 1)]))


def prism(outline: Outline, half: float, bevel: float = 0.0) -> Array:
    """Outline in the XY plane extruded over z in [-half, half]; `bevel` shrinks the two faces by that share."""
    p = np.asarray(outline, float)
    if np.sum(p[:, 0] * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(p[:, 0], -1)) < 0:
        p = p[::-1]
    middle = (p.min(0) + p.max(0)) / 2
    small = middle + (p - middle) * (1 - bevel)
    cap = np.array([[small[k] for k in t] for t in _ears(small)])
    front = np.concatenate([cap, np.full((len(cap), 3, 1), half)], 2)
    back = (front * [1, 1, -1])[:, ::-1]
    depths = (
        [(small, -half), (p, -half * (1 - bevel)), (p, half * (1 - bevel)), (small, half)]
        if bevel
        else [(p, -half), (p, half)]
    )
    loops = [np.column_stack([q, np.full(len(q), z)]) for q, z in depths]
    loops = [np.concatenate([q, q[:1]]) for q in loops]
    return outward(join(front, back, grid(np.stack(loops))))


def _ears(p: Array) -> list[tuple[int, int, int]]:
    """Triangulate a counter-clockwise simple polygon by ear clipping."""

    def cross(a: int, b: int, c: int) -> float:
        return float((p[b, 0] - p[a, 0]) * (p[c, 1] - p[a, 1]) - (p[b, 1] - p[a, 1]) * (p[c, 0] - p[a, 0]))

    left, out = list(range(len(p))), []
    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            inside = (min(cross(a, b, q), cross(b, c, q), cross(c, a, q)) > 0 for q in left if q not in (a, b, c))
            if cross(a, b, c) > 1e-12 and not any(inside):
                break
        else:
            k, (a, b, c) = 0, (left[-1], left[0], left[1])
        out.append((a, b, c))
        del left[k]
    return [*out, (left[0], left[1], left[2])]


def side_prism(outline: Outline, half: float, bevel: float = 0.0) -> Array:
    """Like `prism`, but the outline is the (z, y) profile seen from the side and the thickness is along x."""
    return turn(prism(outline, half, bevel), "y", -90)
