"""PixArt-alpha and -Sigma: a transformer over latents that attends to T5's tokens; eps, with a learned variance.

Chen et al., "PixArt-alpha" (arXiv 2310.00426) and "PixArt-Sigma" (arXiv 2403.04692).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.deepfloyd import T5, T5_TOKENIZER
from sds3d.priors.families.sd import VAE
from sds3d.transfer import put_like

TRANSFORMER = {
    ("diffusers", "PixArtTransformer2DModel"): "diffusers.models.transformers.pixart_transformer_2d",
    ("diffusers", "Transformer2DModel"): "diffusers.models.transformers.transformer_2d",  # in files of 2023
}
FACTOR = 8  # pixels per latent of their VAEs: some networks are told the size in pixels


def is_pixart(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Transformer2DModel has served many models; PixArt's are the ones with a single adaptive norm."""
    return config.get("norm_type") == "ada_norm_single"


def is_sigma(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return index.get("_class_name") == "PixArtSigmaPipeline" and is_pixart(index, config)


def encode_text(components: Components, device: torch.device, tokens: int) -> TextEncoder:
    """T5's states of the prompt in lower case, padding masked."""
    from sds3d.priors.t5 import T5Text

    encoder = T5Text(components["tokenizer"], frozen(components["text_encoder"], device), tokens)
    return lambda prompts: Cond(*encoder([prompt.lower().strip() for prompt in prompts]))


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    output: Tensor = network(
        x_t,
        encoder_hidden_states=cond.tokens,
        encoder_attention_mask=cond.mask,
        timestep=t,
        added_cond_kwargs=sizes(network, x_t),
        return_dict=False,
    )[0]
    return output[:, : x_t.shape[1]]


def sizes(network: Any, x_t: Tensor) -> dict[str, Tensor | None]:
    """Resolution in pixels (B, 2) and aspect ratio (B, 1), for networks that are told them."""
    if not network.use_additional_conditions:
        return {"resolution": None, "aspect_ratio": None}
    n, _, height, width = x_t.shape
    resolution = put_like(torch.tensor([[FACTOR * height, FACTOR * width]]), x_t)
    return {
        "resolution": resolution.expand(n, -1),
        "aspect_ratio": x_t.new_full((n, 1), height / width),
    }


ALPHA = Family(
    name="pixart-alpha",
    summary="PixArt",
    network="transformer",
    classes={"transformer": TRANSFORMER, "vae": VAE, "text_encoder": T5, "tokenizer": T5_TOKENIZER},
    encode_text=partial(encode_text, tokens=120),
    forward=forward,
    matches=is_pixart,
)
SIGMA = replace(ALPHA, name="pixart-sigma", encode_text=partial(encode_text, tokens=300), matches=is_sigma)
