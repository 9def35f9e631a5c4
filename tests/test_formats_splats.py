"""Gaussians out and back in: by readers that are not ours, and by ours."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest
import torch
from asset_files import ply, ply_vertices

from sds3d.assets import Gaussians, Placement, load_splats
from sds3d.assets.gaussians import SH0, harmonics
from sds3d.assets.placement import HALF_TURN, orientation
from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.export import export_asset, splat_files
from sds3d.export.compressed import write_compressed_ply
from sds3d.export.splat_files import write_ply, write_splat
from sds3d.export.spz import fraction_bits, write_spz
from sds3d.render.projection import rotation_matrices
from sds3d.render.splats import render_splats
from sds3d.scenes.from_splats import scene_from_splats


def cloud(n=700, degree=3, seed=3, spread=0.4):
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(n, 4))
    return Gaussians(
        *(
            part.astype(np.float32)
            for part in (
                rng.normal(size=(n, 3)) * spread,
                rng.uniform(-6, -2, (n, 3)),
                quats / np.linalg.norm(quats, axis=1, keepdims=True),
                rng.uniform(-4, 5, n),
                np.concatenate([rng.normal(size=(n, 1, 3)), rng.uniform(-0.9, 0.9, (n, (degree + 1) ** 2 - 1, 3))], 1),
            )
        )
    )


def matrices(quats):
    return rotation_matrices(torch.from_numpy(np.ascontiguousarray(quats, np.float32))).numpy()


def angles(a, b):
    """Degrees between the rotations of two sets of quaternions."""
    a, b = (q / np.linalg.norm(q, axis=1, keepdims=True) for q in (a.astype(float), b.astype(float)))
    return np.degrees(2 * np.arccos(np.clip(np.abs((a * b).sum(1)), 0, 1)))


def alpha(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_splat_ply_round_trip_is_exact(tmp_path):
    """3DGS .ply -> scene -> .ply: the same bytes for our own files, whatever their place and number of harmonics."""
    for degree, spread, shift in ((0, 0.2, 0.0), (3, 3.0, 50.0), (1, 1e-3, 0.0)):
        splats = cloud(300, degree, spread=spread)
        splats.means[:] += np.float32(shift)
        write_ply(tmp_path / "in.ply", splats)
        scene = scene_from_splats(load_splats(tmp_path / "in.ply"))
        export_asset(scene, tmp_path / "out", ["ply"])
        assert (tmp_path / "out" / "asset.ply").read_bytes() == (tmp_path / "in.ply").read_bytes()


def test_a_foreign_splat_ply_keeps_its_values(tmp_path):
    """Other columns, another order, faint and infinitely opaque Gaussians, quaternions of any length, text."""
    splats = cloud(50, 2, spread=7)
    names = [f"f_rest_{i}" for i in range(24)] + ["extra", "rot_0", "rot_1", "rot_2", "rot_3", "opacity"]
    names += ["x", "y", "z", "scale_0", "scale_1", "scale_2", "f_dc_0", "f_dc_1", "f_dc_2"]
    rows = np.zeros(50, [(n, "f8" if n in "xyz" else "f4") for n in names])
    rest = splats.sh[:, 1:].transpose(0, 2, 1).reshape(50, -1)
    values = np.concatenate([rest, rest[:, :1], splats.quats * 3, splats.opacities[:, None] * 4], 1)
    values = np.concatenate([values, splats.means, splats.scales, splats.sh[:, 0]], 1)
    for i, name in enumerate(names):
        rows[name] = values[:, i]
    rows["opacity"][0] = np.inf
    for order in (">", ""):
        (tmp_path / "f.ply").write_bytes(ply(order, vertex=rows))
        export_asset(scene_from_splats(load_splats(tmp_path / "f.ply")), tmp_path / "out", ["ply"])
        back = ply_vertices(tmp_path / "out" / "asset.ply")
        for name in set(names) - {"extra"}:
            assert np.array_equal(back[name], rows[name].astype(np.float32)), name


def test_a_loaded_scene_is_drawn_as_viewers_do_all_along(tmp_path):
    """Its Gaussians were not made for our filter nor for a dilation that narrows."""
    write_ply(tmp_path / "in.ply", cloud(40, 0, spread=0.3))
    loaded = load_splats(tmp_path / "in.ply")
    scene, camera = scene_from_splats(loaded), orbit(1)
    parts = (loaded.tensors()[name] for name in ("means", "quats", "scales", "opacities", "colors"))
    seen = render_splats(*parts, camera, 32, torch.ones(1, 3)).rgb
    for scene.progress in (0.0, 1.0):
        assert torch.allclose(scene.render(camera, 32, torch.ones(1, 3)).rgb, seen, atol=1e-3)


def test_what_a_scene_changed_is_written_and_the_rest_is_not_touched(tmp_path):
    splats = cloud(40, 1, spread=3)
    write_ply(tmp_path / "in.ply", splats)
    scene = scene_from_splats(load_splats(tmp_path / "in.ply"))
    with torch.no_grad():
        scene.params["means"][7] += 0.01
        scene.params["opacities"][9] += 1
    export_asset(scene, tmp_path, ["ply"])
    before, after = (ply_vertices(tmp_path / name) for name in ("in.ply", "asset.ply"))
    changed = {name: np.flatnonzero(before[name] != after[name]).tolist() for name in before.dtype.names}
    assert {name for name, rows in changed.items() if rows} == {"x", "y", "z", "opacity"}
    assert changed["x"] == [7] and changed["opacity"] == [9]
    radius = load_splats(tmp_path / "in.ply").placement.radius
    assert after["x"][7] - before["x"][7] == pytest.approx(-0.01 * radius, rel=1e-3)
    assert after["opacity"][9] - before["opacity"][9] == pytest.approx(1, abs=1e-4)


def test_a_changed_scene_keeps_its_harmonics_in_every_format_that_has_any(tmp_path):
    """Also where Gaussians went, so that none can be told from the file's."""
    splats = cloud(60, 2, spread=0.3)
    splats.means[0] = 0.9, 0, 0
    splats.sh[:, 0] = splats.sh[:, 0].clip(-1, 1)
    write_ply(tmp_path / "in.ply", splats)
    scene = scene_from_splats(load_splats(tmp_path / "in.ply"))
    scene.start({name: value.detach()[:50] for name, value in scene.params.items()})
    means = scene.params["means"].detach().numpy()
    export_asset(scene, tmp_path, ["ply", "spz", "ply-compressed"])
    for name, step in (("asset.ply", 1e-5), ("asset.spz", 1 / 128), ("asset.compressed.ply", 1 / 32)):
        loaded = load_splats(tmp_path / name)
        order = [int(np.abs(loaded.world.means - mean).sum(1).argmin()) for mean in means]
        expected = splats[:50].turned(HALF_TURN).sh[:, 1:]
        assert len(loaded) == 50 and np.abs(loaded.world.sh[order][:, 1:] - expected).max() <= step, name


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_keeps_all_within_its_steps(tmp_path, degree):
    splats = cloud(500, degree)
    write_spz(tmp_path / "a.spz", splats)
    loaded = load_splats(tmp_path / "a.spz").stored
    assert np.abs(loaded.means - splats.means).max() <= 2.0**-17
    assert np.abs(loaded.scales - splats.scales).max() <= 1 / 32 + 1e-6
    assert np.abs(alpha(loaded.opacities) - alpha(splats.opacities)).max() <= 0.5 / 255 + 1e-6
    inside = np.abs(splats.sh[:, 0]) < 3.3
    assert np.abs(loaded.sh[:, 0] - splats.sh[:, 0])[inside].max() <= 0.5 / 255 / 0.15 + 1e-6
    assert loaded.degree == degree and np.abs(loaded.sh[:, 1:] - splats.sh[:, 1:]).max(initial=0) <= 0.5 / 128 + 1e-6
    assert angles(loaded.quats, splats.quats).max() < 0.3
    write_spz(tmp_path / "b.spz", loaded)  # what is on the steps already stays
    again = load_splats(tmp_path / "b.spz").stored
    for part in ("means", "scales", "opacities", "sh"):
        assert np.array_equal(getattr(again, part), getattr(loaded, part)), part


# Three Gaussians that gsply 0.4.6 wrote as versions 3 and 4, and what it reads from both.
GSPLY = {
    3: "H4sIAHSzAWsA/wFnAJj/TkdTUAMAAAADAAAAAQwAAMMBAB/x/4X//zMLAI/q/6T4/5rh/1zr/4/i/x6f+kZsWWGqYYCiaVhtUlJoZn1uaAEq"
    "062+ZuC5ZQ08Nk3agM2msyaNgNpmmhpmWjPNZvOampqmM3NAZqpskLRnAAAA",
    4: "TkdTUAQAAAADAAAAAQwABiAAAAAAAAAAAAAAAAAAAAAkAAAAAAAAABsAAAAAAAAADAAAAAAAAAADAAAAAAAAABIAAAAAAAAACQAAAAAAAAAS"
    "AAAAAAAAAAkAAAAAAAAAFQAAAAAAAAAMAAAAAAAAACQAAAAAAAAAGwAAAAAAAAAotS/9IBvZAADDAQAf8f+F//8zCwCP6v+k+P+a4f9c6/+P"
    "4v8otS/9IAMZAAAen/ootS/9IAlJAABGbFlhqmGAomkotS/9IAlJAABYbVJSaGZ9bmgotS/9IAxhAAABKtOtvmbguWUNPDYotS/9IBvZAABN"
    "2oDNprMmjYDaZpoaZlozzWbzmpqapjNzQGY=",
}


@pytest.mark.parametrize("version", [3, 4])
def test_spz_is_read_as_gsply_reads_it(tmp_path, version):
    (tmp_path / "a.spz").write_bytes(base64.b64decode(GSPLY[version]))
    ours = load_splats(tmp_path / "a.spz").stored
    means = [[0.11011, -0.92993, -0.03003], [0.69995, -1.34009, -0.45996], [-1.8999, -1.29004, -1.84009]]
    assert np.allclose(ours.means, means, atol=1e-5)
    assert np.array_equal(ours.scales, [[-4.5, -3.1875, -4.875], [-4.875, -3.5, -3.625], [-2.1875, -3.125, -3.5]])
    quats = [[-0.00138, -0.30581, 0.27952, 0.91013], [-0.26292, -0.57288, 0.03459, 0.77555]]
    assert np.allclose(ours.quats, [*quats, [0.49401, 0.62145, -0.49124, -0.3584]], atol=1e-5)
    assert np.allclose(ours.opacities, [-2.0149, 0.50456, 3.91203], atol=1e-4)
    assert np.allclose(ours.sh[:, 0, 1], [-0.5098, 1.11111, 0.90196], atol=1e-5)
    first = [[-0.39844, 0.70312, 0.0], [0.60156, 0.29688, 0.39844], [-0.70312, 0.10156, 0.0]]
    assert np.allclose(ours.sh[0, 1:], first, atol=1e-5)
    assert np.allclose(ours.sh[2, 3], [-0.10156, -0.5, -0.20312], atol=1e-5)


def test_spz_is_written_as_gsply_writes_it(tmp_path):
    """The same numbers give the same bytes: but for the positions, of which we keep four bits more."""
    (tmp_path / "a.spz").write_bytes(base64.b64decode(GSPLY[3]))
    write_spz(tmp_path / "b.spz", load_splats(tmp_path / "a.spz").stored)
    theirs, ours = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("a.spz", "b.spz"))
    assert ours[:13] == theirs[:13] and ours[13] == theirs[13] + 4
    assert ours[16 + 27 :] == theirs[16 + 27 :]


def test_spz_positions_use_what_24_bits_leave(tmp_path):
    far = cloud(20, 0)
    far.means[0] = 1000, 0, 0
    write_spz(tmp_path / "a.spz", far)
    assert gzip.decompress((tmp_path / "a.spz").read_bytes())[13] == fraction_bits(far.means) == 13
    assert np.abs(load_splats(tmp_path / "a.spz").stored.means - far.means).max() <= 2.0**-14
    far.means[0] = 1e7, 0, 0
    with pytest.raises(UserError, match="cannot hold positions"):
        write_spz(tmp_path / "a.spz", far)


@pytest.mark.parametrize("degree", [0, 3])
def test_compressed_ply_keeps_all_within_its_steps(tmp_path, degree):
    splats = cloud(700, degree)
    write_compressed_ply(tmp_path / "a.ply", splats)
    loaded = load_splats(tmp_path / "a.ply").stored
    nearest = [int(np.abs(loaded.means - mean).sum(1).argmin()) for mean in splats.means]
    assert sorted(nearest) == list(range(700))
    loaded = loaded[np.array(nearest)]
    span = np.ptp(splats.means, axis=0)
    assert (np.abs(loaded.means - splats.means) <= span / [2047, 1023, 2047] / 2 + 1e-6).all()
    assert (np.abs(loaded.scales - splats.scales) <= 4 / np.array([2047, 1023, 2047]) / 2 + 1e-5).all()
    span = np.ptp(splats.sh[:, 0], axis=0)
    assert (np.abs(loaded.sh[:, 0] - splats.sh[:, 0]) <= span / 255 / 2 + 1e-5).all()
    assert np.abs(alpha(loaded.opacities) - alpha(splats.opacities)).max() <= 0.5 / 255 + 1e-6
    assert loaded.degree == degree and np.abs(loaded.sh[:, 1:] - splats.sh[:, 1:]).max(initial=0) <= 1 / 64 + 1e-6
    assert angles(loaded.quats, splats.quats).max() < 0.3


def test_compressed_ply_of_equal_sizes_has_no_holes(tmp_path):
    """A chunk whose Gaussians are all alike has ranges of nothing: no division by zero."""
    splats = cloud(300, 0)
    splats.scales[:] = -3
    splats.means[:, 1] = 0.25
    write_compressed_ply(tmp_path / "a.ply", splats)
    loaded = load_splats(tmp_path / "a.ply").stored
    assert (loaded.scales == -3).all() and (loaded.means[:, 1] == 0.25).all()


def test_compressed_ply_agrees_with_gsplat(tmp_path):
    gsplat = pytest.importorskip("gsplat")
    splats = cloud(600, 1)
    parts = [torch.from_numpy(p.copy()) for p in (splats.means, splats.scales, splats.quats, splats.opacities)]
    sh = torch.from_numpy(splats.sh)
    data = gsplat.export_splats(*parts, sh[:, :1], sh[:, 1:], format="ply_compressed")
    (tmp_path / "theirs.ply").write_bytes(data)
    write_compressed_ply(tmp_path / "ours.ply", splats)
    theirs, ours = (load_splats(tmp_path / name).stored for name in ("theirs.ply", "ours.ply"))
    near = np.array([int(np.abs(ours.means - mean).sum(1).argmin()) for mean in theirs.means])
    assert np.abs(ours[near].means - theirs.means).max() < 3e-3  # chunks differ where the grid's cells do
    assert np.abs(ours[near].sh - theirs.sh).max() < 0.05 and angles(ours[near].quats, theirs.quats).max() < 0.4


def test_splat_keeps_what_it_can(tmp_path):
    splats = cloud(200, 3)
    write_splat(tmp_path / "a.splat", splats)
    assert (tmp_path / "a.splat").stat().st_size == 200 * 32
    loaded = load_splats(tmp_path / "a.splat").stored
    splats = splats[np.argsort(-np.exp(splats.scales.sum(1)) * alpha(splats.opacities))]  # the most visible first
    assert np.array_equal(loaded.means, splats.means) and np.allclose(loaded.scales, splats.scales, atol=1e-6)
    seen = (splats.sh[:, 0] * SH0 + 0.5).clip(0, 1)
    assert np.abs(loaded.sh[:, 0] * SH0 + 0.5 - seen).max() <= 0.5 / 255 + 1e-6 and loaded.degree == 0
    assert angles(loaded.quats, splats.quats).max() < 1


def test_every_splat_format_shows_the_same_scene_upright(tmp_path):
    """.ply, .splat: +Y down; .spz: +Y up; all of them come back to the same place in the world."""
    from sds3d.export.splats import Splats

    means = torch.tensor([[0.5, 0.1, 0.0], [0.0, 0.9, 0.0], [0.0, -0.3, -0.6]])
    splats = Splats(
        means, torch.full((3, 3), 0.05), torch.tensor([[1.0, 0, 0, 0]] * 3), torch.full((3,), 0.9), torch.rand(3, 3)
    )
    for name, suffix in (("ply", "ply"), ("ply-compressed", "ply"), ("splat", "splat"), ("spz", "spz")):
        path = splat_files.write(name, tmp_path / f"{name}.{suffix}", splats, None, Placement())[0]
        loaded = load_splats(path)
        order = [int((torch.from_numpy(loaded.world.means) - mean).norm(dim=1).argmin()) for mean in means]
        assert sorted(order) == [0, 1, 2], name
        assert np.allclose(loaded.world.means[order], means, atol=2e-3), name
        sign = 1 if name == "spz" else -1
        assert np.allclose(loaded.stored.means[order][:, 1], sign * means[:, 1], atol=2e-3), name


def test_harmonics_follow_a_turned_world():
    """Colour seen from R d after turning by R is that seen from d before, for every degree and any R."""
    rng = np.random.default_rng(5)
    splats = cloud(6, 3)
    directions = rng.normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    before = np.einsum("pk,nkc->npc", harmonics(directions, 3), splats.sh.astype(float))
    for axes in (HALF_TURN, orientation("z", None), orientation("+x", "-z"), np.linalg.qr(rng.normal(size=(3, 3)))[0]):
        axes = axes * np.sign(np.linalg.det(axes))
        turned = splats.turned(axes)
        after = np.einsum("pk,nkc->npc", harmonics(directions @ axes.T, 3), turned.sh.astype(float))
        assert np.abs(after - before).max() < 1e-5
        assert np.allclose(matrices(turned.quats), axes @ matrices(splats.quats), atol=1e-5)
        assert np.allclose(turned.means, splats.means @ axes.T, atol=1e-6)


def test_harmonics_are_those_of_gsplat():
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    rng = np.random.default_rng(6)
    directions = rng.normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sh = rng.normal(size=(30, 16, 3))
    theirs = reference._spherical_harmonics(3, torch.from_numpy(directions), torch.from_numpy(sh)).numpy()
    assert np.abs(np.einsum("pk,pkc->pc", harmonics(directions, 3), sh) - theirs).max() < 1e-12
