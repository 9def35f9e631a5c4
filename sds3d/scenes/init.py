"""First shapes of the Gaussian scene: a ball, a box, points or the surface of a file, Gaussians of a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sds3d.errors import UserError
from sds3d.render.projection import facing
from sds3d.scenes.first_file import unchanged
from sds3d.scenes.scatter import areas, scatter
from sds3d.scenes.splats_config import SplatsConfig
from sds3d.scenes.strategy import raw

if TYPE_CHECKING:
    from sds3d.assets import LoadedSplats

THIN = 0.3  # thickness of the discs over their width
EDGE = 0.02  # colours from files are kept this far from 0 and 1, where the logit does not learn
Painter = Callable[[NDArray[np.integer], NDArray[np.float32]], NDArray[np.float32]]  # face, shares -> (P, 3) sRGB
Parameters = dict[str, Tensor]  # a SplatScene's, before any optimiser has seen them


def built_in(config: SplatsConfig, generator: torch.Generator) -> Parameters:
    """The ball, or the box where `config.init` says so."""
    return _box(config, generator) if config.init == "box" else _ball(config, generator)


def of_file(config: SplatsConfig, generator: torch.Generator) -> Parameters:
    """What the file at `config.init` shows, in the unit ball. Gaussians are taken as they are; points and surfaces are
    covered with at most, or just, `config.count` of them. UserError if the file is missing, unreadable or changed."""
    from sds3d.assets import LoadedMesh, load_asset

    path = unchanged(config.init, config.init_digest)
    if (points := _points(path)) is not None:
        return of_points(*points, config, generator)
    asset = load_asset(path)
    if not isinstance(asset, LoadedMesh):
        return of_gaussians(asset, config)
    corners = asset.vertices[asset.faces]
    return of_surface(corners, lambda face, shares: asset.colors_at(face, shares)[:, :3], config, generator)


def _ball(config: SplatsConfig, generator: torch.Generator) -> Parameters:
    """Uniform in a ball, each Gaussian about as wide as the space it has."""
    n = config.count
    direction = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
    distance = config.radius * torch.rand(n, 1, generator=generator) ** (1 / 3)
    spacing = config.radius * (4 / 3 * math.pi / n) ** (1 / 3)
    return _grey(direction * distance, spacing, config.opacity, config, generator)


def _box(config: SplatsConfig, generator: torch.Generator) -> Parameters:
    """Uniform in a box, likewise."""
    half = torch.tensor(config.box)
    means = (2 * torch.rand(config.count, 3, generator=generator) - 1) * half
    return _grey(means, 2 * float(half.prod() / config.count) ** (1 / 3), config.opacity, config, generator)


def _grey(
    means: Tensor, spacing: float, opacity: float, config: SplatsConfig, generator: torch.Generator
) -> Parameters:
    n = len(means)
    return {
        "means": means,
        "quats": torch.randn(n, 4, generator=generator),
        "scales": torch.full((n, 3), math.log(config.spread * spacing)),
        "opacities": torch.full((n,), math.log(opacity / (1 - opacity))),
        "colors": torch.zeros(n, 3),
    }


def of_points(points: Tensor, colors: Tensor, config: SplatsConfig, generator: torch.Generator) -> Parameters:
    """Points (P, 3) with colours (P, 3) sRGB, drawn down to `config.count`, each Gaussian `config.spread` times as wide
    as the mean distance to its three neighbours (Kerbl et al. 2023 without the factor)."""
    from scipy.spatial import cKDTree

    if len(points) > config.count:
        chosen = torch.randperm(len(points), generator=generator)[: config.count]
        points, colors = points[chosen], colors[chosen]
    near = cKDTree(points.numpy()).query(points.numpy(), k=min(4, len(points)))[0].reshape(len(points), -1)
    spacing = near[:, 1:].mean(1) if near.shape[1] > 1 else np.full(len(points), config.radius)
    shape = _grey(points, 1.0, config.init_opacity, config, generator)
    width = (config.spread * torch.from_numpy(spacing).float()).clamp(1e-4, config.prune_scale)
    shape["scales"] = width.log()[:, None].repeat(1, 3)
    shape["colors"] = _logits(colors)
    return shape


def of_surface(
    corners: NDArray[np.float32], painter: Painter, config: SplatsConfig, generator: torch.Generator
) -> Parameters:
    """`config.count` discs over the triangles `corners` (F, 3, 3), evenly by area, their third axis along the normal,
    in the colours that `painter` tells for points given by face (P,) and shares of its corners (P, 3)."""
    triangles, n = torch.from_numpy(np.ascontiguousarray(corners)).double(), config.count
    normals = torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    total = float(areas(triangles).sum())
    if not total > 0:
        raise UserError("splats.init: there is no surface to begin with")
    face, shares = scatter(triangles, n, generator)
    means = torch.einsum("pk,pkc->pc", shares.double(), triangles[face]).float()
    shape = _grey(means, 1.0, config.init_opacity, config, generator)
    width = max(config.spread * math.sqrt(total / n), 1e-4)
    shape["quats"] = facing(torch.nn.functional.normalize(normals[face], dim=-1).float())
    shape["scales"] = torch.tensor([width, width, THIN * width]).log().repeat(n, 1)
    shape["colors"] = _logits(torch.from_numpy(painter(face.numpy(), shares.numpy())))
    return shape


def of_gaussians(loaded: LoadedSplats, config: SplatsConfig) -> Parameters:
    """The Gaussians of a file, all of them, less the scene's own filter."""
    from sds3d.scenes.from_splats import parameters

    shape = parameters(loaded.world)
    return {**shape, "scales": raw(shape["scales"].exp(), config.smooth).log()}


def _logits(colors: Tensor) -> Tensor:
    return torch.logit(colors.float(), eps=EDGE)


def _points(path: Path) -> tuple[Tensor, Tensor] | None:
    """Points (P, 3) in the unit ball and their colours (P, 3), grey where there are none, of a .ply without faces; None
    for any other file."""
    from sds3d.assets.limits import Broken, vertices_within
    from sds3d.assets.load import explained, kind_of
    from sds3d.assets.placement import enclosing
    from sds3d.assets.ply import vertex_colors, vertex_columns
    from sds3d.assets.ply_document import read_header, read_tables
    from sds3d.assets.source import open_source

    with explained(path):
        source = open_source(path)
        if kind_of(source) != "ply":
            return None
        header = read_header(source.data)
        if any(element.name == "face" and element.count for element in header.elements):
            return None
        vertices_within(header["vertex"].count)
        vertex: Any = read_tables(source.data, header, ("vertex",))["vertex"]
        points, colors = vertex_columns(vertex, "x", "y", "z"), vertex_colors(vertex)
        good = np.isfinite(points).all(1)
        if not good.any():
            raise Broken("holds no points")
        points = points[good]
        shown = np.full((len(points), 3), 0.5) if colors is None else colors[good, :3]
        centre, radius = enclosing(points)
        return torch.from_numpy((points - centre) / radius).float(), torch.from_numpy(shown).float()
