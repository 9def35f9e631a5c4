"""Colours of texels from a scene: its field between the samples of a texel, and what its views say against that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.export.mesh import Mesh
from sds3d.export.texture import Texels, bare_soup, gather, paint, rasterise, textured_soup
from sds3d.export.unwrap import Atlas
from sds3d.export.views import COVERED, Views
from sds3d.render.mesh import render_soup

ROUNDS = 2  # after them nothing is gained
COARSE = 512  # texels a side up to which the rounds are worked out


def supersampled(color: Callable[[Texels], Tensor], mesh: Mesh, atlas: Atlas, texels: Texels, samples: int) -> Tensor:
    """(N, 3) mean of `color` over samples x samples points of each texel."""
    if samples == 1:
        return color(texels)
    row = np.full((texels.side, texels.side), -1, np.int32)
    row[texels.where] = np.arange(len(texels.positions))
    total, count = torch.zeros_like(texels.positions), torch.zeros(len(texels.positions), 1)
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    for x, y in product(offsets.tolist(), offsets.tolist()):
        moved = rasterise(mesh, atlas, (x, y))
        rows = torch.from_numpy(row[moved.where])
        known = rows >= 0
        total[rows[known]] += color(moved)[known]
        count[rows[known]] += 1
    return total / count  # never 0: of any texel, a point moved towards its triangle lies in reach


def refined(mesh: Mesh, atlas: Atlas, texels: Texels, colors: Tensor, views: Views, rounds: int = ROUNDS) -> Tensor:
    """(N, 3) `colors` corrected until the mesh shows what the views show: iterative back-projection (Irani & Peleg
    1991). What the mesh lacks of each view goes to the texels that the view sees, by their viewing cosines.

    The correction depends on places and normals alone, so both sides of a seam get the same, and on the texture's size
    only through its last step: the rounds before work at up to COARSE texels a side.
    """
    small = texels if texels.side <= COARSE else rasterise(mesh, replace(atlas, texels=COARSE))
    current = colors if small is texels else _shrunk(paint(mesh, atlas, texels, colors).texture, small)
    _, depths = render_soup(bare_soup(mesh), views.cameras, views.size, supersample=1)
    lacking = torch.zeros_like(views.rgb)
    for _ in range(rounds):
        short = _difference(mesh, atlas, small, current, views)
        lacking += short
        current = (current + gather(small, depths, views, short)[0]).clamp(0, 1)
    return (colors + gather(texels, depths, views, lacking)[0]).clamp(0, 1)


def _difference(mesh: Mesh, atlas: Atlas, texels: Texels, colors: Tensor, views: Views) -> Tensor:
    """(B, 3, H, H) the views less the mesh in these colours, 0 where one of them shows background."""
    soup = textured_soup(paint(mesh, atlas, texels, colors))
    drawn, _ = render_soup(soup, views.cameras, views.size, supersample=2, ambient=1.0, diffuse=0.0, headlight=0.0)
    rgb, alpha = torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div(255).split((3, 1), 1)
    return (views.rgb - rgb) * ((alpha > COVERED) & (views.alpha[:, None] > COVERED))


def _shrunk(texture: np.ndarray, small: Texels) -> Tensor:
    """(N, 3) a large texture's colours, averaged over the texels of a smaller one of the same layout."""
    image = torch.from_numpy(texture).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, (small.side, small.side), mode="area")[0]
    return image[:, small.where[0], small.where[1]].T
