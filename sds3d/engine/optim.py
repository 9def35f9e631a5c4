"""One Adam per parameter group, so that scenes can add and remove rows of one group's state (densification)."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.scenes.base import ParamGroup
from sds3d.transfer import step_unless


class Optimizers:
    """Adam(0.9, 0.99) per group, its rate exponential from `lr` to `final` over the run; less where a group's rates are
    for fewer steps than `whole`, those that the run would have if it went through all noise levels."""

    def __init__(self, groups: list[ParamGroup], whole: float = 0.0) -> None:
        shares = {group.name: min(1.0, group.steps / whole) if whole else 1.0 for group in groups}
        self.rates = {g.name: (g.lr * shares[g.name], g.final * shares[g.name]) for g in groups}
        self.by_name: dict[str, torch.optim.Optimizer] = {
            group.name: torch.optim.Adam(group.params, lr=group.lr, betas=(0.9, 0.99), eps=1e-15, fused=True)
            for group in groups
        }

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self._params() if p.grad is not None]

    def zero_grad(self) -> None:
        for optimizer in self.by_name.values():
            optimizer.zero_grad(set_to_none=True)

    def step(self, progress: float, skip: Tensor | None = None) -> None:
        """One update at the learning rates of `progress` in [0, 1), or none where `skip`, 0-d float32, is 1."""
        for name, optimizer in self.by_name.items():
            lr, final = self.rates[name]
            optimizer.param_groups[0]["lr"] = lr * (final / lr) ** progress if lr > 0 else 0.0
            step_unless(optimizer, skip)

    def state_dict(self) -> dict[str, Tensor]:
        """GROUP.INDEX.MOMENT -> tensor."""
        return {
            f"{name}.{i}.{key}": value
            for name, optimizer in self.by_name.items()
            for i, p in enumerate(optimizer.param_groups[0]["params"])
            for key, value in optimizer.state.get(p, {}).items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for key, value in state.items():
            name, index, moment = key.rsplit(".", 2)
            optimizer = self.by_name[name]
            p = optimizer.param_groups[0]["params"][int(index)]
            optimizer.state[p][moment] = value.to(p.device, copy=True)

    def _params(self) -> list[torch.nn.Parameter]:
        return [p for optimizer in self.by_name.values() for p in optimizer.param_groups[0]["params"]]
