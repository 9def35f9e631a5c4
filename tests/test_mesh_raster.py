"""The rasteriser against rays: the same cameras, the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.render.mesh import Material, Soup, concatenate, face_normals, render_soup

UNLIT: dict[str, Any] = dict(ambient=1.0, diffuse=0.0, headlight=0.0)


def quad(half: float, z: float, material: Material) -> Soup:
    """A square in the plane z, seen from +Z with uv (0, 0) at its lower left."""
    a, b, c, d = (-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)
    corners = np.array([[a, b, c], [a, c, d]], np.float32)
    uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
    return Soup(corners, face_normals(corners), uv, np.zeros(2, np.int32), [material])


def cube(half: float) -> Soup:
    """Six quads turned from one."""
    front = quad(half, half, Material((0.2, 0.4, 0.6, 1.0)))
    sides = []
    for axes, sign in (
        ((0, 1, 2), 1),
        ((0, 1, 2), -1),
        ((2, 1, 0), 1),
        ((2, 1, 0), -1),
        ((0, 2, 1), 1),
        ((0, 2, 1), -1),
    ):
        corners = front.corners[..., list(axes)] * sign
        sides.append(Soup(corners, face_normals(corners), front.uv, front.material, front.materials))
    return concatenate(sides)


def some_cameras() -> Cameras:
    fov = torch.tensor([40.0, 35.0, 45.0])
    return Cameras(torch.tensor([0.0, 35.0, -50.0]), torch.tensor([0.0, 20.0, -8.0]), fov, fit_distance(fov))


def plane_hits(cameras: Cameras, size: int, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Points where pixel rays meet the plane z, and their depth along the view axis."""
    origins, directions = cameras.rays(size)
    t = (z - origins[..., 2]) / directions[..., 2]
    points = origins + t[..., None] * directions
    depth = ((points - origins) * cameras.forward[:, None]).sum(-1)
    shape = (len(cameras), size, size)
    return points.view(*shape, 3).numpy(), depth.view(shape).numpy()


def test_textured_quad_matches_rays() -> None:
    texture = np.full((4, 4, 4), 255, np.uint8)
    texture[:2, :2, :3], texture[:2, 2:, :3] = (255, 0, 0), (0, 255, 0)  # rows grow downwards: the upper half
    texture[2:, :2, :3], texture[2:, 2:, :3] = (0, 0, 255), (255, 255, 0)
    size, half = 64, 0.6
    cameras = some_cameras()
    images, depth = render_soup(quad(half, 0.1, Material((1, 1, 1, 1), texture)), cameras, size, 1, **UNLIT)
    points, expected_depth = plane_hits(cameras, size, 0.1)
    inside = (np.abs(points[..., :2]) < half - 1e-3).all(-1)
    outside = (np.abs(points[..., :2]) > half + 1e-3).any(-1)
    assert (images[..., 3][inside] == 255).all()
    assert (images[..., 3][outside] == 0).all()
    assert np.abs(depth - expected_depth)[inside].max() < 1e-4
    # bilinear sampling mixes within a texel's half width (0.15) of the borders between the four fields and at the rim
    u, v = points[..., 0], points[..., 1]
    for (sx, sy), colour in {
        (-1, 1): (255, 0, 0),
        (1, 1): (0, 255, 0),
        (-1, -1): (0, 0, 255),
        (1, -1): (255, 255, 0),
    }.items():
        pure = (sx * u > 0.16) & (sx * u < 0.44) & (sy * v > 0.16) & (sy * v < 0.44)
        assert pure.sum() > 50
        assert (np.abs(images[pure][:, :3].astype(int) - colour) <= 1).all()


def test_cube_matches_ray_box_intersection() -> None:
    size, half = 64, 0.5
    cameras = some_cameras()
    images, depth = render_soup(cube(half), cameras, size, 1, **UNLIT)
    origins, directions = cameras.rays(size)
    near = ((-half * directions.sign() - origins) / directions).amax(-1)
    far = ((half * directions.sign() - origins) / directions).amin(-1)
    clear = ((far - near).abs() > 2e-3).view(3, size, size).numpy()  # not grazing an edge
    hit = (far > near).view(3, size, size).numpy()
    assert ((images[..., 3] == 255) == hit)[clear].all()
    along = (directions * cameras.forward[:, None]).sum(-1)
    expected = (near * along).view(3, size, size).numpy()
    assert np.abs(depth - expected)[hit & clear].max() < 1e-4
    assert (images[hit & clear][:, :3] == (51, 102, 153)).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_surface_hides_farther(order: tuple[int, int]) -> None:
    both = [quad(0.5, 0.3, Material((1, 0, 0, 1))), quad(0.5, -0.3, Material((0, 0, 1, 1)))]
    images, _ = render_soup(concatenate([both[i] for i in order]), orbit(2, 0.0), 32, 2, **UNLIT)
    assert tuple(images[0, 16, 16]) == (255, 0, 0, 255)
    assert tuple(images[1, 16, 16]) == (0, 0, 255, 255)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_translucency_resolves_to_its_alpha(alpha: float) -> None:
    images, _ = render_soup(quad(0.5, 0.0, Material((0, 1, 0, alpha))), orbit(1, 0.0), 32, 4, **UNLIT)
    centre = images[0, 12:20, 12:20]
    assert (np.abs(centre[..., 3].astype(float) - 255 * alpha) <= 0.51).all()
    assert (centre[..., :3] == (0, 255, 0)).all()


def test_hidden_texels_do_not_bleed() -> None:
    texture = np.zeros((8, 8, 4), np.uint8)  # black and transparent on the left
    texture[:, 4:] = (255, 0, 0, 255)
    images, _ = render_soup(quad(0.5, 0.0, Material((1, 1, 1, 1), texture)), orbit(1, 0.0), 64, 4, **UNLIT)
    seen = images[images[..., 3] > 0]
    assert 0 < len(seen) < 64 * 64 / 2
    assert (np.abs(seen[:, :3].astype(int) - (255, 0, 0)) <= 1).all()
    assert (images[images[..., 3] == 0] == (255, 255, 255, 0)).all()


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_shading_terms(flip: float) -> None:
    soup = quad(0.5, 0.0, Material((0.5, 0.5, 0.5, 1)))
    soup.normals = soup.normals * flip  # shading turns normals to the viewer
    lit: dict[str, Any] = dict(light=(0.0, 0.6, 0.8), ambient=0.2, diffuse=0.5, headlight=0.1)
    images, _ = render_soup(soup, orbit(1, 0.0), 16, 1, **lit)  # n = view axis: n.l = 0.8, n.view = 1
    assert abs(int(images[0, 8, 8, 0]) - 0.5 * (0.2 + 0.5 * 0.8 + 0.1) * 255) <= 1


def test_light_moves_with_the_camera() -> None:
    lit: dict[str, Any] = dict(light=(0.3, 0.2, 0.9), ambient=0.1, diffuse=0.8, headlight=0.0)
    images, _ = render_soup(cube(0.5), orbit(4, 0.0), 32, 1, **lit)
    assert (np.abs(images[1:, 16, 16].astype(int) - images[0, 16, 16]) <= 1).all()


def test_empty_soup_is_transparent() -> None:
    nothing = np.zeros((0, 3, 3), np.float32)
    soup = Soup(nothing, nothing, np.zeros((0, 3, 2), np.float32), np.zeros(0, np.int32), [])
    images, depth = render_soup(soup, orbit(2), 8)
    assert (images == (255, 255, 255, 0)).all() and (depth == 0).all()
