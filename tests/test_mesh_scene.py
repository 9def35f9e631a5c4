"""The mesh scene: the lattice and its surface, distances to meshes, and that distillation shapes and paints it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from sds3d.camera import orbit
from sds3d.engine.optim import Optimizers
from sds3d.engine.settings import Settings, TimeSettings
from sds3d.errors import UserError
from sds3d.export.mesh import Mesh, topology
from sds3d.export.own import own_surface
from sds3d.render.mesh_distance import inside, nearest, signed_distance
from sds3d.render.mesh_topology import bending, edges_of
from sds3d.scenes import SCENES
from sds3d.scenes.mesh import MeshConfig, MeshScene, sign_entropy
from sds3d.scenes.mesh_color import ColorConfig, HashedConfig, VoxelConfig
from sds3d.scenes.tetra import EDGES, Lattice, place
from sds3d.scenes.thin import thin_inside, within
from sds3d.streams import stream

CPU = torch.device("cpu")
FLOW = TimeSettings("flow", hi=0.99, lo=0.2)


def scene(**changes: Any) -> MeshScene:
    color = ColorConfig(dense=VoxelConfig(16, 3), base=16)
    return MeshScene.create(MeshConfig(**{"resolution": 24, "color": color, **changes}), CPU, stream(0, "init"))


def box(extents: tuple[float, float, float] = (0.9, 0.6, 0.4)) -> Any:
    return trimesh.creation.box(extents)


def red_right(corners: np.ndarray) -> Any:
    """A painter: red where x > 0, blue elsewhere."""

    def paint(face: np.ndarray, shares: np.ndarray) -> np.ndarray:
        x = np.einsum("pk,pk->p", shares, corners[face][..., 0])
        return np.where(x[:, None] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]]).astype(np.float32)

    return paint


@pytest.mark.parametrize("cells", [7, 16])
def test_the_tetrahedra_fill_space_and_are_all_alike(cells: int) -> None:
    """Twelve tetrahedra a cell but for the half ones at the border, each 1/12 of a cell; edges 1 and sqrt(3)/2."""
    lattice = Lattice(cells, 1.0, CPU)
    every = torch.zeros(len(lattice.points), dtype=torch.bool)
    every[::2] = True  # some corners of every cell: all are active
    tets, numbers = lattice._active(every)
    assert len(tets) == 12 * cells**2 * (cells - 1)
    p = lattice.points[tets]
    volume = torch.linalg.det(p[:, 1:] - p[:, :1]) / 6
    torch.testing.assert_close(volume.abs(), torch.full_like(volume, lattice.spacing**3 / 12), rtol=1e-3, atol=0)
    assert (volume > 0).all() or (volume < 0).all()
    lengths = torch.stack([(p[:, a] - p[:, b]).norm(dim=-1) for a, b in EDGES], -1) / lattice.spacing
    assert (((lengths - 1).abs() < 1e-3) | ((lengths - math.sqrt(0.75)).abs() < 1e-3)).all()
    pairs = torch.stack([tets[:, list(e)].sort(-1).values for e in EDGES], 1).view(-1, 2)
    by_number = {int(n): tuple(pair) for n, pair in zip(numbers.flatten(), pairs.tolist(), strict=True)}
    assert len(by_number) == len(set(by_number.values())), "an edge has two numbers"
    assert all(by_number[int(n)] == tuple(pair) for n, pair in zip(numbers.flatten(), pairs.tolist(), strict=True))


@pytest.mark.parametrize("shape", ["ball", "torus", "noise"])
def test_surfaces_are_closed_manifold_and_look_outwards(shape: str) -> None:
    lattice = Lattice(20, 1.0, CPU)
    x, y, z = lattice.points.unbind(-1)
    fields = {
        "ball": lattice.points.norm(dim=-1) - 0.63,
        "torus": ((x.square() + z.square()).sqrt() - 0.55).square() + y.square() - 0.04,
        "noise": torch.maximum(torch.randn(len(x), generator=stream(0, "noise")), lattice.points.norm(dim=-1) - 0.8),
    }
    sdf = fields[shape]
    cut = lattice.crossings(sdf)
    vertices = place(lattice.points, sdf, cut)
    mesh = trimesh.Trimesh(vertices.numpy(), cut.faces.numpy(), process=False)
    kind = topology(Mesh(vertices.numpy(), cut.faces.int().numpy()))
    assert kind.watertight and kind.manifold and mesh.is_winding_consistent
    assert (sdf[cut.ends[:, 0]] < 0).all() and (sdf[cut.ends[:, 1]] >= 0).all()
    if shape == "ball":
        assert mesh.euler_number == 2 and mesh.volume == pytest.approx(4 / 3 * math.pi * 0.63**3, rel=0.01)
        assert (vertices.norm(dim=-1) - 0.63).abs().max() < 2e-3
    if shape == "torus":
        assert mesh.euler_number == 0 and mesh.volume == pytest.approx(2 * math.pi**2 * 0.55 * 0.04, rel=0.06)


def test_an_empty_and_a_full_lattice_have_no_surface() -> None:
    lattice = Lattice(8, 1.0, CPU)
    for value in (1.0, -1.0):
        cut = lattice.crossings(torch.full((len(lattice.points),), value))
        assert len(cut.ends) == 0 and len(cut.faces) == 0


def test_distances_to_a_mesh_are_those_of_a_box() -> None:
    corners = box().triangles.astype(np.float32)
    n, spacing = 25, 2 / 24
    grid = signed_distance(corners, -1.0, spacing, n, 0.3)
    line = -1 + spacing * np.arange(n)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    q = np.abs(np.stack([x, y, z], -1)) - np.array([0.45, 0.3, 0.2])
    exact = np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)
    near = np.abs(exact) < 0.29
    np.testing.assert_allclose(grid[near], exact[near], atol=1e-5)
    assert (np.sign(grid) == np.sign(exact))[np.abs(exact) > 1e-4].all() and (grid[~near & (exact > 0)] > 0.28).all()
    found = nearest(corners, -1.0, spacing, n, 0.3)
    hit = found.face >= 0
    at = np.einsum("pk,pkc->pc", found.shares[hit], corners[found.face[hit]])
    points = np.stack([x, y, z], -1)[hit]
    np.testing.assert_allclose(np.linalg.norm(at - points, axis=1), found.distance[hit], atol=1e-5)


def test_a_hole_does_not_turn_a_mesh_inside_out() -> None:
    corners = box().triangles.astype(np.float32)
    whole, holed = inside(corners, -1.0, 0.1, 21), inside(corners[1:], -1.0, 0.1, 21)
    assert whole.sum() > 100 and (whole == holed).all()


def test_a_mesh_comes_in_and_goes_out_the_same() -> None:
    mine, mesh = scene(resolution=40), box()
    mine.start_from(mesh.triangles.astype(np.float32), red_right(mesh.triangles))
    surface = own_surface(mine, 100_000)
    assert surface is not None and surface.fine is None
    out = trimesh.Trimesh(surface.mesh.vertices, surface.mesh.faces)
    assert out.is_watertight and out.volume == pytest.approx(mesh.volume, rel=0.03)
    field = mine.surface()
    points = torch.tensor([[0.45, 0.0, 0.0], [-0.45, 0.1, 0.1], [0.0, 0.0, 0.0], [0.7, 0.0, 0.0]])
    right, left, *_ = field.color(points).tolist()
    assert right[0] > 0.8 and right[2] < 0.2 and left[2] > 0.8 and left[0] < 0.2
    density = field.density(points).tolist()
    assert density[0] == pytest.approx(0.5, abs=0.1) and density[2] > 0.9 and density[3] < 0.1


def test_a_decimated_mesh_keeps_what_a_normal_map_is_made_of() -> None:
    fewer = own_surface(scene(resolution=16), 500)
    assert fewer is not None and fewer.fine is not None
    assert len(fewer.mesh.faces) <= 500 < len(fewer.fine.faces)


def stool() -> Any:
    """A seat on two legs and a cloth of no thickness; the lattice's cells are 0.083 wide."""
    seat = trimesh.creation.box((1.0, 0.2, 0.5))
    legs = [trimesh.creation.box((0.03, 0.8, 0.02)).apply_translation((x, -0.4, 0.013)) for x in (-0.37, 0.4)]
    cloth = trimesh.Trimesh(
        [[-0.3, 0, 0.03], [0.3, 0, 0.03], [0.3, 0.6, 0.0], [-0.3, 0.6, 0.0]], [[0, 1, 2], [0, 2, 3]]
    )
    return trimesh.util.concatenate([seat, *legs, cloth])


def test_thin_parts_are_kept_and_nothing_else_grows() -> None:
    mine, mesh = scene(), stool()
    mine.start_from(mesh.triangles.astype(np.float32), red_right(mesh.triangles))
    out = own_surface(mine, 100_000)
    assert out is not None
    kept, cells = trimesh.Trimesh(out.mesh.vertices, out.mesh.faces), 2 / 24
    assert kept.is_watertight and kept.body_count == 1
    np.testing.assert_allclose(kept.bounds, mesh.bounds, atol=0.06)
    assert np.ptp(kept.vertices[kept.vertices[:, 1] < -0.3][:, 2]) < 1.6 * cells, "the legs are fat"
    with torch.no_grad():
        mine.distances.levels[-1] += 1.0  # away with everything, but for what is thin
    worn = mine.own_mesh()
    for height in (-0.7, -0.52, -0.33):
        rings = trimesh.Trimesh(worn.vertices, worn.faces).section([0, 1, 0], [0, height, 0]).discrete
        assert len(rings) == 2 and min(np.ptp(ring, 0)[[0, 2]].min() for ring in rings) > 0.3 * cells, "threads"
    assert worn.vertices[:, 1].min() < -0.75 and worn.vertices[:, 1].max() > 0.55, "the legs or the cloth are gone"
    assert worn.vertices[:, 2].min() > -0.1, "the seat is not thin"
    again = scene()
    again.load_state_dict({name: value.clone() for name, value in mine.state_dict().items()})
    assert torch.equal(again.own_mesh().vertices, worn.vertices)
    with torch.no_grad():
        mine.distances.levels[-1].fill_(-1.0)  # everywhere with it, but for around what is thin
    grown, corners = mine.sdf(), mine.lattice.points
    beside = (corners[:, 1] + 0.5).abs() < 0.2
    for x in (-0.37, 0.4):
        away = torch.maximum((corners[:, 0] - x).abs(), (corners[:, 2] - 0.013).abs())
        assert (grown[beside & (away > 0.8 * cells) & (away < 1.6 * cells)] > 0).all(), "a leg is fat"
    ball = mine.lattice.points.norm(dim=-1) - 0.6
    assert not thin_inside(ball, mine.lattice).any(), "a ball has no thin part"
    solid = scene(smooth=0)  # whose rounds move corners by less than 0.001
    plain = box((0.9, 0.6, 0.4)).apply_translation((0.02, 0.03, 0.01))
    solid.start_from(plain.triangles.astype(np.float32), red_right(plain.triangles))
    surface = own_surface(solid, 100_000)
    assert surface is not None
    assert (np.abs(surface.mesh.vertices - [0.02, 0.03, 0.01]).max(0) < [0.455, 0.305, 0.205]).all(), "corners grew"


@pytest.mark.parametrize(("width", "out"), [(0.3, True), (0.9, True), (0.7, False), (1.2, True)])
def test_thin_sheets_have_no_holes(width: float, out: bool) -> None:
    """A tilted board comes out as one without handles, a cell thick at least, whichever way its faces look."""
    cell, turn = 2 / 24, trimesh.transformations.rotation_matrix(0.3, [1, 0.3, 0.4])
    board = trimesh.creation.box((1.1, width * cell, 0.9)).apply_transform(turn)
    corners = board.triangles.astype(np.float32)
    mine = scene()
    mine.start_from(corners if out else corners[:, ::-1].copy(), red_right(corners))
    own = mine.own_mesh()
    assert trimesh.Trimesh(own.vertices, own.faces).euler_number == 2
    heights = np.abs(own.vertices.numpy() @ turn[:3, 1]) / cell
    assert 1.0 < 2 * heights.mean() < 1.2 and 2 * heights.max() < 1.4


def test_the_lattice_does_not_show() -> None:
    """Unevenness from one of its vertices to the next goes: faces meet at much smaller angles. The ball stays."""
    bends, volumes = [], []
    for rounds in (0, MeshConfig().smooth):
        mine = scene(smooth=rounds)
        with torch.no_grad():
            mine.distances.levels[-1] += 0.01 * torch.randn(25, 25, 25, 1, generator=stream(0, "noise"))
        own = mine.own_mesh()
        bends.append(bending(own.vertices, own.faces, edges_of(own.faces)).item())
        volumes.append(trimesh.Trimesh(own.vertices, own.faces).volume)
    assert bends[1] < bends[0] / 2
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def test_it_begins_as_a_file(tmp_path: Path) -> None:
    mesh = box((0.8, 0.4, 0.4)).apply_translation((9.0, 0, 0))
    mesh.visual.vertex_colors = (200, 30, 30, 255)
    mesh.export(tmp_path / "box.ply")
    mine = scene(init=str(tmp_path / "box.ply"))
    out = mine.own_mesh()
    low, high = out.vertices.min(0).values, out.vertices.max(0).values
    assert torch.allclose(high, torch.tensor([0.8, 0.4, 0.4]), atol=0.05) and torch.allclose(low, -high, atol=0.05)
    assert mine.surface().color(torch.tensor([[0.8, 0.0, 0.0]]))[0].tolist() == pytest.approx(
        [0.78, 0.12, 0.12], abs=0.02
    )
    with pytest.raises(UserError, match="not the file"):
        scene(init=str(tmp_path / "box.ply"), init_digest="0" * 64)


@pytest.mark.parametrize("encoding", ["dense", "hash"])
def test_pictures_shape_it_and_paint_it(encoding: str) -> None:
    """Pulled towards pictures of a flat red box, the grey ball becomes one: IoU of new views above 0.9."""
    target = scene(resolution=32)
    mesh = box((1.1, 0.7, 0.5))
    target.start_from(mesh.triangles.astype(np.float32), lambda f, s: np.full((len(f), 3), (0.8, 0.2, 0.1), np.float32))
    color = ColorConfig(encoding, VoxelConfig(16, 3), HashedConfig(4, 2, 12, 4, 32, 16), base=4, lr=(0.1, 0.1))
    mine = scene(init="ball", supersample=1, color=color, bending=(0.0, 0.0), eikonal=(0.01, 0.01))
    groups = mine.parameters()
    optimiser = torch.optim.Adam([{"params": g.params, "lr": 3 * g.lr} for g in groups], betas=(0.9, 0.99))
    white = torch.ones(4, 3)
    for step in range(60):
        cameras = orbit(4, elevation=(step * 37) % 90 - 30.0, start=step * 25.0)
        with torch.no_grad():
            wanted = target.render(cameras, 32, white).rgb
        frame = mine.render(cameras, 32, white)
        loss = (frame.rgb - wanted).square().sum(1).mean() + mine.regulariser(frame, step / 60)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        cameras = orbit(4, elevation=20.0, start=17.0)
        got, wanted = (s.render(cameras, 48, white) for s in (mine, target))
    a, b = got.alpha > 0.5, wanted.alpha > 0.5
    assert (a & b).sum() / (a | b).sum() > 0.9
    both = (a & b).expand_as(got.rgb)
    assert (got.rgb - wanted.rgb)[both].abs().mean() < 0.08


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_more_steps_go_no_farther(strength: float) -> None:
    """Noise that sticks to the object pulls the same way at every step: however many there are, a mid-tone moves by the
    same amount and a surface as far, less at less strength. The ways of 30 and of 180 steps differ by less than 5 %."""
    ends = []
    for steps in (30, 180):
        mine = scene(init="ball", lr_steps=30, resolution=8, color=ColorConfig(dense=VoxelConfig(4, 2), base=4))
        settings = Settings("a box", scene="mesh", steps=steps, strength=strength, time=FLOW)
        adams = Optimizers(mine.parameters(), settings.whole_steps)
        at = torch.zeros(1, 3)
        for step in range(steps):
            darker = mine.color.learned(mine.color.table(), at).sum()
            (darker - mine.distances.table().sum()).backward()
            adams.step(step / steps)
            adams.zero_grad()
        logits = mine.color.learned(mine.color.table(), at)[0]
        ends.append((logits.mean().item(), mine.distances.table().max().item()))
    (color, shift), more = ends
    assert more == pytest.approx((color, shift), rel=0.05)
    share = FLOW.share(strength)
    assert color == pytest.approx(-30 * 2 * share * 0.02 / math.log(3), rel=0.05)  # 2 levels, rates 0.03 to 0.01


def test_after_a_stage_all_rates_are_a_share() -> None:
    """Refining what is good already must not darken it; a ball and a file have everything before them."""
    whole, later = (scene(init=init, after_stage=0.25).parameters() for init in ("ball", "grid"))
    assert [g.name for g in whole] == ["distances", "shifts", "color"]
    for full, share in zip(whole, later, strict=True):
        assert (share.lr, share.final, share.steps) == (full.lr / 4, full.final / 4, full.steps)


def test_limits_hold_and_let_back() -> None:
    """Beyond a limit nothing pulls farther out, and what pulls back does."""
    values = torch.tensor([-2.0, 0.5, 2.0], requires_grad=True)
    for pull, expected in ((1.0, [1.0, 1.0, 0.0]), (-1.0, [0.0, -1.0, -1.0])):
        held = within(values, -torch.ones(3), torch.ones(3))
        assert held.tolist() == [-1.0, 0.5, 1.0]
        values.grad = None
        (-pull * held).sum().backward()
        assert values.grad is not None and (-values.grad).tolist() == expected


def test_light_is_for_training_and_changes_nothing_else() -> None:
    lit, plain = scene(light="camera"), scene()
    white, cameras = torch.ones(2, 3), orbit(2)
    assert not torch.allclose(lit.render(cameras, 24, white).rgb, plain.render(cameras, 24, white).rgb, atol=0.02)
    with torch.no_grad():
        assert torch.equal(lit.render(cameras, 24, white).rgb, plain.render(cameras, 24, white).rgb)


def test_regularisers_pull_where_they_should() -> None:
    """The eikonal term undoes a stretch of the distances; the sign entropy is that of its formula."""
    stretched, plain = scene(eikonal=(1.0, 1.0), bending=(0.0, 0.0)), scene(eikonal=(1.0, 1.0), bending=(0.0, 0.0))
    stretched.start *= 2
    terms = [s.regulariser(s.render(orbit(1), 16, torch.ones(1, 3)), 0.5) for s in (stretched, plain)]
    assert terms[0].item() == pytest.approx(1.0, abs=0.15) and terms[1].item() < 0.02
    values = torch.tensor([[-2.0, 1.0]])
    expected = math.log(1 + math.exp(2.0)) + math.log(1 + math.exp(1.0))  # H(sigmoid(a), b > 0) + H(sigmoid(b), a > 0)
    assert sign_entropy(values).item() == pytest.approx(expected, rel=1e-5)


def test_a_state_is_restored_exactly() -> None:
    first, second = scene(), scene()
    first.start_from(box().triangles.astype(np.float32), red_right(box().triangles))
    with torch.no_grad():
        for group in first.parameters():
            for p in group.params:
                p += 0.01 * torch.randn(p.shape, generator=stream(0, group.name))
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    with torch.no_grad():
        a, b = (s.render(orbit(2), 24, torch.ones(2, 3)).rgb for s in (first, second))
    assert torch.equal(a, b)


def test_a_scene_that_vanished_says_so_and_still_renders() -> None:
    gone = scene()
    gone.start += 10
    frame = gone.render(orbit(1), 16, torch.ones(1, 3))
    frame.rgb.sum().backward()
    assert frame.alpha.max() == 0 and torch.equal(frame.rgb, torch.ones(1, 3, 16, 16))
    assert gone.regulariser(frame, 0.0) == 0
    with pytest.raises(UserError, match="vanished"):
        gone.own_mesh()


@pytest.mark.parametrize(
    "changes",
    [{"resolution": 4}, {"radius": 1.2}, {"supersample": 0}, {"keep": 1.0}, {"smooth": -1}, {"after_stage": 0.0}],
)
def test_mistakes_are_told(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"mesh.{next(iter(changes))}"):
        MeshConfig(**changes)


def test_the_scene_is_listed_and_follows_others() -> None:
    assert SCENES["mesh"].follows and not SCENES["grid"].follows
