"""Gaussians from elsewhere: in our world, and the way back to their file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.limits import Broken
from sds3d.assets.placement import HALF_TURN, Matrix, Placement, enclosing

LARGEST_LOGIT, SMALLEST_SCALE, LARGEST_SCALE = 16.0, -30.0, 30.0  # what infinities and their kin become


@dataclass(frozen=True)
class LoadedSplats:
    """Gaussians in the world: +Y up, front +Z, in the unit ball."""

    world: Gaussians  # N of them
    stored: Gaussians  # the same ones, bit for bit as in the file
    axes: Matrix  # (3, 3) from the world's axes to the file's
    placement: Placement
    notes: tuple[str, ...] = ()  # what the file has and this has not, in words

    def __len__(self) -> int:
        return len(self.world)

    @property
    def transform(self) -> Matrix:
        """(4, 4) from the world to the file's own coordinates."""
        return self.placement.matrix(self.axes)

    def tensors(self) -> dict[str, Tensor]:
        """What `render_splats` draws: means (N, 3), quats (N, 4) wxyz, scales (N, 3) standard deviations, opacities
        (N,), colors (N, 3) sRGB of the constant harmonic alone."""
        w = self.world
        return {
            "means": torch.from_numpy(w.means.copy()),
            "quats": torch.from_numpy(w.quats.copy()),
            "scales": torch.from_numpy(w.scales).exp(),
            "opacities": torch.from_numpy(w.opacities).sigmoid(),
            "colors": (torch.from_numpy(w.sh[:, 0]) * SH0 + 0.5).clamp(0, 1),
        }


def assemble(stored: Gaussians, axes: Matrix, notes: Sequence[str], own_axes: bool) -> LoadedSplats:
    """Gaussians of a file with `axes` in the unit ball. Those that are not numbers are left out. `own_axes`: the
    format leaves the axes to the file, so that exports keep them. Raises Broken if none is left."""
    good = finite(stored)
    notes = list(notes)
    if not good.all():
        notes.append(f"{int((~good).sum()):,} Gaussians that are not numbers")
        stored = stored[good]
    if not len(stored):
        raise Broken("holds no Gaussians")
    upright = tamed(stored).turned(axes.T)
    centre, radius = enclosing(upright.means.astype(np.float64))
    placement = (
        Placement(centre, radius, splat_axes=axes)
        if own_axes
        else Placement(centre, radius, splat_axes=HALF_TURN @ axes, upright_axes=axes)
    )
    world = upright.placed(1 / radius, -centre / radius)
    return LoadedSplats(world, stored, axes, placement, tuple(notes))


def finite(splats: Gaussians) -> np.ndarray:
    """(N,) whether a Gaussian can be drawn; an infinite logit or logarithm may be, it is only very opaque or flat."""
    whole = [np.isfinite(part.reshape(len(splats), -1)).all(1) for part in (splats.means, splats.quats, splats.sh)]
    numbers = [~np.isnan(splats.scales).any(1), ~np.isnan(splats.opacities)]
    return np.stack([*whole, *numbers]).all(0) & (np.abs(splats.quats).max(1) > 0)


def tamed(splats: Gaussians) -> Gaussians:
    """Infinite logits and logarithms, and those beyond single precision once activated, made finite."""
    opacities = splats.opacities.clip(-LARGEST_LOGIT, LARGEST_LOGIT)
    scales = splats.scales.clip(SMALLEST_SCALE, LARGEST_SCALE)
    return Gaussians(splats.means, scales, splats.quats, opacities, splats.sh)
