"""DreamSampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Distillation, State
from sds3d.guidance.paths import grid, path


@dataclass(frozen=True, kw_only=True)
class DreamSampler(Distillation):
    """g = lambda_t [e_null + alpha_t^2 gamma (e_pos - e_null) - n], i.e. x - x0 of that prediction: reverse sampling.

    Kim et al., "DreamSampler: Unifying Diffusion Sampling and Score Distillation for Image Manipulation" (arXiv
    2403.11415). n is the e_null of the step before, not the guided prediction, so that on one fixed image and falling t
    the update x - g is DDIM sampling with a Tweedie estimate that the guidance shifts (2 predictions). Its start is a
    DDIM inversion without a prompt, in steps of `step` T. Engine choice: the cameras of a scene change at every step
    and with them the path, so that each step of a scene starts with that inversion.
    """

    weight: str = "lambda"
    gamma: float = 0.2
    step: float = 0.1  # share of T

    MEMORY: ClassVar[str] = "dreamsampler"
    summary: ClassVar[str] = "gentle reverse sampling from an inversion, for changing what is there (DreamSampler)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step <= 1:
            raise UserError(f"guidance step is a share of T above 0 and up to 1, not {self.step}")

    def noise(self, c: Context, t: Tensor) -> Tensor:
        if c.view is None and self.MEMORY in c.cache:
            last: Tensor = c.cache[self.MEMORY]
            return last
        found = path(c, c.x, grid(0, t.clamp(min=1), max(1, round(self.step * c.prior.schedule.steps))))[-1]
        return (found.z - found.alpha * c.x) / found.sigma

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        state, null = states["t"], e[Call("null")]
        assert state.noise is not None
        if c.view is None:
            c.cache[self.MEMORY] = null
        return null + state.alpha**2 * self.gamma * (e[Call("pos")] - null) - state.noise
