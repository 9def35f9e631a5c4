"""Priors of the true architectures with random weights: speed and memory do not depend on the values.

`sd15-random`, `sdxl-random`, `mvdream-random` and `sd3-random` cost on CUDA what the models do but for the text
encoders, which leave memory before the first step. On a CPU, where the real ones take minutes a step, they are small
nets of the same layout.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sds3d import priors
from sds3d.priors import precision
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.families import Family, mvdream, sd, sd3, sdxl

LAYOUTS = Path(priors.__file__).parent / "layouts"
AUTOENCODER = ("diffusers", "AutoencoderKL")
SMALL_VAE = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}
# Esser et al. 2024 (arXiv 2403.03206), the 2 B model with 24 blocks; diffusers' names.
SD3 = {
    "sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 24,
    "attention_head_dim": 64, "num_attention_heads": 24, "joint_attention_dim": 4096, "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048, "pos_embed_max_size": 192,
}  # fmt: skip
SD3_VAE = {"latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609, "use_quant_conv": False,
           "use_post_quant_conv": False}  # fmt: skip
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}


@dataclass(frozen=True)
class Architecture:
    """A network, what differs in its small twin, and the text it takes."""

    family: Family
    network: tuple[str, str]  # as in model_index.json
    layout: str = ""  # folder in LAYOUTS with the configs, or
    config: Mapping[str, Any] = field(default_factory=dict)  # the network's own
    vae: Mapping[str, Any] = field(default_factory=dict)  # what differs from the layout's
    small: Mapping[str, Any] = field(default_factory=dict)
    tokens: int = 77
    widths: tuple[int, int] = (768, 0)  # of a token, and of the pooled vector
    small_widths: tuple[int, int] = (32, 0)


UNET = ("diffusers", "UNet2DConditionModel")
ARCHITECTURES: dict[str, Architecture] = {
    "sd15-random": Architecture(
        sd.FAMILY, UNET, "sd1",
        small={"sample_size": 8, "block_out_channels": [32, 32, 64, 64], "layers_per_block": 1,
               "attention_head_dim": 4, "cross_attention_dim": 32},
    ),
    "sdxl-random": Architecture(
        sdxl.FAMILY, UNET, "sdxl", widths=(2048, 1280), small_widths=(32, 32),
        small={"sample_size": 8, "block_out_channels": [32, 32, 64], "layers_per_block": 1, "cross_attention_dim": 32,
               "attention_head_dim": [2, 2, 4], "transformer_layers_per_block": [1, 1, 2],
               "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 32},
    ),
    "mvdream-random": Architecture(
        mvdream.FAMILY, UNET, "mvdream", widths=(1024, 0),
        small={"sample_size": 8, "block_out_channels": [64, 64, 64, 64], "layers_per_block": 1,
               "attention_head_dim": 4, "cross_attention_dim": 32},
    ),
    "sd3-random": Architecture(
        sd3.FAMILY, ("diffusers", "SD3Transformer2DModel"), "sd1", SD3, SD3_VAE, tokens=77 + sd3.T5_TOKENS,
        widths=(4096, 2048), small_widths=(32, 32),
        small={"sample_size": 8, "num_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
               "joint_attention_dim": 32, "caption_projection_dim": 32, "pooled_projection_dim": 32,
               "pos_embed_max_size": 8},
    ),
}  # fmt: skip


def random_prior(name: str, device: torch.device, seed: int = 0) -> DiffusionPrior:
    """The prior of an entry of ARCHITECTURES on the device, in the precision that its weights would be loaded in."""
    found, small = ARCHITECTURES[name], device.type != "cuda"
    config = dict(found.config) or _layout(found.layout, "unet")
    vae = {**_layout(found.layout, "vae"), **found.vae}
    if small:
        config |= found.small
        vae |= SMALL_VAE
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(seed)
        network, codec = _build(found, found.network, config), _build(found, AUTOENCODER, vae)
    chosen = precision.pick(device, sum(p.numel() for p in network.parameters()))
    fits = {found.family.network: found.family.float16, "vae": not vae.get("force_upcast", False)}
    types = {part: precision.of_component(part, chosen, fits[part]) for part in fits}
    components = {
        found.family.network: torch.nn.Module.to(network, types[found.family.network]),
        "vae": torch.nn.Module.to(codec, types["vae"]),
        "scheduler": FLOW if found.config else _layout(found.layout, "scheduler", "scheduler_config.json"),
        "index": {},
    }
    texts = random_texts(found.tokens, *(found.small_widths if small else found.widths))
    return DiffusionPrior(components, found.family, device, name, texts)


def random_texts(tokens: int, width: int, pooled: int) -> Callable[[Sequence[str]], list[Cond]]:
    """Stands for text encoders: normal states (1, tokens, width), the same for the same prompt."""

    def encode(prompt: str) -> Cond:
        seed = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=6).digest(), "big")
        draw = torch.Generator().manual_seed(seed)
        states = torch.randn(1, tokens, width, generator=draw)
        vector = torch.randn(1, pooled, generator=draw) if pooled else None
        return Cond(states, torch.ones(1, tokens, dtype=torch.bool), pooled=vector)

    return lambda prompts: [encode(prompt) for prompt in prompts]


def _layout(name: str, part: str, file: str = "config.json") -> dict[str, Any]:
    config: dict[str, Any] = json.loads((LAYOUTS / name / part / file).read_text())
    return config


def _build(found: Architecture, pair: tuple[str, str], config: Mapping[str, Any]) -> Any:
    part = "vae" if pair == AUTOENCODER else found.family.network
    cls = getattr(importlib.import_module(found.family.classes[part][pair]), pair[1])
    return cls.from_config({key: value for key, value in config.items() if not key.startswith("_")})
