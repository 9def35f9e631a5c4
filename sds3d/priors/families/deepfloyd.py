"""DeepFloyd IF, stage I: a UNet over 64x64 pixels that attends to T5's token states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.sd import UNET

T5 = {("transformers", "T5EncoderModel"): "transformers.models.t5.modeling_t5"}
T5_TOKENIZER = {("transformers", "T5Tokenizer"): "transformers", ("transformers", "T5TokenizerFast"): "transformers"}
TOKENS = 77  # that IF was trained with


def matches(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    if config.get("addition_embed_type") != "text":
        return False
    if config.get("in_channels") != 3:
        raise UserError("this is an upscaling stage of DeepFloyd IF, which cannot begin a picture: use stage I")
    return True


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    """T5's last hidden states, in lower case as IF was trained."""
    from sds3d.priors.t5 import T5Text

    encoder = T5Text(components["tokenizer"], frozen(components["text_encoder"], device), TOKENS)
    return lambda prompts: Cond(*encoder([prompt.lower().strip() for prompt in prompts]))


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """The network attends to padding as well: IF's own pipeline gives it no mask."""
    output: Tensor = network(x_t, t, encoder_hidden_states=cond.tokens, return_dict=False)[0]
    return output[:, : x_t.shape[1]]  # the rest is the learned variance


FAMILY = Family(
    name="deepfloyd",
    summary="DeepFloyd IF stage I",
    network="unet",
    classes={"unet": UNET, "text_encoder": T5, "tokenizer": T5_TOKENIZER},
    encode_text=encode_text,
    forward=forward,
    lora="StableDiffusionLoraLoaderMixin",
    matches=matches,
)
