"""The variance meter: how noisy is an objective's gradient at a fixed picture? (OBJECTIVES 4.3)"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sds3d.camera import Cameras, orbit
from sds3d.engine.distill import Distiller, prepare
from sds3d.engine.resolve import resolve
from sds3d.engine.sample import imagine
from sds3d.errors import UserError
from sds3d.guidance import Context, View, distill_gradient
from sds3d.priors.base import Prior
from sds3d.streams import stream

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of T
VIEW = orbit(1, 15.0)


@dataclass(frozen=True)
class Spread:
    """tr Cov(g) and ||E g||^2 at one noise level, both estimated without bias from the same draws."""

    level: float  # share of T
    covariance: float
    mean: float  # may be below 0 where the mean is lost in the noise

    @property
    def ratio(self) -> float:
        """tr Cov(g) / ||E g||^2; infinite where the mean cannot be told from 0."""
        return self.covariance / self.mean if self.mean > 0 else math.inf if self.covariance > 0 else 0.0


@dataclass(frozen=True)
class Profile:
    """An objective's spreads by noise level, or why there are none."""

    guidance: str
    spreads: tuple[Spread, ...] = ()
    reason: str = ""

    @property
    def typical(self) -> float | None:
        """Geometric mean of the ratios over the levels; None where one is infinite or there is none."""
        ratios = [s.ratio for s in self.spreads]
        if not ratios or not all(map(math.isfinite, ratios)):
            return None
        return math.exp(sum(math.log(max(r, 1e-12)) for r in ratios) / len(ratios))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"typical": self.typical}

    def row(self) -> tuple[str, ...]:
        """For a table: objective and a ratio for each level, or the reason."""
        if self.reason:
            return (self.guidance, *("",) * (len(LEVELS) - 1), self.reason)
        return (self.guidance, *(show(s.ratio) for s in self.spreads))


def show(ratio: float) -> str:
    """Below 1e-9 is rounding: no noise within a run."""
    if ratio < 1e-9:
        return "0"
    return f"{ratio:.3g}" if math.isfinite(ratio) else "> draws"


def estimate(g: Tensor, level: float) -> Spread:
    """From draws g (n, ...): tr Cov with n - 1, and ||mean||^2 less what the noise adds to it, tr Cov / n."""
    flat = g.double().flatten(1)
    covariance = float(flat.var(0).sum())
    return Spread(level, covariance, float(flat.mean(0).square().sum()) - covariance / len(flat))


def profile(run: Distiller, x: Tensor, draws: int, levels: Sequence[float] = LEVELS) -> tuple[Spread, ...]:
    """Spreads of `run`'s objective at x (1, C, h, w), seen from VIEW, over `draws` noises.

    The draws are the views of one step of an otherwise untouched run, so noise that an objective shares between the
    views of a step, or fixes for the whole run, does not count as variance.
    """
    device = run.prior.device
    cameras = Cameras(*(v.expand(draws) for v in (VIEW.azimuth, VIEW.elevation, VIEW.fov, VIEW.distance))).to(device)
    background = torch.ones(draws, 3, device=device)
    conds = run.conditions.at(cameras, background)
    with torch.no_grad():
        frame = run.scene.render(cameras, run.size, background)
        x_src = None if run.source is None else run.prior.encode(run.source.render(cameras, run.size, background).rgb)
    found = []
    for i, level in enumerate(levels):
        context = Context(
            x.expand(draws, *x.shape[1:]),
            conds,
            run.prior,
            stream(run.settings.seed, "variance", i),
            0.5,
            run.critic,
            View(cameras, frame.alpha, frame.depth),
            run.settings.seed,
            x_src=x_src,
            prompt=run.settings.prompt,
        )
        t = run.prior.schedule.timestep(torch.full((draws,), level)).to(device)
        found.append(estimate(distill_gradient(run.objective, context, t)[0], level))
    return tuple(found)


@torch.no_grad()
def own_picture(prior: Prior, prompt: str) -> Tensor:
    """x (1, C, h, w) that the prior itself draws, seen from VIEW."""
    drawn = imagine(prior, prompt, views=1, rows=1, elevation=float(VIEW.elevation[0]))[0]  # (1, 3, H, W)
    return prior.encode(drawn.to(prior.device))


def measure(
    guidance: Sequence[str], prior: Prior, prompt: str, overrides: dict[str, Any], draws: int = 64
) -> Iterator[Profile]:
    """Profiles at the prior's own picture of `prompt`; an objective that cannot run here says why."""
    x = own_picture(prior, prompt)
    for name in guidance:
        try:
            run = prepare(resolve(prompt, {**overrides, "guidance": name}, shared=True), prior)
        except UserError as error:
            yield Profile(name, reason=str(error))
            continue
        try:
            yield Profile(name, profile(run, x, draws))
        except UserError as error:
            yield Profile(name, reason=str(error))
        finally:
            run.close()
