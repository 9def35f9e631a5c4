"""The prior that comes with sds3d: pixels, MiniLM's token states, camera, background and image prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder

# What a network may be told of a view, as in Cond: it declares `<name>_conditioned = True` and takes `<name>`.
VIEW = ("camera", "background", "image")


def capabilities(network: Any) -> frozenset[str]:
    return frozenset(v for v in VIEW if getattr(network, f"{v}_conditioned", False))


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    view = {v: given for v in capabilities(network) if (given := getattr(cond, v)) is not None}
    output: Tensor = network(
        x_t, t, encoder_hidden_states=cond.tokens, encoder_attention_mask=cond.mask, return_dict=False, **view
    )[0]
    return output


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    encoder = components["text_encoder"]
    return lambda prompts: Cond(*encoder(prompts))


def encode_image(components: Components, device: torch.device) -> Callable[[Tensor | None], Tensor]:
    """From the network's own encoder; the trained "no image" is all zeros."""
    network = components["unet"]
    size = int(network.config.get("sample_size", 64))

    def encode(rgb: Tensor | None) -> Tensor:
        given = torch.ones(1, 3, size, size) if rgb is None else rgb
        small = torch.nn.functional.interpolate(given, (size, size), mode="area")
        tokens: Tensor = network.encode_image(small.to(device))
        return torch.zeros_like(tokens) if rgb is None else tokens

    return encode


FAMILY = Family(
    name="embedded",
    summary="sds3d's own",
    network="unet",
    classes={
        "unet": {("sds3d.embedded.model", "EigenDenoiser"): "sds3d.embedded.model"},
        "text_encoder": {("sds3d.priors.minilm", "MiniLMEncoder"): "sds3d.priors.minilm"},
    },
    encode_text=encode_text,
    forward=forward,
    capabilities=capabilities,
    encode_image=encode_image,
)
