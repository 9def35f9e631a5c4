"""Sana: a linear transformer over the small latents of a deep compression autoencoder, Gemma 2's tokens; flow.

Xie et al., "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers" (arXiv 2410.10629).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.codec import Codec, Latents, recompute
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.flow import flow_noising
from sds3d.priors.noise import Noising

TRANSFORMER = {("diffusers", "SanaTransformer2DModel"): "diffusers.models.transformers.sana_transformer"}
AUTOENCODER = {("diffusers", "AutoencoderDC"): "diffusers.models.autoencoders.autoencoder_dc"}
GEMMA = {("transformers", "Gemma2Model"): "transformers.models.gemma2.modeling_gemma2"}
GEMMA_TOKENIZER = {
    ("transformers", "GemmaTokenizer"): "transformers",
    ("transformers", "GemmaTokenizerFast"): "transformers",
}


class DeepCompressed(Latents):
    """x = scale E(rgb) of a deterministic autoencoder (DC-AE, Chen et al., arXiv 2410.10733)."""

    def checkpoint(self) -> None:
        """Keep nothing, as `slice` does: this encoder has no blocks that could be computed again."""
        if not self.slicing:
            recompute(self.vae.encoder)
        self.checkpointing = self.slicing = True

    def _encode(self, pixels: Tensor) -> Tensor:
        latent: Tensor = self.vae.encode(pixels).latent
        return latent


def matches(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    if config.get("guidance_embeds"):
        raise UserError("this is Sana Sprint, distilled to a few steps of another kind of noise: use plain Sana")
    return True


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    from sds3d.priors.gemma import GemmaText

    encoder = GemmaText(components["tokenizer"], frozen(components["text_encoder"], device))
    return lambda prompts: Cond(*encoder(prompts))


def codec(network: Any, vae: Any) -> Codec:
    return DeepCompressed(vae, int(network.config.sample_size) * vae.spatial_compression_ratio)


def noising(components: Components) -> Noising:
    config = components["transformer"].config
    return flow_noising(components["scheduler"], (config.sample_size // config.patch_size) ** 2)


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    output: Tensor = network(
        x_t,
        encoder_hidden_states=cond.tokens,
        encoder_attention_mask=cond.mask,
        timestep=t * network.config.timestep_scale,
        return_dict=False,
    )[0]
    return output[:, : x_t.shape[1]]


FAMILY = Family(
    name="sana",
    summary="Sana",
    network="transformer",
    classes={"transformer": TRANSFORMER, "vae": AUTOENCODER, "text_encoder": GEMMA, "tokenizer": GEMMA_TOKENIZER},
    encode_text=encode_text,
    forward=forward,
    lora="SanaLoraLoaderMixin",
    float16=False,
    matches=matches,
    noising=noising,
    codec=codec,
)
