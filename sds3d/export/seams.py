"""Do a texture's colours agree along the edges at which it was cut?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sds3d.export.mesh import Floats, Ints, Mesh, directed_edges
from sds3d.export.repair import mates
from sds3d.export.unwrap import Atlas

SAMPLES = 4  # along an edge


def seam_gap(mesh: Mesh, atlas: Atlas, texture: NDArray[np.uint8]) -> float:
    """Mean difference of the colours on both sides of the seams, in [0, 1]; 0 without seams."""
    one, other = seams(mesh, atlas)
    if not len(one):
        return 0.0
    along = (np.arange(SAMPLES, dtype=np.float32) + np.float32(0.5))[:, None, None] / SAMPLES
    sides = []
    for half, share in ((one, along), (other, 1 - along)):  # they run in opposite directions
        ends = atlas.uv[directed_edges(atlas.faces)[half]]  # (S, 2, 2)
        sides.append(bilinear(texture, (ends[:, 0] * (1 - share) + ends[:, 1] * share).reshape(-1, 2)))
    return float(np.abs(sides[0] - sides[1]).mean())


def seams(mesh: Mesh, atlas: Atlas) -> tuple[Ints, Ints]:
    """Directed edges (as in `directed_edges`) that are cut in the atlas, and those on the other side of them."""
    mate = mates(mesh)
    here = np.flatnonzero(np.arange(len(mate)) < mate)
    there = mate[here]
    cut = directed_edges(atlas.faces)
    apart = (cut[here] != cut[there][:, ::-1]).any(1)
    return here[apart].astype(np.int32), there[apart].astype(np.int32)


def bilinear(texture: NDArray[np.uint8], uv: NDArray[np.floating]) -> Floats:
    """(N, 3) in [0, 1] at (N, 2) uv, origin at the bottom left, as viewers read a texture."""
    side = len(texture)
    place = np.stack([1 - uv[:, 1], uv[:, 0]], -1) * side - 0.5  # row, column
    first = np.floor(place).astype(int)
    share = (place - first)[:, :, None]
    total = np.zeros((len(uv), 3))
    for row in (0, 1):
        for column in (0, 1):
            weight = np.abs(1 - row - share[:, 0]) * np.abs(1 - column - share[:, 1])
            at = np.clip(first + (row, column), 0, side - 1)
            total += weight * texture[at[:, 0], at[:, 1]]
    return (total / 255).astype(np.float32)
