"""What tells one family of diffusion models from another, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.codec import Codec, Latents, Pixels, factor
from sds3d.priors.noise import Noising, noising_of

Components = Mapping[str, Any]  # what `folder.load_components` gives: modules, "scheduler" and "index" as dicts
Classes = Mapping[tuple[str, str], str]  # (library, class) -> the module that defines it
TextEncoder = Callable[[list[str]], Cond]
PIXEL_SIZE = 64  # of pixel-space networks that do not say


def latents_or_pixels(network: Any, vae: Any) -> Codec:
    """The codec of a network that says its `sample_size`: latents if there is a VAE, else pixels."""
    given, channels = network.config.get("in_channels", 3), 3 if vae is None else vae.config.latent_channels
    if given != channels:
        raise UserError(
            f"this model's network takes {given} channels instead of {channels}: it is made for inpainting, editing or "
            "upscaling; use a text-to-image model"
        )
    if vae is None:
        return Pixels(int(network.config.get("sample_size", PIXEL_SIZE)))
    return Latents(vae, int(network.config.sample_size) * factor(vae))


@dataclass(frozen=True)
class Family:
    """How the components of one kind of model make a prior; everything else is common to all (`DiffusionPrior`).

    `classes` is the allow-list of what model_index.json may name: importing the one module instead of the whole library
    saves seconds, and nothing else is ever imported. A folder belongs to the first family in FAMILIES[class of the
    network] whose `matches` holds.
    """

    name: str
    summary: str  # for people, in "sds3d reads ..."
    network: str  # the component that denoises: "unet" or "transformer"
    classes: Mapping[str, Classes]  # by component
    # Components, device -> something that turns prompts into conditions, on any device; "" is the null condition.
    encode_text: Callable[[Components, torch.device], TextEncoder]
    # network, x_t (B, C, h, w), times (B,) as in training, cond of length B -> output (B, C, h, w), variance cut off.
    # x_t, cond.tokens and cond.pooled come in the network's precision.
    forward: Callable[[Any, Tensor, Tensor, Cond], Tensor]
    optional: frozenset[str] = frozenset()  # components that a folder may do without
    float16: bool = True  # False: the network or a text encoder overflows in it
    # (model_index.json, config.json of the network) -> whether this is the family; UserError: nobody can take it.
    matches: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = lambda index, config: True
    noising: Callable[[Components], Noising] = lambda components: noising_of(components["scheduler"])
    codec: Callable[[Any, Any], Codec] = latents_or_pixels  # network, VAE or None -> codec
    # What the network may be told of a view and more, as Prior.capabilities; "lora" is added for all.
    capabilities: Callable[[Any], frozenset[str]] = lambda network: frozenset()
    note: Callable[[Any], str] = lambda network: ""  # what a user of that network should know, in one line
    lora: str = ""  # the mixin in diffusers.loaders that reads LoRAs for this family; "": there are none
    views: int = 1  # of an object that the network denoises together
    prepare: Callable[[Any], None] = lambda network: None  # changes a loaded network in place, to what `forward` wants
    # Components, device -> image-prompt tokens (B, M, D) of (B, 3, H, W) sRGB in [0, 1], or of None as in Prior.image.
    encode_image: Callable[[Components, torch.device], Callable[[Tensor | None], Tensor]] | None = None


def frozen(module: torch.nn.Module, device: torch.device) -> Any:
    """In eval mode on the device. (diffusers' own `to` imports peft and transformers first, which takes a second.)"""
    return torch.nn.Module.to(module, device).eval().requires_grad_(False)
