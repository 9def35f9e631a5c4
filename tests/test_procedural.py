"""Procedural corpus objects: every generator is deterministic, varied, well formed, captioned, and faces front."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from sds3d.camera import Cameras, fit_distance
from sds3d.embedded.corpus.procedural import FRONTED, GENERATORS
from sds3d.embedded.corpus.procedural_kit import COLOURS, Part, assemble, named, paint
from sds3d.embedded.corpus.shapes import ball, box, grid, lathe, mirror, prism, smooth_normals, sweep, torus
from sds3d.render.mesh import Soup, render_soup

NOUNS = sorted(GENERATORS)


@cache
def made(noun: str, seed: int) -> tuple[tuple[str, ...], Soup]:
    phrases, soup = GENERATORS[noun](np.random.default_rng(seed))
    return tuple(phrases), soup


def volume(tri: np.ndarray) -> float:
    """Signed volume of a closed surface, positive when its faces look outwards."""
    return float(np.einsum("fi,fi->f", tri[:, 0], np.cross(tri[:, 1], tri[:, 2])).sum() / 6)


def seen(soup: Soup, azimuth: float) -> np.ndarray:
    """(32, 32, 3) unlit picture on white in [0, 1]; the object fills the unit ball."""
    p = soup.corners.reshape(-1, 3)
    centre = (p.min(0) + p.max(0)) / 2
    unit = replace(soup, corners=(soup.corners - centre) / np.linalg.norm(p - centre, axis=1).max())
    side, above, fov = (torch.tensor([v]) for v in (azimuth, 10.0, 40.0))
    cameras = Cameras(side, above, fov, fit_distance(fov))
    rgba = render_soup(unit, cameras, 32, 2, ambient=1.0, diffuse=0.0, headlight=0.0)[0][0] / 255
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


@pytest.mark.parametrize(
    ("solid", "expected", "tolerance"),
    [
        (ball((1, 2, 3), 1.0, n=60), 4 / 3 * np.pi, 0.01),
        (ball((0, 0, 0), (1, 2, 3), n=60), 8 * np.pi, 0.01),
        (box((0, 1, 0), (1, 2, 0.5), bevel=1e-3), 8.0, 0.01),
        (box((0, 0, 0), 1.0, bevel=1e-3, taper=0.5), 8 * 7 / 12, 0.01),
        (torus((0, 0, 0), 1.0, 0.25), 2 * np.pi**2 * 0.25**2, 0.07),
        (sweep([(0, 0, 0), (0, 0, 2)], 0.5, 40, caps="flat"), np.pi / 2, 0.01),
        (lathe([(0, 0), (1, 0), (0, 1)], 60), np.pi / 3, 0.01),
        (prism([(0, 0), (2, 0), (2, 2), (1, 0.5), (0, 2)], 0.5), 2.5, 1e-6),
    ],
)
def test_solids_have_their_closed_form_volume_and_look_outwards(
    solid: np.ndarray, expected: float, tolerance: float
) -> None:
    assert volume(solid) == pytest.approx(expected, rel=tolerance)
    assert volume(mirror(solid)) == pytest.approx(expected, rel=tolerance)


def test_normals_are_smooth_on_a_ball_and_creased_on_a_box() -> None:
    sphere = ball((0, 0, 0), 1.0, n=40)
    assert np.einsum("fci,fci->fc", smooth_normals(sphere), sphere).min() > 0.99
    cube = prism([(-1, -1), (1, -1), (1, 1), (-1, 1)], 1.0)
    assert np.abs(smooth_normals(cube)).max(-1).min() == pytest.approx(1.0, abs=1e-9)


def test_paint_keeps_the_surface_and_puts_the_border_where_the_rule_is() -> None:
    u, v = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    square = grid(np.stack([u, v, 0 * u], -1))
    parts = paint(square, (0, 0, 0), (lambda x, y, z: x > 0.3, (1, 1, 1)), levels=4)
    area = {p.rgb: assemble([p]).areas().sum() for p in parts}
    assert sum(area.values()) == pytest.approx(4.0)
    assert area[(1, 1, 1)] == pytest.approx(1.4, abs=0.07)  # half of the finest cell, 1/32, along an edge 2 long


def test_assemble_gives_one_material_a_colour() -> None:
    soup = assemble(
        [Part(ball((0, 0, 0), 1), (1, 0, 0)), Part(box((2, 0, 0), 1), (0, 1, 0)), Part(ball((4, 0, 0), 1), (1, 0, 0))]
    )
    assert [m.rgba for m in soup.materials] == [(1, 0, 0, 1), (0, 1, 0, 1)]
    assert set(soup.material[soup.corners[:, 0, 0] > 3.1]) == {0}


def test_phrases_go_from_specific_to_plain() -> None:
    assert named("robot", "red", "with blue eyes", ("toy robot",)) == [
        "red robot with blue eyes", "red robot", "red toy robot", "robot with blue eyes", "toy robot", "robot",
    ]  # fmt: skip
    assert named("apple", "blue", "with a leaf", plain=False) == ["blue apple with a leaf", "blue apple"]
    assert "green little green alien" not in named("alien", "green", also=("little green alien",))


@pytest.mark.parametrize("noun", NOUNS)
def test_same_seed_same_object(noun: str) -> None:
    phrases, soup = made(noun, 0)
    again_phrases, again = GENERATORS[noun](np.random.default_rng(0))
    assert tuple(again_phrases) == phrases
    assert again.corners.tobytes() == soup.corners.tobytes()
    assert again.materials == soup.materials


@pytest.mark.parametrize("noun", NOUNS)
def test_instances_differ(noun: str) -> None:
    looks = {made(noun, seed)[1].corners.tobytes() + repr(made(noun, seed)[1].materials).encode() for seed in range(2)}
    assert len(looks) == 2


@pytest.mark.parametrize("noun", NOUNS)
def test_geometry_is_finite_and_has_area_everywhere(noun: str) -> None:
    for seed in range(2):
        soup = made(noun, seed)[1]
        assert np.isfinite(soup.corners).all() and np.isfinite(soup.normals).all()
        assert (soup.areas() > 0).mean() > 0.99
        length = np.linalg.norm(soup.normals, axis=-1)
        assert length.min() > 0.5 and length.max() < 1.1  # interpolated ones are shorter
        assert 8 <= len(soup) <= 25_000
        extent = np.ptp(soup.corners.reshape(-1, 3), axis=0)
        assert extent.min() > 0.04 * extent.max()  # nothing is a sheet seen edge on
        assert soup.material.max() < len(soup.materials)


@pytest.mark.parametrize("noun", NOUNS)
def test_phrases_name_the_noun(noun: str) -> None:
    for seed in range(2):
        phrases = made(noun, seed)[0]
        assert phrases and len(set(phrases)) == len(phrases)
        assert phrases[-1].endswith(noun)
        for phrase in phrases:
            assert phrase == phrase.lower().strip() and "  " not in phrase
            assert not phrase.startswith(("a ", "an ", "the "))


@pytest.mark.parametrize("noun", sorted(FRONTED))
def test_front_differs_from_back(noun: str) -> None:
    differences = []
    for seed in range(2):
        front, back = (seen(made(noun, seed)[1], azimuth) for azimuth in (0.0, 180.0))
        differences.append((np.abs(front - back[:, ::-1]).max(-1) > 0.1).sum())
    assert max(differences) > 8  # pixels of 32 x 32


def test_palette_is_the_eleven_basic_colours() -> None:
    words = "red orange yellow green blue purple pink brown black white gray"
    assert set(COLOURS) == set(words.split())
    assert set(GENERATORS) >= FRONTED
