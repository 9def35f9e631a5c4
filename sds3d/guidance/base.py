"""The objective seam (OBJECTIVES ch. 3): states -> network calls -> combination -> weight -> post-op -> gradient on x.

An objective is a frozen dataclass of hyper-parameters on top of `Distillation`, with one or two functions of its own:

- `states`: which noisy states to build (default: one q_sample at t); inversions and ODE paths go here;
- `calls`: which predictions it wants, each a condition at a state;
- `combine`: the linear or nonlinear mix of those predictions, in eps units;
- `post`: what acts on the weighted gradient (masks, balancing, rescaling).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.errors import UserError, unknown
from sds3d.guidance.perp_neg import NEGATIVES, repelled, view_weights
from sds3d.priors.base import Cond, Prior
from sds3d.schedule import WEIGHTS, Schedule
from sds3d.transfer import put_like


@dataclass(frozen=True)
class Call:
    """One network evaluation: condition `cond` at state `at`, by the prior or by the critic (cond starts "critic")."""

    cond: str  # "pos" "null" "neg" "src" "critic" ...
    at: str = "t"

    @property
    def network(self) -> str:
        return "critic" if self.cond.startswith("critic") else "prior"


@dataclass(frozen=True)
class State:
    """A noisy state of the B views."""

    z: Tensor  # (B, C, h, w)
    t: Tensor  # (B,) integer timestep
    alpha: Tensor  # (B, 1, 1, 1)
    sigma: Tensor  # (B, 1, 1, 1)
    noise: Tensor | None  # (B, C, h, w) what it was built with


@dataclass(frozen=True)
class View:
    """What the scene showed to the B cameras of this step; alpha and depth are attached to the scene's graph."""

    cameras: Cameras
    alpha: Tensor  # (B, 1, H, W)
    depth: Tensor  # (B, 1, H, W) along the view axis, 0 where nothing is covered


class CriticLike(Protocol):
    """A trainable (or closed-form) model of the rendered distribution."""

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w), as Prior.predict."""
        ...

    def train_step(self, x: Tensor, cond: Cond, generator: torch.Generator, skip: Tensor | None = None) -> Tensor:
        """One update towards the distribution of x (B, C, h, w), or none where `skip`, 0-d, is 1; returns the loss."""
        ...


@dataclass
class Context:
    """Everything an objective may look at in one step."""

    x: Tensor  # (B, C, h, w) encoded render, detached
    conds: dict[str, Cond]  # by the names used in Call.cond, each of length B (or 1: shared by the views)
    prior: Prior
    generator: torch.Generator  # this step's noise stream
    progress: float = 0.0
    critic: CriticLike | None = None
    view: View | None = None  # None when x does not come from a scene
    seed: int = 0  # of the run, for noise that outlives a step
    step: int = 0  # finished steps of the run
    x_src: Tensor | None = None  # (B, C, h, w) encoded render of the source asset, for editing objectives
    prompt: str = ""  # for rewards, which read it themselves
    cache: dict[str, Any] = field(default_factory=dict)  # lives as long as the run
    nfe: Counter[str] = field(default_factory=Counter)  # predictions per view this step, by network


class Objective(Protocol):
    """What the step asks of an objective; `Distillation` gives all but `calls` and `combine`."""

    @property
    def critic(self) -> bool: ...

    @property
    def source(self) -> bool: ...

    @property
    def weight(self) -> str: ...

    @property
    def clamp(self) -> float: ...

    @property
    def clip(self) -> float: ...

    @property
    def rescale(self) -> float: ...

    @property
    def cfg_interval(self) -> tuple[float, float]: ...

    @property
    def perp_neg(self) -> float: ...

    @property
    def image_weight(self) -> float: ...

    def needs(self) -> frozenset[str]: ...

    def states(self, c: Context, t: Tensor) -> dict[str, State]: ...

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]: ...

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor: ...

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor: ...

    def geometry_loss(self, g: Tensor, c: Context) -> Tensor | None: ...


@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """What objectives share: the weight, the two clamps, one q_sample as the state, no post-op."""

    weight: str = "sds"  # w(t): a name in schedule.WEIGHTS
    clamp: float = 0.0  # largest |x| of the implied target image; 1 suits priors on pixels, 0 is no limit
    clip: float = 0.0  # largest |g| per pixel, keeping its direction across channels; 0 is no limit
    rescale: float = 0.0  # share of the guided prediction that gets the conditional one's standard deviation
    cfg_interval: tuple[float, float] = (0.0, 1.0)  # shares of T with guidance; outside the scale is 1
    perp_neg: float = 0.0  # times Perp-Neg's published weights against wrong views, two more calls; 0 is off
    image_weight: float = 0.0  # of HiFA's loss on the rendered image (step.image_gradient); 0 is off

    critic: ClassVar[bool] = False  # does it need a critic of the rendered distribution?
    source: ClassVar[bool] = False  # does it edit a finished run, whose render is Context.x_src?
    conds: ClassVar[frozenset[str]] = frozenset({"pos", "null"})  # every name that its calls may use
    summary: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.weight not in WEIGHTS:
            raise unknown("weight", self.weight, WEIGHTS)
        if min(self.clamp, self.clip, self.image_weight, self.perp_neg) < 0:
            raise UserError("guidance clamp, clip, image_weight and perp_neg must not be negative; 0 switches them off")
        lo, hi = self.cfg_interval
        if not (0 <= self.rescale <= 1 and 0 <= lo <= hi <= 1):
            raise UserError("guidance rescale is a share between 0 and 1, cfg_interval two rising shares of T")
        if not hasattr(self, "cfg") and (self.rescale, self.cfg_interval, self.perp_neg) != (0, (0, 1), 0):
            raise UserError("rescale, cfg_interval and perp_neg act on guidance of a scale cfg, which this one has not")

    def needs(self) -> frozenset[str]:
        """Names of the conditions to prepare in Context.conds."""
        return self.conds | frozenset(NEGATIVES) if self.perp_neg > 0 else self.conds

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        return {"t": q_sample(c.x, t, self.noise(c, t), c.prior.schedule)}

    def noise(self, c: Context, t: Tensor) -> Tensor:
        """(B, C, h, w) what the default state is built with."""
        return iid_noise(c)

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor:
        return g

    def geometry_loss(self, g: Tensor, c: Context) -> Tensor | None:
        """A scalar loss on what `c.view` shows of the geometry, given the step's gradient g (B, C, h, w); the caller
        back-propagates it into the scene. None: there is no such loss."""
        return None


def iid_noise(c: Context) -> Tensor:
    """Fresh N(0, I) like x. Drawn in float32 on the CPU, so that every device and precision sees the same noise."""
    return put_like(torch.randn(c.x.shape, generator=c.generator), c.x)


def q_sample(x: Tensor, t: Tensor, noise: Tensor, schedule: Schedule) -> State:
    """x_t = alpha_t x + sigma_t n for x (B, C, h, w) and integer t (B,)."""
    alpha, sigma = schedule.alpha_sigma(t, x)
    return State(alpha * x + sigma * noise, t, alpha, sigma, noise)


def guided_calls(scale: float, pos: str = "pos", null: str = "null", at: str = "t") -> list[Call]:
    """The calls that `guided` combines: one where the scale makes the other needless."""
    names = [pos] if scale == 1 else [null] if scale == 0 else [pos, null]
    return [Call(name, at) for name in names]


class Predictions(dict[Call, Tensor]):
    """A step's eps by call, with the states they are of and the objective whose options `guided` heeds."""

    def __init__(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context, objective: Objective) -> None:
        super().__init__(e)
        self.states, self.context, self.objective = states, c, objective


def replaced(e: Mapping[Call, Tensor], changes: Mapping[Call, Tensor]) -> Mapping[Call, Tensor]:
    """The predictions with some of them changed; `guided` heeds the same options."""
    if not isinstance(e, Predictions):
        return {**e, **changes}
    return Predictions({**e, **changes}, e.states, e.context, e.objective)


def negative_calls(calls: list[Call], objective: Objective) -> list[Call]:
    """What Perp-Neg wants beside the objective's calls: the negative views wherever the prompt is guided."""
    prompted = {call.at for call in calls if call.cond == "pos" or call.cond.startswith("region:")}
    levels = [at for at in sorted(prompted) if Call("null", at) in calls]
    return [Call(name, at) for at in levels for name in NEGATIVES] if objective.perp_neg > 0 else []


def guided(e: Mapping[Call, Tensor], scale: float, pos: str = "pos", null: str = "null", at: str = "t") -> Tensor:
    """Classifier-free guidance e_null + s (e_pos - e_null): s = 1 is the plain conditional prediction.

    On a step's `Predictions` the objective's `perp_neg`, `rescale` and `cfg_interval` act on it, in this order, where
    there is guidance (s other than 0 and 1).
    """
    if scale in (0, 1):
        return e[Call(pos if scale == 1 else null, at)]
    cond, base = e[Call(pos, at)], e[Call(null, at)]
    if not isinstance(e, Predictions):
        return base + scale * (cond - base)
    state, options = e.states[at], e.objective
    mixed = base + scale * _repelled(e, cond - base, base, at)
    if options.rescale > 0:
        mixed = rescaled(mixed, cond, state, options.rescale)
    return torch.where(_inside(state, options.cfg_interval, e.context.prior.schedule.steps), mixed, cond)


def _repelled(e: Predictions, delta: Tensor, base: Tensor, at: str) -> Tensor:
    """The classifier direction, kept off the wrong views where these were asked for."""
    wrong = {name: e[Call(name, at)] - base for name in NEGATIVES if Call(name, at) in e}
    if not wrong:
        return delta
    if e.context.view is None:
        raise ValueError("Perp-Neg needs Context.view: its weights depend on the camera")
    weights = view_weights(e.context.view.cameras)
    return repelled(delta, wrong, {name: e.objective.perp_neg * w for name, w in weights.items()})


def rescaled(mixed: Tensor, cond: Tensor, state: State, share: float) -> Tensor:
    """eps (B, C, h, w) `mixed` with the per-view standard deviation of `cond`, by `share`.

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891), eq. 14-16, in the
    units of their networks, v = (e - sigma z) / alpha, where it keeps colours from saturating at every noise level.
    """
    v, v_cond = ((e - state.sigma * state.z) / state.alpha for e in (mixed, cond))
    ratio = v_cond.std((1, 2, 3), keepdim=True) / v.std((1, 2, 3), keepdim=True)
    return state.sigma * state.z + state.alpha * (share * ratio + 1 - share) * v


def _inside(state: State, interval: tuple[float, float], steps: int) -> Tensor:
    """(B, 1, 1, 1) bool: views whose t lies in the guidance interval (Kynkaanniemi et al., arXiv 2404.07724, eq. 5)."""
    share = state.t.view(-1, 1, 1, 1) / steps
    return ((interval[0] <= share) & (share <= interval[1])).to(state.z.device)
