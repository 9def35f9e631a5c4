"""Meshes mended: manifold, closed, outwards, without slivers and crumbs."""

from __future__ import annotations

import numpy as np
import pytest

from sds3d.export.mesh import Mesh, directed_edges, signed_volume, topology
from sds3d.export.repair import parts, repaired, unrepeated, winding, without_crumbs
from sds3d.export.slivers import slenderness, without_slivers


def cube(x: float = 0, y: float = 0, z: float = 0, side: float = 1) -> Mesh:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float32) * side
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return Mesh(
        corners + np.float32([x, y, z]), np.array([[q[0], *q[i : i + 2]] for q in quads for i in (1, 2)], np.int32)
    )


def welded(*meshes: Mesh) -> Mesh:
    """One mesh in which equal corners are one vertex."""
    corners = np.concatenate([mesh.corners.reshape(-1, 3) for mesh in meshes])
    vertices, faces = np.unique(corners, axis=0, return_inverse=True)
    return Mesh(vertices, faces.reshape(-1, 3).astype(np.int32))


PINCHED = {"edge": (1, 1, 0), "corner": (1, 1, 1)}


@pytest.mark.parametrize("where", PINCHED)
def test_cubes_that_touch_become_a_manifold(where):
    pair = welded(cube(), cube(*PINCHED[where]))
    assert topology(pair).watertight and not topology(pair).manifold
    whole = repaired(pair)
    shape = topology(whole)
    assert shape.manifold and shape.watertight
    assert signed_volume(whole) == pytest.approx(2.0, abs=0.02)
    before = np.concatenate([pair.vertices, np.array([[1, 1, 0.5]], np.float32)])  # an edge may be parted in its middle
    assert np.abs(whole.vertices[:, None] - before[None]).max(2).min(1).max() < 0.02  # nobody moved far
    again = welded(whole)  # as a reader that merges vertices by their positions sees it
    assert topology(again).manifold and topology(again).watertight


def test_three_cubes_around_an_edge_and_a_double_edge():
    trio = repaired(welded(cube(), cube(1, 1, 0), cube(1, -1, 0), cube(2, 0, 0)))  # a ring of four, pinched four times
    assert topology(trio).manifold and topology(trio).watertight
    assert signed_volume(trio) == pytest.approx(4.0, abs=0.08)


def test_a_whole_mesh_stays_as_it_is():
    whole = cube()
    mended = repaired(whole)
    assert np.array_equal(mended.vertices, whole.vertices) and np.array_equal(mended.faces, whole.faces)


@pytest.mark.parametrize("missing", [[0], [0, 1], [0, 1, 4, 5]])
def test_holes_are_closed(missing):
    whole = cube()
    torn = Mesh(whole.vertices, np.delete(whole.faces, missing, axis=0))
    assert not topology(torn).watertight
    closed = repaired(torn)
    assert topology(closed).watertight and topology(closed).manifold
    assert signed_volume(closed) == pytest.approx(1.0, abs=0.35) and signed_volume(closed) > 0.6


def test_each_part_is_turned_outwards_by_itself():
    left, right = cube(), cube(3, 0, 0)
    mixed = Mesh(
        np.concatenate([left.vertices, right.vertices]), np.concatenate([left.faces[:, ::-1], right.faces + 8])
    )
    assert signed_volume(mixed) == pytest.approx(0.0, abs=1e-5)
    assert signed_volume(repaired(mixed)) == pytest.approx(2.0)


def test_repeated_faces():
    faces = cube().faces
    assert np.array_equal(unrepeated(np.concatenate([faces, faces[:3][:, [1, 2, 0]]])), faces)
    assert np.array_equal(
        unrepeated(np.concatenate([faces, faces[:1, ::-1]])), faces[1:]
    )  # face to back: nothing between
    thrice = np.concatenate([faces[:1, ::-1], faces, faces[:1]])
    assert {tuple(np.sort(f)) for f in unrepeated(thrice)} == {tuple(np.sort(f)) for f in faces}
    assert topology(Mesh(cube().vertices, unrepeated(thrice))).watertight


def test_parts_and_crumbs():
    both = welded(cube(), cube(3, 0, 0, side=0.05))
    assert sorted(np.bincount(parts(both))) == [12, 12]
    assert len(without_crumbs(both).faces) == 12 and without_crumbs(both).vertices.max() == 1
    long = Mesh(both.vertices * np.float32([1, 4, 1]), both.faces)
    leg = welded(cube(), Mesh(cube().vertices * np.float32([0.02, 1, 0.02]) + 2, cube().faces))
    assert len(without_crumbs(long).faces) == 12 and len(without_crumbs(leg).faces) == 24  # thin, but long


def test_what_lies_inside_goes():
    hidden, beside, across = (cube(x, 0.3, 0.3, side=0.4) for x in (0.3, 1.3, 0.8))
    assert len(without_crumbs(welded(cube(), hidden)).faces) == 12
    assert len(without_crumbs(welded(hidden, cube())).faces) == 12
    for other in (beside, across):
        assert len(without_crumbs(welded(cube(), other)).faces) == 24
    assert winding(cube().corners, np.float32([0.2, 0.3, 0.4])) == pytest.approx(1)
    assert winding(cube().corners, np.float32([0.2, 0.3, 1.4])) == pytest.approx(0, abs=1e-9)


def with_splits(where: float) -> Mesh:
    """A cube whose side from 0 to 1 is cut at `where`: two needles or two caps among the faces."""
    whole = cube()
    u, v = whole.faces[0, 0], whole.faces[0, 1]
    new = len(whole.vertices)
    faces = []
    for face in whole.faces.tolist():
        if {u, v} <= set(face):
            faces += [[new if c == u else c for c in face], [new if c == v else c for c in face]]
        else:
            faces.append(face)
    point = whole.vertices[u] * (1 - where) + whole.vertices[v] * where
    return Mesh(np.concatenate([whole.vertices, point[None]]), np.array(faces, np.int32))


def test_needles_go():
    needles = with_splits(0.005)
    assert (slenderness(needles.corners) < 0.04).sum() == 2
    mended = without_slivers(needles)
    assert slenderness(mended.corners).min() > 0.3
    assert topology(mended).watertight and topology(mended).manifold
    assert signed_volume(mended) == pytest.approx(1.0, abs=0.01)


def test_caps_are_turned():
    """A vertex almost on the long side of a face."""
    whole = cube()
    a, b, c = whole.faces[0]
    new = len(whole.vertices)
    point = 0.5 * (whole.vertices[a] + whole.vertices[c]) * 0.99 + 0.01 * whole.vertices[b]
    faces = [[a, b, new], [b, c, new], [c, a, new], *whole.faces[1:].tolist()]
    capped = Mesh(np.concatenate([whole.vertices, point[None]]), np.array(faces, np.int32))
    assert slenderness(capped.corners).min() < 0.04
    mended = without_slivers(capped)
    assert slenderness(mended.corners).min() > 0.2 and len(mended.faces) == len(faces)
    assert topology(mended).watertight and topology(mended).manifold


def test_slenderness_in_closed_form():
    corners = np.array(
        [[[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]], [[0, 0, 0], [1, 0, 0], [0.5, 0.01, 0]]], np.float32
    )
    assert slenderness(corners) == pytest.approx([np.sqrt(0.75), 0.01], abs=1e-5)


def test_directed_edges_of_a_closed_mesh_cancel():
    edges = directed_edges(repaired(welded(cube(), cube(1, 1, 0))).faces)
    back = {(int(b), int(a)) for a, b in edges}
    assert {(int(a), int(b)) for a, b in edges} == back and len(back) == len(edges)
