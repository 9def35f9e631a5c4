"""FLUX.1: a transformer over patches and tokens, CLIP's vector and T5's states; flow, distilled in two ways.

"dev" is distilled from guidance: it is told a scale and answers what classifier-free guidance of that scale would have
been (Meng et al., arXiv 2210.03142). It is always told 1, the plain conditional prediction, so that `cfg` means here
what it means for every other prior; told a scale G, a prompt mixed against "" with `cfg` would be guided by about
G cfg. "schnell" has no such input and is distilled to a few steps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.codec import Codec, Latents, factor
from sds3d.priors.families.base import Components, Family, TextEncoder, frozen
from sds3d.priors.families.deepfloyd import T5, T5_TOKENIZER
from sds3d.priors.families.flow import attended, flow_noising
from sds3d.priors.families.sd import CLIP, CLIP_TOKENIZER, VAE
from sds3d.priors.noise import Noising

TRANSFORMER = {("diffusers", "FluxTransformer2DModel"): "diffusers.models.transformers.transformer_flux"}
T5_TOKENS = 512
GUIDANCE = 1.0  # what a guidance-distilled network is told
PATCH = 2  # latents along each side of a patch

DEV = (
    "this prior is distilled from guidance: it is told guidance 1, its plain prediction for the prompt, and cfg mixes "
    "that with the one for the null prompt as for any other prior"
)
SCHNELL = (
    "this prior takes no guidance scale: if it is FLUX.1 schnell, distilled to 1 to 4 steps, it was never trained to "
    "denoise from most noise levels, nor for cfg other than 1; FLUX.1 dev suits distillation better"
)


def note(network: Any) -> str:
    return DEV if network.config.guidance_embeds else SCHNELL


def encode_text(components: Components, device: torch.device) -> TextEncoder:
    """T5's states, padding attended to, and CLIP's state at the prompt's end."""
    from sds3d.priors.clip import ClipText
    from sds3d.priors.t5 import T5Text

    clip = ClipText(components["tokenizer"], frozen(components["text_encoder"], device), alone=False)
    t5 = T5Text(components["tokenizer_2"], frozen(components["text_encoder_2"], device), T5_TOKENS, masked=False)
    return lambda prompts: attended(t5(prompts)[0], clip.penultimate(prompts)[1])


def codec(network: Any, vae: Any) -> Codec:
    """Latents at the VAE's own size: the transformer, whose positions are rotations, names none."""
    given, packed = network.config.in_channels, PATCH**2 * vae.config.latent_channels
    if given != packed:
        raise UserError(
            f"this model's network takes {given} channels instead of {packed}: it is made for inpainting or editing; "
            "use FLUX.1 dev or another text-to-image model"
        )
    return Latents(vae, int(vae.config.sample_size))


def noising(components: Components) -> Noising:
    vae = components["vae"]
    side = vae.config.sample_size // factor(vae) // PATCH
    return flow_noising(components["scheduler"], side**2)


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    height, width = (n // PATCH for n in x_t.shape[-2:])
    told = torch.full_like(t, GUIDANCE) if network.config.guidance_embeds else None
    output: Tensor = network(
        pack(x_t),
        encoder_hidden_states=cond.tokens,
        pooled_projections=cond.pooled,
        timestep=t / 1000,
        img_ids=positions(height, width, x_t.device),
        txt_ids=torch.zeros(cond.tokens.shape[1], 3, device=x_t.device),
        guidance=told,
        return_dict=False,
    )[0]
    return unpack(output, height, width)


def pack(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, hw / 4, 4 C): one token for each 2x2 patch."""
    return F.pixel_unshuffle(x, PATCH).flatten(2).mT


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`, from `height` by `width` patches."""
    return F.pixel_shuffle(tokens.mT.unflatten(2, (height, width)), PATCH)


def positions(height: int, width: int, device: torch.device) -> Tensor:
    """(height width, 3): 0, row and column of every patch."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.cartesian_prod(torch.zeros(1, dtype=torch.long, device=device), rows, columns).float()


FAMILY = Family(
    name="flux",
    summary="FLUX.1",
    network="transformer",
    classes={
        "transformer": TRANSFORMER,
        "vae": VAE,
        "text_encoder": CLIP,
        "tokenizer": CLIP_TOKENIZER,
        "text_encoder_2": T5,
        "tokenizer_2": T5_TOKENIZER,
    },
    encode_text=encode_text,
    forward=forward,
    lora="FluxLoraLoaderMixin",
    float16=False,
    noising=noising,
    codec=codec,
    note=note,
)
