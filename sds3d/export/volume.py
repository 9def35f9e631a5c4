"""A scene's field on a grid, held against its silhouettes: where is the surface?

The mesh is the level set of a field whose units nobody knows, so the level is found, not asked for. Carve away
what lies outside a silhouette, take the field's maximum along every ray of the views, and the level whose
silhouettes (maximum > level) overlap the rendered ones best follows exactly from one sort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.export.views import COVERED, Views
from sds3d.scenes.base import Field

CHUNK = 1 << 18  # points per call of the field
FAINTEST = 0.02  # a scene whose greatest alpha is below this shows nothing
SLACK = 0.005  # levels within this IoU of the best count as equally good; depth decides among them
CANDIDATES = 7
SOFT = 1 / 3  # occupancy of half the level


@dataclass(frozen=True)
class Volume:
    """Cubic cells with samples at the corners: values[i, j, k] lies at origin + spacing * (i, j, k)."""

    values: Tensor  # (X, Y, Z)
    origin: Tensor  # (3,)
    spacing: float

    def at(self, points: Tensor) -> Tensor:
        """Trilinear samples at (..., 3) points; 0 outside."""
        last = torch.tensor(self.values.shape) - 1
        unit = (points - self.origin) / self.spacing / last * 2 - 1
        grid = unit.flip(-1).reshape(1, 1, 1, -1, 3)  # grid_sample wants the last axis first
        return F.grid_sample(self.values[None, None], grid, align_corners=True).view(points.shape[:-1])


def silhouettes(views: Views) -> Tensor:
    """(B, H, H) bool: what is covered; of a scene that is fog throughout, its denser half."""
    peak = float(views.alpha.max())
    if peak < FAINTEST:
        raise UserError("the scene is empty: there is nothing to export; train it longer or from another seed")
    return views.alpha > min(COVERED, peak / 2)


def sample_field(field: Field, views: Views, resolution: int, device: torch.device) -> tuple[Volume, Tensor]:
    """Density on resolution + 1 points across [-bound, bound], cropped to the views' visual hull and 0 outside of it,
    and the hull (X, Y, Z) bool. Where the views agree on no hull, nothing is carved."""
    place, inside, points = hull_volume(views, field.bound, resolution)
    place.values[inside] = evaluate(field.density, points, device)
    return Volume(place.values.nan_to_num(0.0, posinf=1e30).clamp_min(0.0), place.origin, place.spacing), inside


def hull_volume(views: Views, bound: float, resolution: int) -> tuple[Volume, Tensor, Tensor]:
    """A volume of zeros around the views' visual hull, on a grid of resolution + 1 points across [-bound, bound]; the
    hull (X, Y, Z) bool, everything where the views agree on none; and its points (P, 3)."""
    spacing = 2 * bound / resolution
    line = torch.linspace(-bound, bound, resolution + 1)
    inside = visual_hull(line, views, spacing)
    if not inside.any():
        inside[:] = True
    low, high = _box(inside)
    inside = inside[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    points = torch.stack(torch.meshgrid(*(line[a:b] for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    return Volume(torch.zeros(inside.shape), points[0, 0, 0], spacing), inside, points[inside]


def evaluate(function: Callable[[Tensor], Tensor], points: Tensor, device: torch.device) -> Tensor:
    """`function` of (P, 3) points in chunks, without gradients, back on the CPU."""
    with torch.no_grad():
        return torch.cat([function(part.to(device)).float().cpu() for part in points.split(CHUNK)])


def visual_hull(line: Tensor, views: Views, spacing: float) -> Tensor:
    """(R, R, R) bool over the grid line x line x line: no view sees the background there. Silhouettes are first grown
    by one and a half cells, so that a surface inside them is never cut."""
    cameras, size = views.cameras, views.size
    pixel = float((cameras.distance / cameras.focal(size)).mean())  # world units a pixel spans at the origin
    grown = 2 * int(np.ceil(1.5 * spacing / pixel)) + 1
    masks = F.max_pool2d(silhouettes(views)[:, None].float(), grown, stride=1, padding=grown // 2)
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).view(-1, 3)
    alive = torch.arange(len(points))
    for i in range(len(cameras)):
        alive = alive[_seen_in(points[alive], cameras[i : i + 1], masks[i : i + 1])]
    inside = torch.zeros(len(points), dtype=torch.bool)
    inside[alive] = True
    return inside.view(len(line), len(line), len(line))


def project(points: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """(P, 2) positions in the image, -1..1 from edge to edge with y down, and (P,) depths along the axis."""
    matrix = camera.world_to_camera()[0]
    local = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = local[:, 2]
    half = torch.tan(torch.deg2rad(camera.fov[0]) / 2)
    return local[:, :2] / (depth.clamp_min(1e-6) * half)[:, None], depth


def _seen_in(points: Tensor, camera: Cameras, mask: Tensor) -> Tensor:
    """(P,) bool: the point falls on the mask, or outside the picture, where nothing is known."""
    where, depth = project(points, camera)
    hit = F.grid_sample(mask, where.view(1, 1, -1, 2), mode="nearest", align_corners=False).view(-1) > 0.5
    return hit | (where.abs() > 1).any(1) | (depth <= 0)


def _box(inside: Tensor) -> tuple[list[int], list[int]]:
    """Bounds of the True part with a margin of two cells where there is room."""
    kept = inside.nonzero()
    low, high = kept.min(0).values - 2, kept.max(0).values + 3
    return low.clamp_min(0).tolist(), torch.minimum(high, torch.tensor(inside.shape)).tolist()


def to_occupancy(volume: Volume, level: float) -> Volume:
    """d / (d + level): the level becomes one half, and any range of densities interpolates smoothly."""
    return Volume(volume.values / (volume.values + level), volume.origin, volume.spacing)


def choose_level(volume: Volume, views: Views) -> tuple[float, float]:
    """The density level whose silhouettes match the views, and their IoU. Of equally good levels, the one whose first
    crossings lie nearest to the rendered depth."""
    masks = silhouettes(views)
    typical = _typical_density(volume, views, masks)
    occupancy = to_occupancy(volume, typical)
    samples, depths, rays = _along_rays(occupancy, views, masks)
    covered = masks.view(-1)[rays]
    levels, iou = iou_by_level(samples.max(1).values, covered, int(covered.sum()))
    good = levels[iou >= iou.max() - SLACK]
    chosen = _nearest_in_depth(good, samples, depths, views.depth.reshape(-1)[rays], covered)
    reached = float(iou[(levels - chosen).abs().argmin()])
    return typical * chosen / (1 - chosen), reached


def iou_by_level(peaks: Tensor, covered: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """IoU of {peak >= level} with `covered`, for every level that is one of the `peaks` (descending), exactly.

    peaks, covered: (N,) of all pixels that could be covered by either; total: all the pixels the views cover."""
    order = peaks.argsort(descending=True)
    hits = covered[order].cumsum(0)
    misses = (~covered[order]).cumsum(0)
    return peaks[order], hits / (total + misses)


def _typical_density(volume: Volume, views: Views, masks: Tensor) -> float:
    """Median density where the views see the surface: sets the scale, nothing more."""
    origins, directions, along = _rays(views)
    chosen = masks.view(-1)
    points = origins + directions * (views.depth.reshape(-1, 1) / along[:, None])
    density = volume.at(points[chosen])
    found = density[density > 0]
    return float(found.median() if len(found) else volume.values.max().clamp_min(1e-12) / 2)


def _rays(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Origins, unit directions (B*H*H, 3), and how much depth a unit of length along each gains (B*H*H)."""
    origins, directions = views.cameras.rays(views.size)
    along = (directions * views.cameras.forward[:, None]).sum(-1)
    return origins.reshape(-1, 3), directions.reshape(-1, 3), along.reshape(-1)


def _along_rays(volume: Volume, views: Views, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, S) samples at half-cell steps with their depths (N, S), and which pixels (N,) they belong to: every other one
    of the silhouettes and a rim around them (elsewhere the hull has left nothing)."""
    rim = F.max_pool2d(masks[:, None].float(), 9, stride=1, padding=4).view(-1) > 0
    rays = rim.nonzero()[::2, 0]
    origins, directions, along = (part[rays] for part in _rays(views))
    reach = torch.tensor(volume.values.shape) * volume.spacing
    corners = volume.origin + reach * torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    radius = float(corners.norm(dim=1).max())
    middle = -(origins * directions).sum(1)
    steps = torch.arange(-radius, radius, volume.spacing * 0.75)
    distance = middle[:, None] + steps
    points = origins[:, None] + directions[:, None] * distance[..., None]
    return volume.at(points), distance * along[:, None], rays


def _nearest_in_depth(levels: Tensor, samples: Tensor, depths: Tensor, seen: Tensor, covered: Tensor) -> float:
    """Of up to CANDIDATES of `levels`, the one with the least median gap between first crossing and seen depth."""
    picks = torch.unique(levels[torch.linspace(0, len(levels) - 1, CANDIDATES).long()])
    samples, depths, seen = samples[covered], depths[covered], seen[covered]
    gaps = []
    for level in picks:
        hit = (samples >= level).any(1)
        gaps.append((first_crossing(samples, depths, level) - seen).abs()[hit].median())
    return float(picks[torch.stack(gaps).argmin()].clamp(1e-6, 1 - 1e-6))


def first_crossing(samples: Tensor, depths: Tensor, level: Tensor | float) -> Tensor:
    """(N,) depth at which the samples (N, S), linear in between, first reach `level`; the first if they do not."""
    after = (samples >= level).byte().argmax(1, keepdim=True)
    before = (after - 1).clamp_min(0)
    low, high = samples.gather(1, before), samples.gather(1, after)
    share = ((level - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(depths.gather(1, before), depths.gather(1, after), share)[:, 0]


def mended(occupancy: np.ndarray, hull: np.ndarray, cells: int) -> np.ndarray:
    """`occupancy` with holes up to 2 `cells` wide closed (a thin shell of Gaussians is full of them) and what lies
    behind them filled, since only a ball larger than the holes tells inside from outside. But only inside the views'
    `hull`: gaps that a view sees through stay open."""
    inside = occupancy > 0.5
    around, reach = 2 * cells + 1, cells**2 + 1
    free = ~within(np.pad(inside, around), reach)  # where such a ball finds room
    labels, _ = ndimage.label(free)
    swept = within(labels == labels[0, 0, 0], reach)
    closed = ~swept[(slice(around, -around),) * 3] & hull
    return np.where(closed & ~inside, np.maximum(occupancy, 0.75), occupancy)


def bridged(occupancy: np.ndarray, hull: np.ndarray, cells: int) -> np.ndarray:
    """`occupancy` with holes closed as by `mended` where it is SOFT at least: they may be wide, being no gaps."""
    return mended(occupancy, hull & (occupancy > SOFT), cells)


def within(mask: np.ndarray, reach: int) -> np.ndarray:
    """Where a true cell of `mask` (X, Y, Z) lies at a squared distance of at most `reach`, in cells: the distance
    transform, axis by axis (Felzenszwalb & Huttenlocher 2012), cut off there, which makes it several times as fast."""
    far = reach + 1
    kind = np.min_scalar_type(far)  # small numbers, many at a time
    nearest = np.where(mask, 0, far).astype(kind)  # squared distance along the axes done so far
    for axis in range(3):
        before = np.moveaxis(nearest, axis, 0)
        after = before.copy()
        for step in range(1, isqrt(reach) + 1):
            moved = np.minimum(before, far - step**2) + kind.type(step**2)  # never above `far`
            np.minimum(after[:-step], moved[step:], out=after[:-step])
            np.minimum(after[step:], moved[:-step], out=after[step:])
        nearest = np.moveaxis(after, 0, axis)
    return nearest <= reach


def solid(occupancy: np.ndarray, smallest: float = 0.01, shortest: float = 0.15) -> np.ndarray:
    """`occupancy` (inside above one half) without hidden cavities and stray crumbs: a part stays if it has `smallest`
    of the largest part's volume or `shortest` of its diagonal (a thin leg is long)."""
    outside, _ = ndimage.label(np.pad(occupancy <= 0.5, 1, constant_values=True))
    inside = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    filled = np.where(inside, np.where(occupancy > 0.5, occupancy, 1.0), occupancy)
    labels, count = ndimage.label(inside)
    if count < 2:
        return filled
    volume = np.bincount(labels.ravel())[1:]
    boxes = ndimage.find_objects(labels)
    diagonal = np.array([np.linalg.norm([s.stop - s.start for s in box]) for box in boxes])
    largest = volume.argmax()
    keep = (volume >= smallest * volume[largest]) | (diagonal >= shortest * diagonal[largest])
    stray = np.concatenate([[False], ~keep])[labels]
    return np.where(stray, 0.0, filled)
