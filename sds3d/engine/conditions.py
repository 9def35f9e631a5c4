"""What the prior and the critic are told at each step: text by view, and camera and background where taken."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError
from sds3d.priors.base import Cond, Prior
from sds3d.prompts import VIEWS, view_index, view_prompt


class Conditions:
    """Text is encoded once; `at(cameras, background)` picks each view's row and adds what else the prior takes.

    Names: "pos" the prompt, "neg" the negative prompt, "null" the empty one, "critic..." the prompt without view words
    and with the camera (VSD's critic). With `view_prompts`, "pos" says which view it is; with `camera_guidance`, "null"
    has no camera.
    """

    def __init__(
        self,
        prior: Prior,
        prompt: str,
        negative: str,
        names: Iterable[str],
        view_prompts: bool | None = None,
        camera_guidance: bool = False,
    ) -> None:
        self.by_camera = "camera" in prior.capabilities
        self.by_background = "background" in prior.capabilities
        self.view_prompts = not self.by_camera if view_prompts is None else view_prompts
        self.camera_guidance = camera_guidance
        texts = {"pos": prompt, "null": "", "neg": negative}
        self.table: dict[str, Cond] = {}  # each of length 1, or of len(VIEWS) for "pos" with view prompts
        for name in sorted(names):
            if name not in texts and not name.startswith("critic"):
                raise UserError(f"this guidance needs the condition {name!r}, which generate does not have")
            text = texts.get(name, prompt)
            views = name == "pos" and self.view_prompts
            self.table[name] = prior.text([view_prompt(text, view) for view in VIEWS] if views else [text])

    def at(self, cameras: Cameras, background: Tensor) -> dict[str, Cond]:
        """Conditions of length B by name, for views over `background` (B, 3) sRGB."""
        return {name: self._one(name, cond, cameras, background) for name, cond in self.table.items()}

    def _one(self, name: str, cond: Cond, cameras: Cameras, background: Tensor) -> Cond:
        if len(cond) > 1:
            angles = zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)
            rows = torch.tensor([view_index(a, e) for a, e in angles], device=cond.tokens.device)
            cond = cond.select(rows)
        else:
            cond = cond.repeat(len(cameras))
        if self.by_background:
            cond = cond.with_background(background.mean(-1).to(cond.tokens.device))
        told = name.startswith("critic") or self.by_camera and not (name == "null" and self.camera_guidance)
        return cond.with_camera(cameras.angles.to(cond.tokens.device)) if told else cond
