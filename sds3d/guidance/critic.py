"""Critics: models of the rendered distribution, trained online (LoRA) or known in closed form (oracle)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sds3d.errors import UserError
from sds3d.guidance.base import q_sample
from sds3d.guidance.lora import Adapter
from sds3d.priors.base import Cond, Prior, views_per_object
from sds3d.transfer import put, put_like, step_unless


@dataclass(frozen=True)
class CriticConfig:
    """Hyper-parameters of ProlificDreamer's critic (arXiv 2305.16213, appendix; official code)."""

    rank: int = 8  # of the LoRA updates
    lr: float = 1e-4  # AdamW
    steps: int = 1  # updates per step of the scene
    camera_dropout: float = 0.1  # share of training views without a camera

    def __post_init__(self) -> None:
        if self.rank < 1 or self.steps < 1 or not self.lr > 0 or not 0 <= self.camera_dropout <= 1:
            raise UserError("a critic needs rank and steps of at least 1, a positive lr, a camera_dropout in [0, 1]")


class CameraTokens(nn.Module):
    """A small MLP from camera angles to an offset on every text token; its last layer starts at zero.

    For priors without a camera input of their own. Rows without a camera (NaN) get no offset.
    """

    FEATURES = 6

    def __init__(self, width: int, generator: torch.Generator, hidden: int = 64) -> None:
        super().__init__()
        self.enter = nn.Parameter(torch.randn(hidden, self.FEATURES, generator=generator) / math.sqrt(self.FEATURES))
        self.leave = nn.Parameter(torch.zeros(width, hidden))

    def forward(self, camera: Tensor) -> Tensor:
        """(B, 3) azimuth, elevation, fov in degrees -> (B, 1, D)."""
        known = ~camera.isnan().any(-1, keepdim=True)
        azimuth, elevation, fov = torch.where(known, camera, torch.zeros_like(camera)).float().deg2rad().unbind(-1)
        waves = [torch.ones_like(fov), azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos(), fov]
        hidden = nn.functional.silu(torch.stack(waves, -1) @ self.enter.T)
        return (hidden @ self.leave.T * known)[:, None]


class LoraCritic:
    """VSD's e_psi: the prior's own network with low-rank adapters, trained on the renders by denoising score matching.

    Predictions go through `prior.predict`, so they arrive in eps units like the prior's own. While no method of the
    critic is running the adapters are off and the prior is bitwise what it was.

    Args:
        prior: its `network` is adapted in place; `remove` undoes that.
        config: hyper-parameters.
        generator: for the initial values.
    Errors: UserError when the prior has no network to adapt.
    """

    def __init__(self, prior: Prior, config: CriticConfig, generator: torch.Generator) -> None:
        if prior.network is None:
            raise UserError(f"prior {prior.name!r} has no network for a critic to adapt: choose another guidance")
        self.prior, self.config = prior, config
        self.adapter = Adapter(prior.network, config.rank, generator)
        self.camera = None
        if "camera" not in prior.capabilities:
            self.camera = CameraTokens(prior.text([""]).tokens.shape[-1], generator).to(prior.device)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=config.lr, fused=True)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        camera = {} if self.camera is None else dict(self.camera.named_parameters(prefix="camera"))
        return self.adapter.named_parameters() | camera

    def parameters(self) -> list[nn.Parameter]:
        return list(self.named_parameters().values())

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w) of the rendered distribution; arguments as Prior.predict."""
        with self._adapted():
            return self.prior.predict(x_t, t, self._encode_camera(cond))

    def train_step(self, x: Tensor, cond: Cond, generator: torch.Generator, skip: Tensor | None = None) -> Tensor:
        """`config.steps` updates on encoded renders x (B, C, h, w) under `cond`; the mean squared error of eps, 0-d.

        t is uniform in [0, T). The loss is ||e_psi - n||^2; an update with a non-finite gradient is skipped, and all
        are where `skip`, 0-d on the device, is 1.
        """
        skip = x.new_zeros((), dtype=torch.float32) if skip is None else skip
        losses = [self._update(x.detach(), cond, generator, skip) for _ in range(self.config.steps)]
        return torch.stack(losses).mean()

    def remove(self) -> None:
        """Take the adapters off the prior's network."""
        self.adapter.remove()

    def state_dict(self) -> dict[str, Tensor]:
        """Weights by name, and the optimiser's moments as "optimizer/NAME/KEY"."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters().items():
            state[name] = parameter.detach()
            state |= {f"optimizer/{name}/{k}": v for k, v in self.optimizer.state[parameter].items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict()`. Errors: ValueError when it belongs to a critic of another shape."""
        parameters = self.named_parameters()
        saved = {k: v.shape for k, v in state.items() if not k.startswith("optimizer/")}
        if saved != {k: p.shape for k, p in parameters.items()}:
            raise ValueError("the critic in this checkpoint was made for another network or configuration")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state[name])
                prefix = f"optimizer/{name}/"
                moments = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                self.optimizer.state[parameter] = {k: v.to(parameter, copy=True) for k, v in moments.items()}

    def _update(self, x: Tensor, cond: Cond, generator: torch.Generator, skip: Tensor) -> Tensor:
        schedule, together = self.prior.schedule, views_per_object(self.prior)
        objects = len(x) // together
        t = torch.randint(schedule.steps, (objects,), generator=generator).repeat_interleave(together)
        t, noise = put(t, x.device), put_like(torch.randn(x.shape, generator=generator), x)
        state = q_sample(x, t, noise, schedule)
        drop = torch.rand(objects, generator=generator).repeat_interleave(together) < self.config.camera_dropout
        with torch.enable_grad(), self._adapted():
            error = self.prior.predict(state.z, t, self._encode_camera(_forget_camera(cond, drop))) - noise
            loss = error.square().sum() / len(x)  # summed, not averaged: gradients of a usable size in half precision
            self.optimizer.zero_grad()
            loss.backward()
        norms = torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None])
        step_unless(self.optimizer, skip.maximum((~norms.isfinite().all()).to(skip)))
        return loss.detach() / x[0].numel()

    def _encode_camera(self, cond: Cond) -> Cond:
        """The camera as this prior can take it: natively, or as an offset on the tokens."""
        if self.camera is None or cond.camera is None:
            return cond
        tokens = cond.tokens + self.camera(cond.camera.to(cond.tokens.device)).to(cond.tokens.dtype)
        return replace(cond, tokens=tokens, camera=None)

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        self.adapter.switch(True)
        try:
            yield
        finally:
            self.adapter.switch(False)


def _forget_camera(cond: Cond, rows: Tensor) -> Cond:
    if cond.camera is None:
        return cond
    return cond.with_camera(cond.camera.masked_fill(put(rows[:, None], cond.camera.device), float("nan")))


@dataclass(frozen=True)
class OracleCritic:
    """A critic that knows the rendered distribution in closed form, such as `oracle.finite_set(particles)`.

    OBJECTIVES 4.1 item 5: for a single particle x its prediction is the noise itself, and VSD is SDS.
    """

    model: Prior

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return self.model.predict(x_t, t, cond)

    def train_step(self, x: Tensor, cond: Cond, generator: torch.Generator, skip: Tensor | None = None) -> Tensor:
        """Nothing to learn."""
        return x.new_zeros(())
