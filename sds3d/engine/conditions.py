"""What the prior and the critic are told at each step: text by view, camera, background and image where taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.engine.view_words import blend, nearest, shares
from sds3d.errors import UserError
from sds3d.priors.base import Cond, Prior
from sds3d.prompts import VIEWS, view_prompt

AZIMUTHS = {"front": 0.0, "side": 90.0, "back": 180.0}  # degrees; what "view:NAME" shows, the side on the camera's hand


@dataclass(frozen=True)
class Recipe:
    """How one condition is made."""

    text: str
    words: bool = False  # say which view it is, where view prompts are on
    camera: Literal["taken", "always", "never"] = "taken"  # taken: told to priors that take a camera
    image: Literal["", "reference", "none"] = ""  # image prompt; none is the prior's "no image" state
    view: str = ""  # a key of AZIMUTHS instead of what the camera sees


class Conditions:
    """Text is encoded once; `at(cameras, background)` picks each view's row and adds what else the prior takes.

    Names: "pos" the prompt, "neg" the negative prompt, "null" the empty one, "src" the source prompt, "plain" the
    prompt without view words, "view:front|side|back" the prompt for that view whatever the camera sees, "region:N" the
    N-th prompt of `regions`; "image" and "noimage" the prompt with `reference` and without an image, "nullimage" the
    empty prompt without an image; "critic" the plain prompt with the camera (VSD's critic), "critic_marg" without.

    With `view_prompts` ("pos", "src", "region:N", "image", "noimage") say which view it is, in one of four words or,
    with `interpolate`, in a blend of their states that moves with the camera; with `camera_guidance`, "null" and
    "nullimage" have no camera. Raises UserError for a name that is unknown or lacks what it is made of.
    """

    def __init__(
        self,
        prior: Prior,
        prompt: str,
        negative: str,
        names: Iterable[str],
        view_prompts: bool | None = None,
        camera_guidance: bool = False,
        *,
        source: str = "",
        regions: tuple[str, ...] = (),
        reference: Tensor | None = None,
        interpolate: bool = True,
    ) -> None:
        self.by_camera = "camera" in prior.capabilities
        self.by_background = "background" in prior.capabilities
        self.view_prompts = not self.by_camera if view_prompts is None else view_prompts
        self.interpolate = interpolate and prior.network is not None  # a closed form's tokens are labels, not states
        forget: Literal["taken", "never"] = "never" if camera_guidance else "taken"
        self.recipes = {
            "pos": Recipe(prompt, words=True),
            "neg": Recipe(negative),
            "null": Recipe("", camera=forget),
            "src": Recipe(source, words=True),
            "plain": Recipe(prompt),
            "image": Recipe(prompt, words=True, image="reference"),
            "noimage": Recipe(prompt, words=True, image="none"),
            "nullimage": Recipe("", camera=forget, image="none"),
            "critic": Recipe(prompt, camera="always"),
            "critic_marg": Recipe(prompt, camera="never"),
            **{f"view:{view}": Recipe(prompt, view=view) for view in AZIMUTHS},
            **{f"region:{i}": Recipe(text, words=True) for i, text in enumerate(regions)},
        }
        for name in sorted(names):
            _check(name, self.recipes, source, reference)
        self.table = self._encode(prior, sorted(names), reference)

    def at(self, cameras: Cameras, background: Tensor) -> dict[str, Cond]:
        """Conditions of length B by name, for views over `background` (B, 3) sRGB."""
        return {name: self._one(self.recipes[name], cond, cameras, background) for name, cond in self.table.items()}

    def _encode(self, prior: Prior, names: list[str], reference: Tensor | None) -> dict[str, Cond]:
        """Each of length 1, or of len(VIEWS) where words tell the view. All texts go to the prior at once, and the
        empty one that objectives may ask for later: its text encoder need be there only now."""
        texts = {name: self._texts(self.recipes[name]) for name in names}
        rows = {text: i for i, text in enumerate(dict.fromkeys([*sum(texts.values(), []), ""]))}
        every = prior.text(list(rows))
        table = {}
        for name in names:
            cond = every.select(torch.tensor([rows[text] for text in texts[name]], device=every.tokens.device))
            image = self.recipes[name].image
            if image:
                tokens = prior.image(reference if image == "reference" else None)
                cond = replace(cond, image=tokens.expand(len(cond), *tokens.shape[1:]))
            table[name] = cond
        return table

    def _texts(self, recipe: Recipe) -> list[str]:
        if not self.view_prompts or not (recipe.words or recipe.view):
            return [recipe.text]
        return [view_prompt(recipe.text, view) for view in ([recipe.view] if recipe.view else VIEWS)]

    def _one(self, recipe: Recipe, cond: Cond, cameras: Cameras, background: Tensor) -> Cond:
        device = cond.tokens.device
        if len(cond) == 1:
            cond = cond.repeat(len(cameras))
        elif self.interpolate:
            cond = blend(cond, shares(cameras))
        else:
            cond = cond.select(nearest(cameras).to(device))
        if self.by_background:
            cond = cond.with_background(background.mean(-1).to(device))
        if recipe.camera == "never" or recipe.camera == "taken" and not self.by_camera:
            return cond
        return cond.with_camera(_turned(cameras.angles, recipe.view).to(device))


def _turned(angles: Tensor, view: str) -> Tensor:
    """(B, 3) camera angles, with the azimuth of `view` where one is named."""
    if not view:
        return angles
    hand = torch.where(torch.deg2rad(angles[:, :1]).sin() < 0, -1.0, 1.0)
    return torch.cat([AZIMUTHS[view] * hand, angles[:, 1:]], -1)


def _check(name: str, recipes: dict[str, Recipe], source: str, reference: Tensor | None) -> None:
    """UserError when the run cannot make the condition `name`."""
    if name == "src" and not source:
        raise UserError("this guidance compares with a source prompt: edit a finished run with --source RUN")
    if name == "image" and reference is None:
        raise UserError("this guidance looks at a reference picture: give one with --image FILE")
    if name.startswith("region:") and name not in recipes:
        raise UserError(f"this guidance wants a prompt for {name}: give one --region TEXT for each region")
    if name not in recipes:
        raise UserError(f"this guidance needs the condition {name!r}, which generate does not have")
