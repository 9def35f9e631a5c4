"""Stable Diffusion XL: two CLIP encoders side by side, the second one's vector and the picture's sizes as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.sd import CLIP, CLIP_TOKENIZER, UNET, VAE
from sds3d.transfer import put_like

PROJECTED = {("transformers", "CLIPTextModelWithProjection"): "transformers.models.clip.modeling_clip"}
FACTOR = 8  # pixels per latent of SDXL's VAE: the network is told sizes in pixels


def matches(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    if config.get("addition_embed_type") != "text_time":
        return False
    if index.get("requires_aesthetics_score"):
        raise UserError("this is SDXL's refiner, which cannot begin a picture: use the base model")
    return True


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    """The penultimate states of both encoders side by side, and the projected vector of the second.

    The empty prompt is all zeros where model_index.json has `force_zeros_for_empty_prompt` (the default).
    """
    from sds3d.priors.clip import ClipText

    first, second = (
        ClipText(components["tokenizer" + n], frozen(components["text_encoder" + n], device)) for n in ("", "_2")
    )
    zeros = bool(components["index"].get("force_zeros_for_empty_prompt", True))

    def encode(prompts: list[str]) -> Cond:
        states, pooled = second.penultimate(prompts)
        tokens = torch.cat([first.penultimate(prompts)[0], states], -1)
        if zeros:
            given = torch.tensor([prompt != "" for prompt in prompts], device=tokens.device)
            tokens, pooled = tokens * given.view(-1, 1, 1), pooled * given.view(-1, 1)
        return Cond(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), pooled=pooled)

    return encode


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    height, width = (FACTOR * n for n in x_t.shape[-2:])
    sizes = torch.tensor([[height, width, 0, 0, height, width]])  # original size, crop's corner, target size
    added = {"text_embeds": cond.pooled, "time_ids": put_like(sizes, x_t).expand(len(x_t), -1)}
    output: Tensor = network(x_t, t, encoder_hidden_states=cond.tokens, added_cond_kwargs=added, return_dict=False)[0]
    return output


FAMILY = Family(
    name="sdxl",
    summary="SDXL",
    network="unet",
    classes={
        "unet": UNET,
        "vae": VAE,
        "text_encoder": CLIP,
        "tokenizer": CLIP_TOKENIZER,
        "text_encoder_2": PROJECTED,
        "tokenizer_2": CLIP_TOKENIZER,
    },
    encode_text=encode_text,
    forward=forward,
    lora="StableDiffusionXLLoraLoaderMixin",
    matches=matches,
)
