"""Volume rendering along packed rays (Mildenhall et al. 2020, eq. 3; Max 1995), one interface over several backends.

    samples = march(origins, directions, cells, bound, near, far, step)    # only where the occupancy grid says so
    samples = cull(samples, density(samples.points))                       # nothing behind what is already opaque
    image = composite(samples, density(samples.points), color(samples.points))

Backends: `torch` (any device and float type; the reference), `numba` (CPU), `nerfacc` (CUDA). All walk the same lattice
t = near + (k + phase) * step and keep the interval k when its middle lies before `far` in an occupied cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from sds3d.errors import UserError, unknown

OPAQUE = 1e-4  # transmittance below which nothing more is seen
CHUNK = 1 << 22  # lattice points looked at together by the torch marcher


@dataclass(frozen=True)
class Samples:
    """P intervals on R rays, ray after ray, near to far."""

    start: Tensor  # (P,) distance along the ray
    end: Tensor  # (P,)
    points: Tensor  # (P, 3) the middles of the intervals, in the world
    offsets: Tensor  # (R + 1,) int64: ray r owns samples offsets[r] to offsets[r + 1]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def rays(self) -> int:
        return len(self.offsets) - 1

    @property
    def ray(self) -> Tensor:
        """(P,) int64, the ray of each sample."""
        index = torch.arange(self.rays, device=self.offsets.device)
        return torch.repeat_interleave(index, self.offsets.diff(), output_size=len(self))


class Composite(NamedTuple):
    """What R rays gathered."""

    rgb: Tensor  # (R, 3) premultiplied by alpha
    alpha: Tensor  # (R,)
    depth: Tensor  # (R,) alpha-weighted mean distance along the ray, 0 where alpha is 0


@cache
def _missing(name: str) -> str | None:
    """Why the backend `name` cannot be used here; None when it can."""
    if name == "torch":
        return None
    if name == "numba":
        try:
            import sds3d.render.volume_numba  # noqa: F401
        except ImportError as error:
            return f"it does not load ({' '.join(str(error).split())[:120]})"
        return None
    if not torch.cuda.is_available():
        return "no CUDA device"
    try:
        from nerfacc.cuda import _backend
    except Exception as error:  # a compiler or toolkit that fails raises anything
        return f"nerfacc does not load ({' '.join(str(error).split())[:120]})"
    return None if _backend._C is not None else "nerfacc found no CUDA toolkit to build its kernels with"


def available_backends() -> dict[str, str | None]:
    """Backend -> None where it can be used, else why it cannot."""
    return {name: _missing(name) for name in ("torch", "numba", "nerfacc")}


def choose_backend(name: str, device: torch.device) -> str:
    """`auto` -> the fastest backend for `device`; any other name is checked.

    Raises:
        UserError: the backend is unknown, missing here, or runs on another kind of device.
    """
    home = {"torch": None, "numba": "cpu", "nerfacc": "cuda"}
    if name == "auto":
        fast = "nerfacc" if device.type == "cuda" else "numba"
        return fast if home[fast] == device.type and _missing(fast) is None else "torch"
    if name not in home:
        raise unknown("volume backend", name, [*home, "auto"])
    reason = _missing(name)
    if reason is None and home[name] not in (None, device.type):
        reason = f"it runs on {home[name]}, the scene is on {device.type}"
    if reason is not None:
        raise UserError(f"volume backend {name!r} cannot be used: {reason}; choose auto or torch")
    return name


def ball_bounds(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Where rays (R, 3) with unit directions meet the ball around the origin: near, far (R,), equal on a miss."""
    middle = -(origins * directions).sum(-1)
    inside = radius**2 - (origins + middle[:, None] * directions).square().sum(-1)
    half = inside.clamp(min=0).sqrt()
    return (middle - half).clamp(min=0), (middle + half).clamp(min=0)


@torch.no_grad()
def march(
    origins: Tensor,
    directions: Tensor,
    cells: Tensor,
    bound: float,
    near: Tensor,
    far: Tensor,
    step: float,
    phase: Tensor | None = None,
    backend: str = "torch",
) -> Samples:
    """Sample R rays where the grid is occupied.

    Args:
        origins, directions: (R, 3), directions of length 1.
        cells: (n, n, n) bool, indexed [z, y, x], over [-bound, bound]^3; a sample's middle is never in a False cell.
        near, far: (R,) the part of each ray to look at.
        step: length of an interval.
        phase: (R,) in [0, 1), shifts each ray's lattice by that part of a step; None is 0.
    """
    near = near if phase is None else near + phase * step
    if backend == "numba":
        from sds3d.render import volume_numba

        return Samples(*volume_numba.march(origins, directions, cells, bound, near, far, step))
    if backend == "nerfacc":
        return _march_nerfacc(origins, directions, cells, bound, near, far, step)
    return _march_torch(origins, directions, cells, bound, near, far, step)


def _march_torch(
    origins: Tensor, directions: Tensor, cells: Tensor, bound: float, near: Tensor, far: Tensor, step: float
) -> Samples:
    longest = (far - near).max().item() if len(near) else 0.0
    lattice = torch.arange(max(0, int(longest / step) + 1), device=near.device, dtype=near.dtype)
    rows = max(1, CHUNK // max(1, len(lattice)))
    found = []
    for i in range(0, len(near), rows):
        start = near[i : i + rows, None] + lattice * step  # (rows, S)
        middle = start + 0.5 * step
        points = origins[i : i + rows, None] + directions[i : i + rows, None] * middle[..., None]
        keep = occupied(cells, bound, points) & (middle < far[i : i + rows, None])
        found.append((keep.nonzero()[:, 0] + i, start[keep], points[keep]))
    if not found:
        found = [(near.new_zeros(0, dtype=torch.long), near.new_zeros(0), near.new_zeros(0, 3))]
    ray, start, points = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Samples(start, start + step, points, _offsets(ray, len(near)))


def _march_nerfacc(
    origins: Tensor, directions: Tensor, cells: Tensor, bound: float, near: Tensor, far: Tensor, step: float
) -> Samples:
    from nerfacc.grid import traverse_grids

    box = origins.new_tensor([[-bound] * 3 + [bound] * 3])
    binaries = cells.permute(2, 1, 0)[None]  # nerfacc indexes [level, x, y, z]
    intervals, packed, _ = traverse_grids(
        origins, directions, binaries, box, near_planes=near, far_planes=far, step_size=step
    )
    start, end, ray = intervals.vals[intervals.is_left], intervals.vals[intervals.is_right], packed.ray_indices
    points = origins[ray] + directions[ray] * ((start + end) / 2)[:, None]
    return Samples(start, end, points, _offsets(ray, len(near)))


def occupied(cells: Tensor, bound: float, points: Tensor) -> Tensor:
    """(...,) bool: is the cell around each point (..., 3) occupied; outside of the grid the nearest cell answers."""
    n = len(cells)
    x, y, z = ((points + bound) * (n / (2 * bound))).long().clamp(0, n - 1).unbind(-1)
    return cells[z, y, x]


def _offsets(ray: Tensor, rays: int) -> Tensor:
    """(R + 1,) first sample of each ray, from sorted ray indices."""
    return torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))


@torch.no_grad()
def cull(samples: Samples, sigma: Tensor, opaque: float = OPAQUE, backend: str = "torch") -> Samples:
    """Samples that light still reaches: those with transmittance >= `opaque` under the density sigma (P,)."""
    if backend == "numba":
        from sds3d.render import volume_numba

        s = samples
        return Samples(*volume_numba.cull(s.start, s.end, s.points, s.offsets, sigma, opaque))
    transmittance, _ = _transmittance(samples, sigma)
    keep = transmittance >= opaque
    offsets = _offsets(samples.ray[keep], samples.rays)
    return Samples(samples.start[keep], samples.end[keep], samples.points[keep], offsets)


def _transmittance(samples: Samples, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """T_i = exp(-sum_{j<i} sigma_j delta_j) on each ray, and the optical thickness sigma_i delta_i, (P,) each."""
    thickness = sigma * (samples.end - samples.start)
    total = torch.nn.functional.pad(thickness.double().cumsum(0), (1, 0))  # float64: the sum runs over all rays
    before = total[:-1] - total[samples.offsets[samples.ray]]
    return torch.exp(-before).to(sigma.dtype), thickness


def weights(samples: Samples, sigma: Tensor, backend: str = "torch") -> Tensor:
    """(P,) w_i = T_i (1 - exp(-sigma_i delta_i)): what sample i adds to its ray. Differentiable in sigma (P,)."""
    if backend == "nerfacc" and len(samples):
        import nerfacc

        return nerfacc.render_weight_from_density(
            samples.start, samples.end, sigma, ray_indices=samples.ray, n_rays=samples.rays
        )[0]
    transmittance, thickness = _transmittance(samples, sigma)
    return transmittance * -torch.expm1(-thickness)


def composite(samples: Samples, sigma: Tensor, rgb: Tensor, backend: str = "torch") -> Composite:
    """Quadrature of the rendering integral; differentiable in the densities sigma (P,) and the colours rgb (P, 3)."""
    if backend == "numba":
        from sds3d.render import volume_numba

        sums = volume_numba.composite(sigma, rgb, samples.start, samples.end, samples.offsets)  # (R, 5)
    else:
        w = weights(samples, sigma, backend)
        middle = (samples.start + samples.end) / 2
        values = torch.cat([rgb, torch.ones_like(middle)[:, None], middle[:, None]], -1)
        sums = sigma.new_zeros(samples.rays, 5).index_add(0, samples.ray, w[:, None] * values)
    alpha = sums[:, 3]
    return Composite(sums[:, :3], alpha, sums[:, 4] / alpha.clamp(min=torch.finfo(alpha.dtype).tiny))
