"""`--scene splats`: 3D Gaussians (Kerbl et al. 2023), without view-dependent colour."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from sds3d.camera import Cameras
from sds3d.errors import UserError, unknown
from sds3d.render.projection import rotation_matrices
from sds3d.render.splats import BACKENDS, check_backend, choose_backend, render_splats
from sds3d.render.splats_field import SplatField
from sds3d.scenes.base import Field, Frame, ParamGroup
from sds3d.scenes.strategy import Statistics, clean, refine

BOUND = 1.2  # nothing is kept farther from the origin than this
Span = tuple[float, float]  # a value at the start and at the end of a run


@dataclass(frozen=True)
class SplatsConfig:
    """The Gaussian scene. Spans are (start, end) of the run; shares are of the run's steps."""

    backend: str = "auto"  # a name in render.splats.BACKENDS
    count: int = 3000  # Gaussians at the start
    radius: float = 0.6  # of the ball they fill
    spread: float = 0.6  # their standard deviation over their mean spacing
    opacity: float = 0.12
    smooth: float = 0.025  # standard deviation added to every Gaussian: what the training views cannot resolve
    lr_means: Span = (8e-3, 1.6e-3)
    lr_quats: Span = (1e-2, 2e-3)
    lr_scales: Span = (1e-2, 2e-3)  # of the log
    lr_opacities: Span = (5e-2, 1e-2)  # of the logit
    lr_colors: Span = (3e-2, 6e-3)  # of the logit
    refine_every: int = 50  # steps between densification and pruning
    refine_during: Span = (0.2, 0.7)  # share of the run
    grow: float = 0.2  # share of the Gaussians that may become two at a refinement: the largest screen gradients
    cap: int = 6000  # most Gaussians
    split_scale: float = 0.03  # larger Gaussians are split, smaller ones duplicated
    prune_opacity: float = 0.05  # weaker Gaussians go at a refinement
    prune_scale: float = 0.4  # as do larger ones
    clean_at: float = 0.85  # share of the run at which haze and islands go; again after the last step
    clean_opacity: float = 0.15  # haze: weaker than this
    clean_island: float = 0.02  # islands: parts with less than this share of the largest part's opacity
    penalty_opacity: Span = (0.0, 0.0)  # weight of the sum of opacities
    penalty_size: Span = (0.0, 0.1)  # weight of the sum of mean standard deviations

    def __post_init__(self) -> None:
        if self.count < 1 or self.cap < self.count:
            raise UserError(
                f"splats.count must be at least 1 and splats.cap at least that, not {self.count}, {self.cap}"
            )
        if not 0 < self.opacity < 1:
            raise UserError(f"splats.opacity must lie between 0 and 1, not {self.opacity}")
        if self.backend not in ("auto", *BACKENDS):
            raise unknown("splats.backend", self.backend, ("auto", *BACKENDS))
        if self.refine_every < 1:
            raise UserError(f"splats.refine_every must be at least 1, not {self.refine_every}")


class SplatScene:
    """A Scene (scenes/base.py) of N Gaussians; N changes as it refines.

    Parameters, one optimiser each under the same name: means (N, 3), quats (N, 4) w x y z, scales (N, 3) logarithms,
    opacities (N,) logits, colors (N, 3) logits. `after_step` takes the optimisers by name: refinement puts new
    Parameters into `optimizers[name].param_groups[0]["params"]` and carries the rows of Adam's state along.
    """

    def __init__(self, config: SplatsConfig, device: torch.device | str, generator: torch.Generator) -> None:
        self.config, self.device = config, torch.device(device)
        self.backend = choose_backend(self.device) if config.backend == "auto" else config.backend
        check_backend(self.backend, self.device)
        self.params = {name: Parameter(v.to(self.device)) for name, v in _ball(config, generator).items()}
        self.statistics = Statistics.empty(config.count, self.device)

    @classmethod
    def create(cls, config: SplatsConfig, device: torch.device | str, generator: torch.Generator) -> SplatScene:
        """A new scene: a ball of faint grey Gaussians."""
        return cls(config, device, generator)

    def __len__(self) -> int:
        return len(self.params["means"])

    def splats(self) -> dict[str, Tensor]:
        """means (N, 3), quats (N, 4) wxyz of any length, scales (N, 3) standard deviations, opacities (N,) in [0, 1],
        colors (N, 3) sRGB.

        The scales carry a 3D low-pass filter (Mip-Splatting, Yu et al. 2024, eq. 8, without its opacity factor): else
        Gaussians thinner than a training pixel look whole there and fall apart into dots seen from closer.
        """
        p = self.params
        return {
            "means": p["means"],
            "quats": p["quats"],
            "scales": (p["scales"].exp().square() + self.config.smooth**2).sqrt(),
            "opacities": p["opacities"].sigmoid(),
            "colors": p["colors"].sigmoid(),
        }

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB; `extra` holds "means2d" and "radii" of SplatFrame and
        the activated "opacities" and "scales"."""
        splats = self.splats()
        seen = render_splats(
            **splats, cameras=cameras, size=size, background=background.to(self.device), backend=self.backend
        )
        extra = {name: splats[name] for name in ("opacities", "scales")}
        return Frame(seen.rgb, seen.alpha, seen.depth, extra={**extra, "means2d": seen.means2d, "radii": seen.radii})

    def parameters(self) -> list[ParamGroup]:
        """One group per parameter, under its name."""
        return [ParamGroup(name, [p], *getattr(self.config, f"lr_{name}")) for name, p in self.params.items()]

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Weighted sums over the Gaussians of opacity and size, which nothing else holds back where no view looks."""
        assert frame.extra is not None
        loss = frame.alpha.new_zeros(())
        if (weight := _at(self.config.penalty_opacity, progress)) > 0:
            loss = loss + weight * frame.extra["opacities"].sum()
        if (weight := _at(self.config.penalty_size, progress)) > 0:
            loss = loss + weight * frame.extra["scales"].mean(-1).sum()
        return loss

    def after_backward(self, step: int, total: int, frame: Frame, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Remember how strongly each Gaussian is pulled across the screen."""
        assert frame.extra is not None
        if step < self.config.refine_during[1] * total:
            self.statistics.add(frame.extra["means2d"].grad, frame.extra["radii"])

    def after_step(
        self,
        step: int,
        total: int,
        frame: Frame,
        optimizers: dict[str, torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """Densify and prune every `refine_every` steps; remove haze and islands late and after the last step."""
        c, done = self.config, step + 1
        first, last = c.refine_during
        if done % c.refine_every == 0 and first * total <= done <= last * total:
            refine(self.params, optimizers, self.statistics, c, generator)
        if done == total or done == round(c.clean_at * total):
            clean(self.params, optimizers, self.statistics, c)

    @torch.no_grad()
    def surface(self) -> Field:
        """Density: the sum of opacity_i exp(-d_i^2 / 2) over the Gaussians, d_i the Mahalanobis distance."""
        s = {name: value.detach().cpu() for name, value in self.splats().items()}
        field = SplatField(**s)
        spread = torch.einsum("nij,nj->ni", rotation_matrices(s["quats"]).square(), s["scales"].square()).sqrt()
        solid = s["opacities"] >= min(0.5, float(s["opacities"].max()))
        reach = float((s["means"].abs() + 2 * spread)[solid].max())
        return Field(field.density, field.color, min(reach, BOUND))

    def state_dict(self) -> dict[str, Tensor]:
        return {**{name: p.detach() for name, p in self.params.items()}, **self.statistics.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore exactly, whatever the number of Gaussians; the Parameters stay the same objects."""
        for name, p in self.params.items():
            p.data = state[name].to(self.device, copy=True)
            p.grad = None
        self.statistics.load_state_dict({k: v.to(self.device, copy=True) for k, v in state.items()})


def _ball(config: SplatsConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Grey Gaussians, uniform in a ball, each about as wide as the space it has."""
    n = config.count
    direction = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
    distance = config.radius * torch.rand(n, 1, generator=generator) ** (1 / 3)
    spacing = config.radius * (4 / 3 * math.pi / n) ** (1 / 3)
    return {
        "means": direction * distance,
        "quats": torch.randn(n, 4, generator=generator),
        "scales": torch.full((n, 3), math.log(config.spread * spacing)),
        "opacities": torch.full((n,), math.log(config.opacity / (1 - config.opacity))),
        "colors": torch.zeros(n, 3),
    }


def _at(span: Span, progress: float) -> float:
    return span[0] + (span[1] - span[0]) * progress
