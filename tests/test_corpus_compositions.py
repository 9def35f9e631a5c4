"""Two objects together stand where the caption says; the everyday objects have the parts people know them by."""

from __future__ import annotations

import numpy as np
import pytest

from sds3d.embedded.corpus.procedural import GENERATORS
from sds3d.embedded.corpus.procedural_compositions import COMPOSITIONS, surface
from sds3d.embedded.corpus.procedural_kit import Part, assemble
from sds3d.embedded.corpus.shapes import box, prism
from sds3d.render.mesh import Soup


def points(soup: Soup) -> np.ndarray:
    return soup.corners.reshape(-1, 3)


def test_surface_is_the_highest_point_over_a_place() -> None:
    low, high = box((0, 0.5, 0), (1, 0.5, 1), 1e-3), box((0.5, 1.25, 0), (0.5, 0.25, 1), 1e-3)
    roof = prism([(3, 0), (5, 0), (4, 1)], 1.0)
    soup = assemble([Part(low, (1, 0, 0)), Part(high, (0, 1, 0)), Part(roof, (0, 0, 1))])
    assert surface(soup, -0.5, 0.1) == pytest.approx(1.0, abs=1e-5)
    assert surface(soup, 0.5, 0.1) == pytest.approx(1.5, abs=1e-5)
    assert surface(soup, 3.5, 0.1) == pytest.approx(0.5, abs=1e-5)
    with pytest.raises(ValueError, match="nothing"):
        surface(soup, 2.0, 0.0)


@pytest.mark.parametrize("name", sorted(COMPOSITIONS)[::5])
def test_compositions_are_sound_and_name_both(name: str) -> None:
    phrases, soup = COMPOSITIONS[name](np.random.default_rng(3))
    first, second = name.split(" on " if " on " in name else " beside ")
    assert len(set(phrases)) == len(phrases)
    assert all(first in phrase and second in phrase for phrase in phrases)
    assert np.isfinite(soup.corners).all() and points(soup)[:, 1].min() == pytest.approx(0, abs=1e-4)
    again = COMPOSITIONS[name](np.random.default_rng(3))
    assert again[0] == phrases and again[1].corners.tobytes() == soup.corners.tobytes()


def test_the_first_named_stands_on_the_second() -> None:
    for seed in range(4):
        phrases, soup = COMPOSITIONS["apple on table"](np.random.default_rng(seed))
        assert " on a" in phrases[0]
        height = points(soup)[:, 1]
        upper = soup.corners[soup.corners[..., 1].min(1) > height.max() - 0.25 * np.ptp(height)]  # the apple
        assert np.abs(upper[..., [0, 2]]).max() < 0.75 * np.abs(soup.corners[..., [0, 2]]).max()


def test_beside_keeps_the_two_apart() -> None:
    for seed in range(4):
        _, soup = COMPOSITIONS["mug beside teapot"](np.random.default_rng(seed))
        x = np.sort(np.stack([soup.corners[..., 0].min(1), soup.corners[..., 0].max(1)], 1), axis=0)
        free = x[1:, 0] - np.maximum.accumulate(x[:-1, 1])
        assert free.max() > 0.05


@pytest.mark.parametrize("noun", ["horse", "cow", "corgi", "chair"])
def test_four_legs_stand_apart(noun: str) -> None:
    for seed in range(4):
        _, soup = GENERATORS[noun](np.random.default_rng(seed))
        p = points(soup)
        feet = p[p[:, 1] < p[:, 1].min() + 0.02 * np.ptp(p[:, 1])]
        corners = {(bool(x > 0), bool(z > np.median(feet[:, 2]))) for x, _, z in feet}
        assert len(corners) == 4
        assert np.abs(feet[:, 0]).min() > 0.02 * np.ptp(p[:, 2])  # daylight between left and right


def test_a_mug_is_hollow_and_has_a_handle() -> None:
    for seed in range(8):
        phrases, soup = GENERATORS["mug"](np.random.default_rng(seed))
        p = points(soup)
        depth = (p[:, 1].max() - surface(soup, 0.01, 0.01)) / np.ptp(p[:, 1])
        assert depth > (0.1 if "coffee" in phrases[0] else 0.6)
        assert p[:, 0].max() > 1.25 * -p[:, 0].min()  # the handle is on the right
