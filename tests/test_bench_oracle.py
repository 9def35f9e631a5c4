"""A renderer recovers a known object from the exact score of its own views, and repeated fronts are counted."""

from __future__ import annotations

import pytest
import torch

from sds3d.bench import janus, oracle
from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.scenes import SCENES


@pytest.mark.parametrize(("scene", "steps", "least"), [("splats", 90, 20.0), ("grid", 60, 20.0)])
def test_both_scenes_recover_a_known_object_from_the_exact_score_of_its_views(
    scene: str, steps: int, least: float
) -> None:
    """A small part of `sds3d bench oracle`, whose bound is 25 dB at 64 pixels: 32 pixels, few steps, sds."""
    extra = {"views": 6, "splats.count": 1000, "splats.cap": 2500, "grid.dense.resolution": 32}
    recovery = oracle.recover(oracle.known_object(), oracle.oracle_settings(scene, "sds", steps, extra), 32)
    assert recovery.psnr is not None and recovery.psnr > least, recovery


def test_what_needs_an_asset_is_not_among_all_scenes() -> None:
    assert set(oracle.SCENES_MEASURED) == set(SCENES) - {"texture"}


def test_a_scene_that_there_is_not_is_told_before_anything_runs() -> None:
    with pytest.raises(UserError, match="did you mean 'grid'"):
        next(janus.measure(["sds"], scene="gird"))


def test_a_repeated_front_is_seen() -> None:
    look = oracle.known_object()
    white = torch.ones(len(janus.BEYOND), 3)
    truth = oracle.over(look(janus.BEYOND, janus.SIZE), white)
    right = janus.repeated("x", truth, look)
    assert right.fronts == 0 and right.psnr is not None and right.psnr > 60
    cameras = Cameras(torch.zeros(5), janus.BEYOND.elevation, janus.BEYOND.fov, janus.BEYOND.distance)
    assert janus.repeated("x", oracle.over(look(cameras, janus.SIZE), white), look).fronts == 1
