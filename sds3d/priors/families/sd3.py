"""Stable Diffusion 3 and 3.5: a transformer over patches and tokens, two CLIPs and a T5 that may be absent; flow.

Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (arXiv 2403.03206).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.deepfloyd import T5, T5_TOKENIZER
from sds3d.priors.families.flow import attended, flow_noising
from sds3d.priors.families.sd import CLIP_TOKENIZER, VAE
from sds3d.priors.families.sdxl import PROJECTED
from sds3d.priors.noise import Noising

TRANSFORMER = {("diffusers", "SD3Transformer2DModel"): "diffusers.models.transformers.transformer_sd3"}
T5_TOKENS = 256  # diffusers' pipeline gives as many


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    """Both CLIPs' penultimate states side by side, widened with zeros to T5's, and T5's states; both projected vectors.

    Without T5 CLIPs' states alone, which `forward` completes.
    """
    from sds3d.priors.clip import ClipText
    from sds3d.priors.t5 import T5Text

    if ("text_encoder_3" in components) != ("tokenizer_3" in components):
        raise UserError("this model has one of text_encoder_3 and tokenizer_3 alone: it needs both, or neither")
    alone = "text_encoder_3" not in components
    clips = [
        ClipText(components["tokenizer" + n], frozen(components["text_encoder" + n], device), alone) for n in ("", "_2")
    ]
    t5 = None
    if not alone:
        t5 = T5Text(components["tokenizer_3"], frozen(components["text_encoder_3"], device), T5_TOKENS, masked=False)

    def encode(prompts: list[str]) -> Cond:
        states, pooled = zip(*(clip.penultimate(prompts) for clip in clips), strict=True)
        tokens = torch.cat(states, -1)  # (B, 77, D1 + D2)
        if t5 is not None:
            long = t5(prompts)[0]  # (B, 256, D)
            tokens = torch.cat([F.pad(tokens, (0, long.shape[-1] - tokens.shape[-1])), long], 1)
        return attended(tokens, torch.cat(pooled, -1))

    return encode


def noising(components: Components) -> Noising:
    config = components["transformer"].config
    return flow_noising(components["scheduler"], (config.sample_size // config.patch_size) ** 2)


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    output: Tensor = network(
        x_t,
        timestep=t,
        encoder_hidden_states=completed(cond.tokens, network.config.joint_attention_dim),
        pooled_projections=cond.pooled,
        return_dict=False,
    )[0]
    return output


def completed(tokens: Tensor, width: int) -> Tensor:
    """Zeros where there is no T5, at the side and in its place, as for a share of the training (section 5.3.3)."""
    missing = width - tokens.shape[-1]
    return F.pad(tokens, (0, missing, 0, T5_TOKENS)) if missing else tokens


FAMILY = Family(
    name="sd3",
    summary="Stable Diffusion 3 and 3.5",
    network="transformer",
    classes={
        "transformer": TRANSFORMER,
        "vae": VAE,
        "text_encoder": PROJECTED,
        "tokenizer": CLIP_TOKENIZER,
        "text_encoder_2": PROJECTED,
        "tokenizer_2": CLIP_TOKENIZER,
        "text_encoder_3": T5,
        "tokenizer_3": T5_TOKENIZER,
    },
    encode_text=encode_text,
    forward=forward,
    lora="SD3LoraLoaderMixin",
    optional=frozenset({"text_encoder_3", "tokenizer_3"}),
    float16=False,
    noising=noising,
)
