"""Reward-weighted score distillation: RewardSDS, RewardVSD, and the same around any other objective."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Objective, Predictions, State
from sds3d.guidance.paths import ddim_step, path
from sds3d.guidance.wrapper import NamedWrapper

Reward = Callable[[Tensor, str], Tensor]  # sRGB images (B, 3, H, W) in [0, 1] and the prompt -> (B,), more is better
PROBE = "probe"


@dataclass(frozen=True, kw_only=True)
class RewardSDS(NamedWrapper):
    """g = sum_i a_i g_i over N noises n_i at one t: the base objective's gradients, weighted by a reward per view.

    Chachy et al., "RewardSDS" (arXiv 2503.09601), eq. 5. R_i is the reward of the image that DDIM finds from x_t(n_i)
    with guidance `cfg`, in `steps` steps from T and proportionally fewer from t. Strategies: "minmax", 0.9 times the
    mean of the two best minus 0.1 times that of the two worst (theirs; of one each where N < 4); "best"; "weighted",
    a = softmax(R / temperature). From `duration` of the run on, and for N = 1, it is the base alone. Costs N times the
    base, and 2 N predictions per step of DDIM. Options of the base are set under its own name.
    """

    count: int = 7
    strategy: Literal["minmax", "best", "weighted"] = "minmax"
    temperature: float = 1.0
    duration: float = 0.7  # share of the run
    reward: str = PROBE  # or package.module:function of your own
    steps: int = 15
    cfg: float = 7.5

    summary: ClassVar[str] = "favour noises that a reward likes (RewardSDS); around any base, many times its cost"

    def __post_init__(self, over: Objective | None) -> None:
        super().__post_init__(over)
        if self.count < 1 or self.steps < 1 or not self.temperature > 0 or not 0 <= self.duration <= 1:
            raise UserError(
                "reward guidance needs count and steps of at least 1, a positive temperature, a duration in [0, 1]"
            )
        if self.reward != PROBE and not all(self.reward.partition(":")):
            raise UserError(f"reward is 'probe' or package.module:function, not {self.reward!r}")

    def needs(self) -> frozenset[str]:
        return self.inner.needs() | {"pos", "null"}

    def active(self, c: Context) -> bool:
        return self.count > 1 and c.progress < self.duration

    def states(self, c: Context, t: Tensor) -> dict[str, State]:
        if not self.active(c):
            return super().states(c, t)
        draws = [super(RewardSDS, self).states(c, t) for _ in range(self.count)]
        numbered = {f"{i}/{name}": state for i, draw in enumerate(draws) for name, state in draw.items()}
        return {"t": draws[0]["t"], **numbered}

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        if not self.active(c):
            return super().calls(c, states)
        every = (self.inner.calls(c, draw_states(states, i)) for i in range(self.count))
        return [Call(call.cond, f"{i}/{call.at}") for i, calls in enumerate(every) for call in calls]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        if not self.active(c):
            return super().combine(e, states, c)
        factors = self.factors(self.rewards(states, c)).to(c.x)  # (N, B)
        total = torch.zeros_like(c.x)
        for i, factor in enumerate(factors):
            own = draw_states(states, i)
            prefix = f"{i}/"
            mine = {Call(k.cond, k.at.removeprefix(prefix)): v for k, v in e.items() if k.at.startswith(prefix)}
            total += factor.view(-1, 1, 1, 1) * self.inner.combine(Predictions(mine, own, c, self.inner), own, c)
        return total

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor:
        return super().post(g, draw_states(states, 0) if self.active(c) else states, c)

    def rewards(self, states: Mapping[str, State], c: Context) -> Tensor:
        """(N, B) of the images that a few DDIM steps find from every noisy state."""
        draws = [states[f"{i}/t"] for i in range(self.count)]
        images = c.prior.decode(finished(c, draws, self.steps, self.cfg))
        return load_reward(self.reward)(images, c.prompt).to(c.x.device).view(self.count, -1)

    def factors(self, rewards: Tensor) -> Tensor:
        """(N, B) weights of the noises from their rewards (N, B)."""
        if self.strategy == "weighted":
            return (rewards / self.temperature).softmax(0)
        rank = rewards.argsort(stable=True, dim=0, descending=True).argsort(0)  # 0 is the best
        if self.strategy == "best":
            return (rank == 0).float()
        few = min(2, self.count // 2)
        return (0.9 * (rank < few) - 0.1 * (rank >= self.count - few)) / few


@dataclass(frozen=True, kw_only=True)
class RewardVSD(RewardSDS):
    """RewardSDS around VSD, as published; the critic trains on the renders as usual."""

    base: str = "vsd"

    summary: ClassVar[str] = "favour noises that a reward likes, around vsd (RewardVSD); slowest of all"


def draw_states(states: Mapping[str, State], i: int) -> dict[str, State]:
    """The states of the i-th noise, by the names that the base objective gave them."""
    return {name.removeprefix(f"{i}/"): state for name, state in states.items() if name.startswith(f"{i}/")}


def finished(c: Context, draws: list[State], steps: int, cfg: float) -> Tensor:
    """x0 (N B, C, h, w), what DDIM with guidance finds from N states of the same B views in one batch."""
    z, t = torch.cat([s.z for s in draws]), torch.cat([s.t for s in draws])
    hops = -(-steps * int(t.max()) // c.prior.schedule.steps) or 1
    share = 1 - torch.arange(hops + 1, device=t.device) / hops
    levels = (share[:, None] * t).round().long()  # (hops + 1, N B), each view's own t down to 0
    rows = torch.arange(len(c.x)).repeat(len(draws))
    conds = {k: c.conds[k].repeat(len(c.x)).select(rows.to(c.conds[k].tokens.device)) for k in ("pos", "null")}
    wide = replace(c, conds=conds, nfe=Counter())
    last = path(wide, z, levels, cfg)[-1]
    c.nfe.update({network: len(draws) * n for network, n in wide.nfe.items()})
    assert last.noise is not None
    return ddim_step(last.z, last.noise, last.t, None, c.prior.schedule)


@lru_cache
def load_reward(name: str) -> Reward:
    """The function behind a `reward` setting. UserError when there is none."""
    if name == PROBE:
        try:
            from sds3d.probe.judge import load_probe
        except ImportError:
            raise UserError("there is no probe in this installation: set reward to package.module:function") from None
        return load_probe().score
    module, _, function = name.partition(":")
    try:
        reward: Reward = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"reward {name!r} cannot be loaded ({error}): give package.module:function") from None
    return reward
