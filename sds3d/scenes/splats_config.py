"""The settings of the Gaussian scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sds3d.errors import UserError, unknown
from sds3d.render.splats import BACKENDS

SHAPES = ("ball", "box")  # values of `init` that are no files
Span = tuple[float, float]  # a value at the start and at the end of a run


@dataclass(frozen=True)
class DefaultConfig:
    """Adaptive density control (Kerbl et al. 2023, section 5; gsplat's DefaultStrategy)."""

    gradient: float = 0.025  # those pulled harder than this grow: mean |dL/d mean2d| a view, in half image widths
    reset_every: float = 0.25  # share of the run between two resets of the opacities; 0: never
    revised: bool = False  # halves share the opacity, 1 - sqrt(1 - o) each (Bulo et al. 2024, eq. 7)


@dataclass(frozen=True)
class McmcConfig:
    """Gaussian splatting as Markov chain Monte Carlo (Kheradmand et al. 2024). The number only grows, up to the cap."""

    dead: float = 0.05  # Gaussians with less opacity are relocated, and noise moves those that come near it
    growth: float = 0.2  # share of the Gaussians that is added at a refinement
    noise: float = 300.0  # lambda_noise of eq. 8, over the means' learning rate; the paper's 5e5 is for tiny ones
    opacity: float = 5e-5  # lambda_o of eq. 10, of the sum of opacities; lambda_Sigma is penalty_size


@dataclass(frozen=True)
class SplatsConfig:
    """The Gaussian scene. Spans are (start, end) of the run; shares are of the run's steps."""

    backend: str = "auto"  # a name in render.splats.BACKENDS
    init: str = "ball"  # first shape: ball, box, or the path of a point cloud or mesh file or of a finished run
    init_digest: str = ""  # of the file's content, filled in
    init_opacity: float = 0.6  # of the Gaussians on points and surfaces of files, and of an earlier stage
    count: int = 3000  # Gaussians at the start
    radius: float = 0.6  # of the ball they fill
    box: tuple[float, float, float] = (0.5, 0.5, 0.5)  # half edges of the box they fill
    spread: float = 0.6  # their standard deviation over their mean spacing
    opacity: float = 0.12  # of the Gaussians in the ball or the box
    smooth: float = 0.025  # standard deviation added to every Gaussian: what the training views cannot resolve
    dilation: Span = (0.3, 0.05)  # pixels^2 that widen Gaussians on the screen: in small views it hides what gapes
    sh: int = 0  # degree of the colour's spherical harmonics, 0 (the same from all sides) to 3
    sh_until: float = 0.5  # share of the run at which the last degree comes in; those before it in equal steps
    surfels: bool = False  # flat Gaussians (2DGS), on CUDA only
    lr_means: Span = (8e-3, 1.6e-3)
    lr_quats: Span = (1e-2, 2e-3)
    lr_scales: Span = (1e-2, 2e-3)  # of the log
    lr_opacities: Span = (5e-2, 1e-2)  # of the logit
    lr_colors: Span = (3e-2, 6e-3)  # of the logit
    lr_sh: Span = (5e-3, 1e-3)  # of the coefficients
    strategy: Literal["share", "default", "mcmc"] = "share"  # how their number changes
    default: DefaultConfig = field(default_factory=DefaultConfig)
    mcmc: McmcConfig = field(default_factory=McmcConfig)
    absgrad: bool = False  # grow by sums of absolute gradients over pixels (AbsGS): those of fine detail do not cancel
    refine_every: int = 50  # steps between refinements
    refine_during: Span = (0.2, 0.7)  # share of the run
    grow: float = 0.2  # "share": part of the Gaussians that may become two at a refinement, the largest gradients
    cap: int = 6000  # most Gaussians
    split_scale: float = 0.03  # larger Gaussians are split, smaller ones duplicated
    prune_opacity: float = 0.05  # weaker Gaussians go at a refinement
    prune_scale: float = 0.4  # as do larger ones
    clean_at: float = 0.85  # share of the run at which haze and islands go; again after the last step
    clean_opacity: float = 0.15  # haze: weaker than this; 0 keeps it
    clean_island: float = 0.02  # islands: parts with less than this share of the largest part's opacity; 0 keeps them
    unveil: float = 0.0  # visibility at which a Gaussian takes on half of the colour that is seen where it is
    unveil_from: float = 0.55  # share of the run from which on it does, now and then and after the last step
    penalty_opacity: Span = (0.0, 0.0)  # weight of the sum of opacities
    penalty_size: Span = (0.0, 0.1)  # weight of the sum of mean standard deviations
    harden: float = 0.0  # weight of the sum of 1 - opacity of those above harden_above
    harden_above: float = 0.3  # opacity that tells matter from haze
    harden_at: float = 0.66  # share of the run from which on it counts
    penalty_distortion: Span = (0.0, 0.0)  # surfels: weight of the mean depth distortion (2DGS, eq. 13)
    penalty_normal: Span = (0.0, 0.0)  # surfels: weight of the mean 1 - n . N, N the depth's normal (2DGS, eq. 14)

    def __post_init__(self) -> None:
        if self.count < 1 or self.cap < self.count:
            raise UserError(
                f"splats.count must be at least 1 and splats.cap at least that, not {self.count}, {self.cap}"
            )
        for name in ("opacity", "init_opacity"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"splats.{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.backend not in ("auto", *BACKENDS):
            raise unknown("splats.backend", self.backend, ("auto", *BACKENDS))
        if self.refine_every < 1:
            raise UserError(f"splats.refine_every must be at least 1, not {self.refine_every}")
        if not (min(self.dilation) > 0 and max(self.dilation) <= 1):
            raise UserError(f"splats.dilation must lie above 0 and up to 1 square pixel, not {self.dilation}")
        if not 0 <= self.sh <= 3:
            raise UserError(f"splats.sh is a degree from 0 to 3, not {self.sh}")
        if min(self.box) <= 0:
            raise UserError(f"splats.box needs three half edges above 0, not {self.box}")
        self._check_strategy()

    def _check_strategy(self) -> None:
        if self.absgrad and self.strategy == "mcmc":
            raise UserError("splats.absgrad has no effect with splats.strategy=mcmc, which looks at no gradients")
        if self.surfels and self.dilation != SplatsConfig.dilation:
            raise UserError("splats.dilation has no effect with splats.surfels=true: leave one of them out")
        if self.absgrad and self.surfels:
            raise UserError("splats.absgrad is not there for splats.surfels: leave one of them out")
        if not 0 < self.mcmc.dead < 1 or self.mcmc.growth < 0:
            raise UserError("splats.mcmc.dead lies between 0 and 1, and splats.mcmc.growth is a share from 0")
        if self.surfels and self.backend not in ("auto", "gsplat"):
            raise UserError(f"splats.surfels is drawn by gsplat, not by {self.backend}: leave splats.backend out")
        if not self.surfels and max(*self.penalty_distortion, *self.penalty_normal) > 0:
            raise UserError("splats.penalty_distortion and splats.penalty_normal are for splats.surfels=true")
