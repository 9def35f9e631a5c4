"""The differentiable mesh renderer against exact coverage, finite differences, and its own other backend."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.render.mesh_draw import Drawn, Light, draw
from sds3d.render.mesh_raster import project, rasterise, rasterise_torch
from sds3d.render.mesh_silhouette import antialias, find_outline, find_torch, outline_of
from sds3d.render.mesh_topology import Edges, bending, edges_of, laplacian, taubin, vertex_normals
from sds3d.scenes.tetra import Lattice, place

CPU = torch.device("cpu")
CAMERAS = orbit(3, elevation=21.0, start=13.0)


@pytest.fixture(scope="module")
def egg() -> tuple[Tensor, Tensor]:
    """A smooth closed surface with triangles of about a pixel."""
    lattice = Lattice(24, 1.0, CPU)
    sdf = (lattice.points * torch.tensor([1.0, 1.5, 1.2])).norm(dim=-1) - 0.6
    cut = lattice.crossings(sdf)
    return place(lattice.points, sdf, cut), cut.faces


def see(vertices: Tensor, faces: Tensor, size: int = 48, cameras: Cameras = CAMERAS, **options: object) -> Drawn:
    background = torch.tensor([1.0, 0.6, 0.2]).expand(len(cameras), 3)

    def blue(points: object) -> Tensor:
        return torch.tensor([0.1, 0.3, 0.8]).expand(len(points.positions), 3)  # type: ignore[attr-defined]

    return draw(vertices, faces, edges_of(faces), cameras, size, background, blue, **options)  # type: ignore[arg-type]


def triangle_camera() -> Cameras:
    fov = torch.tensor([40.0])
    return Cameras(torch.zeros(1), torch.zeros(1), fov, fit_distance(fov))


@pytest.mark.parametrize("turn", [0.0, 10.0, 33.0, 45.0, 80.0])
def test_a_triangle_covers_its_area(turn: float) -> None:
    """Alpha is exact for straight edges but for pixels that hold a corner: area in pixels within 0.5 %."""
    angle = torch.deg2rad(torch.tensor([90.0, 210.0, 330.0]) + turn)
    vertices = torch.stack([0.7 * angle.cos(), 0.7 * angle.sin(), torch.zeros(3)], -1)
    seen = see(vertices, torch.tensor([[0, 1, 2]]), 64, triangle_camera())
    pixel = triangle_camera().distance / triangle_camera().focal(64)
    area = 3 * math.sqrt(3) / 4 * 0.7**2 / pixel.item() ** 2
    assert seen.alpha.sum().item() == pytest.approx(area, rel=5e-3)
    assert seen.rgb[0, :, 32, 32].tolist() == pytest.approx([0.1, 0.3, 0.8])
    assert seen.depth[0, 0, 32, 32].item() == pytest.approx(triangle_camera().distance.item(), rel=1e-4)


def test_triangles_smaller_than_a_pixel_have_smooth_outlines_too(egg: tuple[Tensor, Tensor]) -> None:
    """Against 8 x 8 samples a pixel: RMS error over the outline's pixels below 6 % of full coverage."""
    truth, quick = see(*egg, supersample=8).alpha, see(*egg).alpha
    rim = (truth > 0.02) & (truth < 0.98)
    hard = see(*egg, supersample=1).alpha.round()
    error = (quick - truth)[rim].square().mean().sqrt()
    assert error < 0.06 and error < 0.25 * (hard - truth)[rim].square().mean().sqrt()


MOVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x": lambda v, t: v + t * torch.tensor([1.0, 0.0, 0.0]),
    "y": lambda v, t: v + t * torch.tensor([0.0, 1.0, 0.0]),
    "size": lambda v, t: v * (1 + t),
    "height": lambda v, t: v * (1 + t * torch.tensor([0.0, 1.0, 0.0])),
}


def slope(picture: Callable[[Tensor], Tensor], step: float) -> tuple[float, float]:
    """Derivative at 0 by autograd and by central differences."""
    t = torch.zeros((), requires_grad=True)
    (gradient,) = torch.autograd.grad(picture(t), t)
    with torch.no_grad():
        difference = (picture(torch.tensor(step)) - picture(torch.tensor(-step))) / (2 * step)
    return gradient.item(), difference.item()


@pytest.mark.parametrize("move", MOVES)
def test_outlines_pull_as_finite_differences_say(egg: tuple[Tensor, Tensor], move: str) -> None:
    """The coverage under a smooth weight, moved by a quarter of a pixel: within 3 % and 1 % of growth."""
    vertices, faces = egg
    axis = torch.linspace(-1, 1, 48)
    weight = torch.sin(3 * axis)[:, None] + torch.cos(2 * axis + 0.3)

    def picture(t: Tensor) -> Tensor:
        return (see(MOVES[move](vertices, t), faces).alpha * weight).sum()

    scale = slope(lambda t: (see(MOVES["size"](vertices, t), faces).alpha).sum(), 0.01)[1]
    gradient, difference = slope(picture, 0.01)
    assert abs(gradient - difference) < 0.03 * abs(difference) + 0.01 * scale


@pytest.mark.parametrize("what", ["depth", "normal", "shade"])
def test_the_inside_pulls_as_finite_differences_say(egg: tuple[Tensor, Tensor], what: str) -> None:
    """A dent in the side that a camera sees, away from the outline: within 2 %."""
    vertices, faces = egg
    camera = orbit(1, elevation=21.0, start=13.0)
    towards = -camera.forward[0]
    bump = torch.exp(-(vertices - 0.5 * towards).square().sum(-1, keepdim=True) / 0.02)
    middle = slice(18, 30)

    def picture(t: Tensor) -> Tensor:
        seen = see(vertices + t * bump * (towards + torch.tensor([0.3, 0.1, 0.0])), faces, 48, camera, light=Light())
        image = {"depth": seen.depth, "normal": seen.normal[:, :2], "shade": seen.rgb}[what][..., middle, middle]
        return (image * torch.linspace(0, 1, 12)).sum()

    gradient, difference = slope(picture, 3e-3)
    assert gradient == pytest.approx(difference, rel=0.02) and abs(difference) > 0.1


def test_colours_that_depend_on_parameters_are_differentiated_exactly(egg: tuple[Tensor, Tensor]) -> None:
    vertices, faces = egg
    edges, background = edges_of(faces), torch.ones(len(CAMERAS), 3)

    def picture(t: Tensor) -> Tensor:
        def color(points: object) -> Tensor:
            return torch.sigmoid(points.positions * (1 + t))  # type: ignore[attr-defined]

        return draw(vertices, faces, edges, CAMERAS, 32, background, color).rgb.square().sum()

    gradient, difference = slope(picture, 1e-2)
    assert gradient == pytest.approx(difference, rel=2e-3)


def test_the_torch_path_is_the_numba_path(egg: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, not triangle numbers: where two triangles tie, either may win."""
    vertices, faces = egg
    screen = project(vertices, CAMERAS, 64)
    numba, torch_ = rasterise(screen, faces, 64), rasterise_torch(screen, faces, 64)
    assert (numba.face == torch_.face).float().mean() > 0.999
    torch.testing.assert_close(numba.inverse, torch_.inverse, atol=1e-5, rtol=0)
    edges = edges_of(faces)
    image = torch.where(numba.face >= 0, 1.0, 0.0)[..., None]
    by_numba = antialias(image, screen, edges, find_outline(screen, edges, numba))
    by_torch = antialias(image, screen, edges, outline_of(find_torch(screen, edges, numba)))
    assert ((by_numba - by_torch).abs() > 1e-3).sum() <= 3
    assert (by_numba != image).sum() > 100
    monkeypatch.setattr("sds3d.render.mesh_raster.CHUNK", 1000)  # in pieces it is the same
    assert torch.equal(rasterise_torch(screen, faces, 64).face, torch_.face)


def test_faces_behind_the_camera_and_degenerate_ones_are_not_drawn() -> None:
    ahead = torch.tensor([[0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [-0.2, 0.0, 0.0]])
    behind = ahead + torch.tensor([0.0, 0.0, 10.0])
    vertices, faces = torch.cat([ahead, behind]), torch.tensor([[0, 1, 2], [3, 4, 5], [0, 1, 5], [0, 0, 1]])
    for path in (rasterise, rasterise_torch):
        hits = path(project(vertices, triangle_camera(), 32), faces, 32)
        assert set(hits.face.unique().tolist()) == {-1, 0}


def test_edges_know_their_faces_and_opposite_corners() -> None:
    edges = edges_of(torch.tensor([[0, 1, 2], [2, 1, 3]]))
    by_ends = {
        tuple(e): (o, f)
        for e, o, f in zip(edges.ends.tolist(), edges.opposite.tolist(), edges.faces.tolist(), strict=True)
    }
    assert by_ends[1, 2] == ([3, 0], [1, 0]) and by_ends[0, 1] == ([2, -1], [0, -1]) and len(by_ends) == 5


def test_regularisers_of_shapes_whose_values_are_known() -> None:
    fold = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1]])  # the planes z = 0 and y = 0
    assert bending(fold, faces, edges_of(faces)).item() == pytest.approx(1.0)
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, -1, 0]])
    assert bending(flat, faces, edges_of(faces)).item() == pytest.approx(0.0, abs=1e-6)
    line = torch.tensor([[0, 1, 2]])
    assert laplacian(torch.tensor([[0.0, 0, 0], [2, 0, 0], [1, 0, 0]]), edges_of(line)).item() == pytest.approx(1.5)
    ball = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), dim=-1)
    assert torch.allclose(vertex_normals(ball, line), torch.full((3, 3), 3**-0.5))


def test_smoothing_takes_what_changes_quickly_and_leaves_what_changes_slowly() -> None:
    """On a ring of n vertices a wave of m periods is scaled by (1 - 0.5 k)(1 + 0.53 k) a round, k = 1 - cos(2 pi m / n)
    (Taubin 1995), so that a zigzag all but goes; what has no edge stays."""
    n, rounds = 12, 4
    at = torch.arange(n)
    none = torch.full((n, 2), -1)
    ring = Edges(torch.stack([at, (at + 1) % n], -1), none, none)
    waves = torch.stack([torch.cos(2 * torch.pi * m * at / n) for m in (1, 3, 6)], -1)
    alone = torch.tensor([[0.7, -0.2, 3.0]])
    k = 1 - torch.cos(2 * torch.pi * torch.tensor([1.0, 3.0, 6.0]) / n)
    share = ((1 - 0.5 * k) * (1 + 0.53 * k)) ** rounds
    assert share[0] > 0.98 and share[2] < 1e-6
    smoothed = taubin(torch.cat([waves, alone]), ring, rounds)
    torch.testing.assert_close(smoothed, torch.cat([waves * share, alone]), atol=1e-6, rtol=0)
