"""Image-prompt Score Distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls, replaced


@dataclass(frozen=True, kw_only=True)
class ISD(Distillation):
    """g = w(t) [e^s(y, r) - e(control, no image)], with e^s = e(null, no image) + s (e(y, r) - e(null, no image)).

    Yang et al., "ModeDreamer" (arXiv 2411.18135): a reference image r selects a mode through an image-prompt adapter,
    and the same adapter without an image, at the same x_t, is the control variate. All three predictions have image
    tokens; "no image" is the adapter's trained state without one, not the network without its adapter.

    Engine choices: where guidance acts (above), the control's text (the prompt, or none: then s times a classifier
    direction), s, and the adapter's scale by view, here on predictions: e(y, r) becomes e(y, no image) + a (e(y, r) -
    e(y, no image)), with a falling as a cosine from `scale` at the reference's azimuth to `scale_away` behind it, so
    that one front view does not pull every view to a front. 3 calls, or 2 with control "null" and a = 1.
    """

    cfg: float = 7.5
    control: Literal["prompt", "null"] = "prompt"
    scale: float = 1.0
    scale_away: float = 0.3
    azimuth: float = 0.0  # degrees, where the reference was seen from

    conds: ClassVar[frozenset[str]] = frozenset({"image", "noimage", "nullimage"})
    summary: ClassVar[str] = "follow a reference image, minus the same prior without it (ModeDreamer)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale < 0 or self.scale_away < 0:
            raise UserError("isd scale and scale_away must not be negative; 0 leaves the reference image out")

    def adapter(self, c: Context) -> Tensor:
        """(B, 1, 1, 1) the adapter's scale a; `scale` where x comes from no scene."""
        if c.view is None:
            return c.x.new_full((len(c.x), 1, 1, 1), self.scale)
        facing = (1 + torch.deg2rad(c.view.cameras.azimuth - self.azimuth).cos()) / 2
        return (self.scale_away + (self.scale - self.scale_away) * facing).to(c.x).view(-1, 1, 1, 1)

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        toned = self.control == "prompt" or bool((self.adapter(c) != 1).any())
        control = [] if self.control == "prompt" else [Call("nullimage")]
        return [*guided_calls(self.cfg, "image", "nullimage"), *control, *([Call("noimage")] if toned else [])]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        noimage = e.get(Call("noimage"))
        if noimage is not None:
            image = e.get(Call("image"), noimage)
            e = replaced(e, {Call("image"): noimage + self.adapter(c) * (image - noimage)})
        control = "noimage" if self.control == "prompt" else "nullimage"
        return guided(e, self.cfg, "image", "nullimage") - e[Call(control)]
