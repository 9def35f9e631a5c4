"""Visual Prompt Classifier Score Matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, State, guided
from sds3d.guidance.csm import CSM


@dataclass(frozen=True, kw_only=True)
class VPCSM(CSM):
    """g = lambda_t [s (e_noimage - e_nullimage) + s_v (e_image - e_noimage)] on an inversion by e_nullimage.

    TV-3DG (Yang et al., arXiv 2410.21299): CSM with a picture beside the prompt. "image" is the prompt with the
    reference picture, "noimage" the prompt and "nullimage" the empty prompt, both with the prior's "no picture" state.
    Engine choice: how the two prompts are mixed is not established from the published text; this is the nested form of
    two classifiers, p(prompt | x_t) and p(picture | x_t, prompt), with equal scales. s_v = 0 is CSM.
    """

    image_cfg: float = 7.5

    conds: ClassVar[frozenset[str]] = frozenset({"image", "noimage", "nullimage"})
    empty: ClassVar[str] = "nullimage"
    summary: ClassVar[str] = "classifier score matching with a reference picture beside the prompt (TV-3DG)"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("image"), Call("noimage"), Call("nullimage")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        text = e[Call("noimage")]
        prompt = guided(e, self.cfg, "noimage", "nullimage") - e[Call("nullimage")]
        return prompt + self.image_cfg * (e[Call("image")] - text)
