"""How a prior is run: what is faster or smaller without being another prior. One switch each, so that each can be
measured; and what to do when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond, Prior, views_per_object
from sds3d.priors.codec import Latents

T = TypeVar("T")
GRAPHS = ("reduce-overhead", "max-autotune")  # ways to compile in which torch replays CUDA graphs


@dataclass(frozen=True)
class Speed:
    """Switches of a prior made of networks; priors in closed form have nothing to switch."""

    channels_last: bool = True  # memory layout of networks of convolutions on CUDA
    # torch.compile the networks, in one of torch's modes: minutes at the start, faster steps. True is default.
    compile: bool | Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    vae_checkpointing: bool = False  # compute again within the encoder's blocks what the way back needs
    vae_slicing: bool = False  # encode each view again instead of keeping anything for the way back
    batch: int = 0  # most predictions in one forward; 0: all of a step
    float32: bool = False  # networks and VAE compute in it, where half precision gives numbers that are not finite

    def __post_init__(self) -> None:
        if isinstance(self.compile, bool):
            object.__setattr__(self, "compile", "default" if self.compile else "off")
        if self.batch < 0:
            raise UserError(f"speed.batch must be 0 (all at once) or more, not {self.batch}")


def configure(prior: Prior, speed: Speed) -> None:
    """Set the switches. UserError for one that this prior has not."""
    network: Any = prior.network
    if network is None or not hasattr(prior, "batch"):
        if speed != Speed():
            raise UserError(f"speed.X has no effect on prior {prior.name!r}, which has no network: leave it out")
        return
    together = views_per_object(prior)
    if speed.batch % together:
        raise UserError(
            f"speed.batch must be a multiple of {together}, not {speed.batch}: prior {prior.name!r} looks at so many "
            "views of an object together"
        )
    prior.batch = speed.batch
    if speed.float32:
        for module in (*networks(prior), *vae(prior)):
            torch.nn.Module.to(module, torch.float32)  # type: ignore[call-overload]
        prior.dtype = torch.float32  # type: ignore[attr-defined]
    if speed.channels_last and prior.device.type == "cuda":
        for module in (*networks(prior), *vae(prior)):
            torch.nn.Module.to(module, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _configure_vae(prior, speed)
    _compile(prior, str(speed.compile))


def _configure_vae(prior: Prior, speed: Speed) -> None:
    codec: Any = getattr(prior, "codec", None)
    for name in ("vae_checkpointing", "vae_slicing"):
        if getattr(speed, name) and not vae(prior):
            raise UserError(f"speed.{name} has no effect: prior {prior.name!r} has no VAE; leave it out")
    if speed.vae_checkpointing:
        codec.checkpoint()
    if speed.vae_slicing:
        codec.slice()


def _compile(prior: Prior, mode: str) -> None:
    """Compile the prior's networks at their first call; those that are compiled already stay as they are."""
    cuda = prior.device.type == "cuda"
    if mode == "reduce-overhead" and not cuda:
        raise UserError(f"speed.compile=reduce-overhead is for CUDA, and this is {prior.device}: use default")
    prior.replays = cuda and mode in GRAPHS  # type: ignore[attr-defined]
    if mode == "off":
        return
    for module in networks(prior):
        if module._compiled_call_impl is None:
            module.compile(mode=mode)


def networks(prior: Prior) -> list[Any]:
    """The network, and the ControlNet around it."""
    around = (getattr(wrap, "model", None) for wrap in getattr(prior, "around", ()))
    return [prior.network, *(model for model in around if isinstance(model, torch.nn.Module))]


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

    First checkpointing of the VAE, then half as many predictions in a forward, down to one (object), then views
    encoded again one by one.
    """
    codec: Any = prior.codec if vae(prior) else None  # type: ignore[attr-defined]
    if codec is not None and not codec.checkpointing:
        codec.checkpoint()
        return "the VAE's blocks computed twice (speed.vae_checkpointing)"
    largest, most = getattr(prior, "largest", 0), getattr(prior, "batch", 0)
    together = views_per_object(prior)
    if min(largest, most or largest) > together:
        prior.batch = max(1, (most or largest) // (2 * together)) * together  # type: ignore[attr-defined]
        return f"at most {prior.batch} predictions at once (speed.batch)"  # type: ignore[attr-defined]
    if codec is not None and not codec.slicing:
        codec.slice()
        return "each view encoded twice (speed.vae_slicing)"
    return None


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
