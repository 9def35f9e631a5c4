"""Every condition by its name: what it says, and what of the view and of the reference picture it tells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_helpers import NetworkPrior, ball_prior, disc

from sds3d.camera import Cameras, fit_distance
from sds3d.engine.conditions import Conditions
from sds3d.engine.view_words import blend, shares
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
    texts = {"source": "a big cube", "regions": ("x", "a cone")}
    conds = told("pos", "src", "region:1", "plain", "neg", "null", interpolate=False, **texts)
    for name, text in (("pos", "a ball"), ("src", "a big cube"), ("region:1", "a cone")):
        assert lengths(conds[name]) == [len(f"{text}, {view} view") for view in WORDS], name
    for name, text in (("plain", "a ball"), ("neg", "ugly"), ("null", "")):
        assert lengths(conds[name]) == [len(text)] * 4, name
    assert all(cond.camera is None for cond in conds.values())


def test_words_blend_as_the_camera_moves() -> None:
    """Tokens are lengths: "front" 5, "side" 4, "back" 4, "overhead" 8 letters after the same text."""
    base = len("a ball,  view")
    angles = {
        (0, 0): 5,
        (90, 0): 4,
        (180, 0): 4,
        (-45, 10): 4.5,
        (9, 0): 4.9,
        (0, 60): 6.5,
        (270, 80): 8,
        (45, 52.5): 5.375,
    }
    azimuth, elevation = (torch.tensor([float(a[i]) for a in angles]) for i in (0, 1))
    fov = torch.full((len(angles),), 40.0)
    cameras = Cameras(azimuth, elevation, fov, fit_distance(fov))
    cond = Conditions(NetworkPrior(False), "a ball", "", ("pos",)).at(cameras, torch.ones(len(angles), 3))["pos"]
    expected = torch.tensor([base + length for length in angles.values()])
    torch.testing.assert_close(cond.tokens.flatten(), expected, rtol=0, atol=1e-4)


def test_a_blend_mixes_states_and_vectors_and_keeps_every_token_of_it() -> None:
    masks = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 1, 1]]).bool()
    words = Cond(torch.arange(12.0).view(4, 3, 1).half(), masks, pooled=torch.arange(8.0).view(4, 2))
    weights = torch.tensor([[0.25, 0.75, 0, 0], [0, 0, 1, 0]])
    mixed = blend(words, weights)
    assert mixed.tokens.dtype == torch.float16 and mixed.pooled is not None
    assert torch.equal(mixed.tokens[0], 0.25 * words.tokens[0] + 0.75 * words.tokens[1])
    assert torch.equal(mixed.pooled[0], torch.tensor([1.5, 2.5])) and torch.equal(mixed.tokens[1], words.tokens[2])
    assert mixed.mask.tolist() == [[True, True, False], [True, False, True]]


def test_shares_add_up_and_follow_the_camera_without_a_jump() -> None:
    n = 721
    fov = torch.full((n,), 40.0)
    around = shares(Cameras(torch.linspace(-360, 360, n), torch.linspace(-80, 85, n), fov, fit_distance(fov)))
    assert torch.allclose(around.sum(-1), torch.ones(n)) and around.min() >= 0
    assert (around[1:] - around[:-1]).abs().max() < 0.03  # of one degree of azimuth and a quarter of elevation


def test_labels_of_closed_forms_are_not_blended() -> None:
    conds = Conditions(ball_prior(), "a red ball", "", ("pos",), view_prompts=True).at(CAMERAS, WHITE)
    assert torch.equal(conds["pos"].tokens, ball_prior().text(["red"] * 4).tokens)


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
