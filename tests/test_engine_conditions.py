"""Every condition by its name: what it says, and what of the view and of the reference picture it tells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_helpers import NetworkPrior, ball_prior, disc

from sds3d.camera import Cameras, fit_distance
from sds3d.engine.conditions import Conditions
from sds3d.errors import UserError
from sds3d.priors.base import Cond

FOV = torch.full((4,), 40.0)
CAMERAS = Cameras(torch.tensor([10.0, 100.0, 190.0, 280.0]), torch.full((4,), 15.0), FOV, fit_distance(FOV))
WORDS = ("front", "side", "back", "side")
WHITE = torch.ones(4, 3)


def told(*names: str, camera: bool = False, **options: Any) -> dict[str, Cond]:
    """For "a ball", not "ugly": tokens of this prior are the lengths of the prompts."""
    return Conditions(NetworkPrior(camera), "a ball", "ugly", names, **options).at(CAMERAS, WHITE)


def lengths(cond: Cond) -> list[int]:
    return cond.tokens.flatten().int().tolist()


def test_view_words_go_with_the_prompts_that_are_seen_from_a_side() -> None:
    conds = told("pos", "src", "region:1", "plain", "neg", "null", source="a big cube", regions=("x", "a cone"))
    for name, text in (("pos", "a ball"), ("src", "a big cube"), ("region:1", "a cone")):
        assert lengths(conds[name]) == [len(f"{text}, {view} view") for view in WORDS], name
    for name, text in (("plain", "a ball"), ("neg", "ugly"), ("null", "")):
        assert lengths(conds[name]) == [len(text)] * 4, name
    assert all(cond.camera is None for cond in conds.values())


def test_a_named_view_is_the_same_for_every_camera() -> None:
    conds = told("view:front", "view:side", "view:back")
    for view in ("front", "side", "back"):
        assert lengths(conds[f"view:{view}"]) == [len(f"a ball, {view} view")] * 4


def test_priors_with_a_camera_are_turned_to_the_named_view() -> None:
    """The side is the one that the camera is on; elevation and field of view stay."""
    conds = told("view:front", "view:side", "view:back", "pos", camera=True)
    for view, azimuths in (("front", [0, 0, 0, 0]), ("side", [90, 90, -90, -90]), ("back", [180, 180, -180, -180])):
        camera = conds[f"view:{view}"].camera
        assert camera is not None and camera[:, 0].tolist() == azimuths
        assert torch.equal(camera[:, 1:], CAMERAS.angles[:, 1:])
        assert lengths(conds[f"view:{view}"]) == [len("a ball")] * 4
    assert torch.equal(conds["pos"].camera, CAMERAS.angles)  # type: ignore[arg-type]


@pytest.mark.parametrize("camera", [True, False])
def test_the_critic_knows_the_camera_and_its_marginal_does_not(camera: bool) -> None:
    conds = told("critic", "critic_marg", camera=camera)
    assert torch.equal(conds["critic"].camera, CAMERAS.angles)  # type: ignore[arg-type]
    assert conds["critic_marg"].camera is None
    assert lengths(conds["critic"]) == lengths(conds["critic_marg"]) == [len("a ball")] * 4


def test_camera_guidance_takes_the_camera_from_the_empty_prompts() -> None:
    conds = told("pos", "null", "plain", camera=True, camera_guidance=True)
    assert conds["null"].camera is None
    assert conds["pos"].camera is not None and conds["plain"].camera is not None


def test_image_prompts() -> None:
    prior = ball_prior()
    reference = (disc((0.9, 0.1, 0.1))[None] + 1) / 2
    names = ("image", "noimage", "nullimage", "pos")
    conds = Conditions(prior, "a red ball", "", names, reference=reference).at(CAMERAS, WHITE)
    some, none = prior.image(reference), prior.image(None)
    assert torch.equal(conds["image"].image, some.expand(4, *some.shape[1:]))  # type: ignore[arg-type]
    for name in ("noimage", "nullimage"):
        assert torch.equal(conds[name].image.nan_to_num(7), none.expand(4, *none.shape[1:]).nan_to_num(7))  # type: ignore[union-attr]
    assert conds["pos"].image is None
    red, anything = prior.text(["red", ""]).tokens.flatten().tolist()
    assert [conds[name].tokens[0].item() for name in names] == [red, red, anything, red]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("src", {}, "--source RUN"),
        ("image", {}, "--image FILE"),
        ("region:2", {"regions": ("a", "b")}, "--region TEXT"),
        ("view:above", {}, "does not have"),
    ],
)
def test_what_the_run_lacks_is_one_line_that_helps(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        told(name, **options)
    assert "\n" not in str(caught.value)
