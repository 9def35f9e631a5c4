"""MVDream's reconstruction loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State, guided, guided_calls
from sds3d.guidance.tensors import denoised
from sds3d.priors.base import views_per_object


@dataclass(frozen=True, kw_only=True)
class MVDreamRecon(Distillation):
    """g = x - x', x' = f x0(e^s) std(x0(e_pos)) / std(x0(e^s)) + (1 - f) x0(e^s), the deviations over an object.

    Shi et al., "MVDream" (arXiv 2308.16512), sec. 3.3, with the guidance rescale f of Lin et al. (arXiv 2305.08891) in
    units of the clean image, and the negative prompt in the place of the empty one. An object is the views that the
    prior looks at together (MVDream: four), else all of a step. With f = 0 it is SDS with w = lambda_t. Published:
    scale 50, f = 0.5, one t for an object (elsewhere `time.per=batch`), t_max 0.98 -> 0.5 and t_min 0.98 -> 0.02; so
    is the preset mvdream.
    """

    weight: str = "lambda"
    cfg: float = 50.0
    share: float = 0.5  # f, of the image with the conditional one's deviation
    uncond: Literal["neg", "null"] = "neg"  # what guidance pushes away from

    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null", "neg"})
    summary: ClassVar[str] = "move to the one-step clean image, its contrast kept in bounds (MVDream)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise UserError("mvdream_recon.share must lie between 0 and 1")

    def needs(self) -> frozenset[str]:
        return super().needs() - ({"null", "neg"} - {self.uncond})

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return list(dict.fromkeys([Call("pos"), *guided_calls(self.cfg, null=self.uncond)]))

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state = states["t"]
        target = denoised(state, guided(e, self.cfg, null=self.uncond))
        together = views_per_object(c.prior)
        views = together if together > 1 else len(target)
        contrast = spread(denoised(state, e[Call("pos")]), views) / spread(target, views)
        return (c.x - (1 + self.share * (contrast - 1)) * target) * state.alpha / state.sigma


def spread(images: Tensor, views: int) -> Tensor:
    """(B, 1, 1, 1) standard deviation over each `views` images in a row of (B, C, h, w)."""
    by_object = images.unflatten(0, (-1, views)).flatten(1).std(1)
    return by_object.repeat_interleave(views).view(-1, 1, 1, 1)
