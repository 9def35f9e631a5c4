"""How a prior is run: what is faster or smaller without being another prior. One switch each, so that each can be
measured; and what to do when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond, Prior
from sds3d.priors.codec import Latents

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Switches of a prior made of networks; priors in closed form have nothing to switch."""

    channels_last: bool = True  # memory layout of networks of convolutions on CUDA
    compile: bool = False  # torch.compile the network: minutes at the start, faster steps
    vae_checkpointing: bool = False  # encode twice instead of keeping what the way back needs
    batch: int = 0  # most predictions in one forward; 0: all of a step

    def __post_init__(self) -> None:
        if self.batch < 0:
            raise UserError(f"speed.batch must be 0 (all at once) or more, not {self.batch}")


def configure(prior: Prior, speed: Speed) -> None:
    """Set the switches. UserError for one that this prior has not."""
    network: Any = prior.network
    if network is None or not hasattr(prior, "batch"):
        if speed != Speed():
            raise UserError(f"speed.X has no effect on prior {prior.name!r}, which has no network: leave it out")
        return
    prior.batch = speed.batch
    if speed.channels_last and prior.device.type == "cuda":
        for module in (network, *vae(prior)):
            torch.nn.Module.to(module, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if speed.vae_checkpointing:
        if not vae(prior):
            raise UserError(f"speed.vae_checkpointing has no effect: prior {prior.name!r} has no VAE; leave it out")
        prior.codec.checkpoint()  # type: ignore[attr-defined]
    if speed.compile:
        network.compile()


def vae(prior: Prior) -> tuple[Any, ...]:
    """Its VAE, if it has one."""
    codec = getattr(prior, "codec", None)
    return (codec.vae,) if isinstance(codec, Latents) else ()


def in_batches(
    forward: Callable[[Tensor, Tensor, Cond], Tensor], x: Tensor, t: Tensor, cond: Cond, most: int
) -> Tensor:
    """forward(x, t, cond) over at most `most` rows at a time; 0: all at once."""
    if not most or len(x) <= most:
        return forward(x, t, cond)
    rows = torch.arange(len(x), device=x.device).split(most)
    return torch.cat([forward(x[r], t[r], cond.select(r)) for r in rows])


def relieve(prior: Prior) -> str | None:
    """Take the next way to need less memory, and say which; None when there is none left.

    First checkpointing of the VAE, then half as many predictions in a forward, down to one.
    """
    if vae(prior) and not getattr(prior.codec, "checkpointing", True):  # type: ignore[attr-defined]
        prior.codec.checkpoint()  # type: ignore[attr-defined]
        return "the VAE encodes twice (speed.vae_checkpointing)"
    largest, most = getattr(prior, "largest", 0), getattr(prior, "batch", 0)
    if min(n for n in (largest, most or largest)) <= 1:
        return None
    prior.batch = max(1, (most or largest) // 2)  # type: ignore[attr-defined]
    return f"at most {prior.batch} predictions at once (speed.batch)"  # type: ignore[attr-defined]


def with_relief(prior: Prior, work: Callable[[], T], tell: Callable[[str], None]) -> T:
    """work(), again with less memory as long as it runs out and there is a way; `tell` is told each."""
    while True:
        try:
            return work()
        except torch.cuda.OutOfMemoryError:
            way = relieve(prior)
            if way is None:
                raise
        gc.collect()
        if prior.device.type == "cuda":
            torch.cuda.empty_cache()
        tell(f"out of memory: going on with {way}")
