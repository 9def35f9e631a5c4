"""Stable Diffusion 1.x and 2.x: a UNet over latents that attends to CLIP's token states; eps or v."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen

UNET = {("diffusers", "UNet2DConditionModel"): "diffusers.models.unets.unet_2d_condition"}
VAE = {("diffusers", "AutoencoderKL"): "diffusers.models.autoencoders.autoencoder_kl"}
CLIP = {("transformers", "CLIPTextModel"): "transformers.models.clip.modeling_clip"}
CLIP_TOKENIZER = {
    ("transformers", "CLIPTokenizer"): "transformers",
    ("transformers", "CLIPTokenizerFast"): "transformers",
}
# UNet2DConditionModel's settings for inputs other than text: image embeddings, labels, sizes.
MORE_INPUTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type", "encoder_hid_dim")


def more_inputs(config: Mapping[str, Any]) -> list[str]:
    """The settings by which this UNet wants more than the states of text tokens."""
    return [key for key in MORE_INPUTS if config.get(key) is not None]


def matches(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """The last family of this class to be asked: what it cannot take is refused."""
    wants = more_inputs(config)
    if wants:
        raise UserError(f"this model's network wants more than text ({wants[0]}); use a plain text-to-image model")
    return True


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    from sds3d.priors.clip import ClipText

    encoder = ClipText(components["tokenizer"], frozen(components["text_encoder"], device))
    return lambda prompts: Cond(*encoder(prompts))


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    output: Tensor = network(x_t, t, encoder_hidden_states=cond.tokens, return_dict=False)[0]
    return output


FAMILY = Family(
    name="sd",
    summary="Stable Diffusion 1.x and 2.x",
    network="unet",
    classes={"unet": UNET, "vae": VAE, "text_encoder": CLIP, "tokenizer": CLIP_TOKENIZER},
    encode_text=encode_text,
    forward=forward,
    lora="StableDiffusionLoraLoaderMixin",
    optional=frozenset({"vae"}),
    matches=matches,
)
