"""Tiny random-weight pipelines of the transformer families, built and saved by diffusers itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from prior_helpers import noise, write_clip_tokenizer
from torch import Tensor

from sds3d.priors.diffusion import DiffusionPrior

WIDTH = 32  # of CLIP's and T5's states
WORDS = ["a", "red", "chair", "ball", "view", "front", "side", "back", "overhead"]


def t5_tokenizer() -> Any:
    """A unigram tokenizer of a few words and all letters."""
    from transformers import T5Tokenizer

    letters = "abcdefghijklmnopqrstuvwxyz',.-:>"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -4.0) for word in WORDS] + [(letter, -8.0) for letter in letters]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,.-:>'▁\n", "re", "red"]
    vocab = {piece: i for i, piece in enumerate([*marks, *bytes_, *letters])}
    return GemmaTokenizer(vocab=vocab, merges=[("r", "e"), ("re", "d")])


def clip(folder: Path, projected: bool = False) -> tuple[Any, Any]:
    """A tokenizer and a CLIP of two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    write_clip_tokenizer(folder / "clip")
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=WIDTH,
        intermediate_size=37,
        projection_dim=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=62,
        eos_token_id=63,
        pad_token_id=63,
    )
    model = CLIPTextModelWithProjection if projected else CLIPTextModel
    return CLIPTokenizer.from_pretrained(folder / "clip"), model(config)


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=64, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
        )
    )


def kl(channels: int, levels: int, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        norm_num_groups=4,
        **options,
    )


def sd3(folder: Path, with_t5: bool = True) -> Any:
    """8x8 latents of 4 channels, 16x16 pixels; one block of the kind that 3.5 has."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizer, first = clip(folder, projected=True)
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=80,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=24,
            pos_embed_max_size=8,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl(4, 2, shift_factor=0.06, scaling_factor=1.5, sample_size=16, use_quant_conv=False),
        text_encoder=first,
        tokenizer=tokenizer,
        text_encoder_2=clip(folder, projected=True)[1],
        tokenizer_2=tokenizer,
        text_encoder_3=wide_t5(80) if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    )


def wide_t5(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=2))


def flux(folder: Path, distilled: bool = True) -> Any:
    """8x8 latents of 4 channels, 16x16 pixels; "dev" with its guidance input and moving shift, or "schnell"."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    tokenizer, encoder = clip(folder)
    moving = dict(use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=distilled,
            axes_dims_rope=(4, 2, 2),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(**(moving if distilled else {"shift": 1.0})),
        vae=kl(4, 2, shift_factor=0.12, scaling_factor=0.36, sample_size=16, use_quant_conv=False),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
    )


def pixart(folder: Path, sigma: bool = False, sample_size: int = 8, patch_size: int = 2) -> Any:
    """8x8 latents of 4 channels, 64x64 pixels, with a learned variance."""
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=kl(4, 4, sample_size=64, scaling_factor=0.13 if sigma else 0.18215),
        transformer=PixArtTransformer2DModel(
            num_attention_heads=3,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            cross_attention_dim=24,
            sample_size=sample_size,
            patch_size=patch_size,
            caption_channels=WIDTH,
        ),
        scheduler=DPMSolverMultistepScheduler(beta_schedule="linear", beta_start=0.0001, beta_end=0.02),
    )


def sana(folder: Path) -> Any:
    """4x4 latents of 8 channels, 16x16 pixels."""
    from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    return SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=Gemma2Model(
            Gemma2Config(
                vocab_size=330,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
            )
        ),
        vae=AutoencoderDC(
            latent_channels=8,
            attention_head_dim=4,
            encoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (), (5,)),
            decoder_qkv_multiscales=((), (), (5,)),
            scaling_factor=0.41,
        ),
        transformer=SanaTransformer2DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=4,
        ),
        scheduler=DPMSolverMultistepScheduler(
            use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction", algorithm_type="dpmsolver++"
        ),
    )


VARIANTS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sd3": (sd3, {}),
    "sd3-without-t5": (sd3, {"with_t5": False}),
    "flux-dev": (flux, {}),
    "flux-schnell": (flux, {"distilled": False}),
    "pixart-alpha": (pixart, {}),
    "pixart-sigma": (pixart, {"sigma": True}),
    "sana": (sana, {}),
}
FAMILIES = ("sd3", "flux-dev", "pixart-alpha", "sana")  # one variant of each
FOLDERS = TemporaryDirectory(prefix="sds3d-pipelines-")


@dataclass(frozen=True)
class Case:
    """A pipeline of diffusers, the folder it saved itself in, and our prior from there."""

    family: str
    pipeline: Any
    folder: Path
    prior: DiffusionPrior
    shape: tuple[int, int, int]  # of an encoded image

    def noise(self, n: int = 2, seed: int = 0) -> Tensor:
        return noise(n, *self.shape, seed=seed)


@cache
def case(name: str) -> Case:
    """The variant of that name, built once a session."""
    folder = Path(FOLDERS.name) / name
    pipeline = save(folder, *VARIANTS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a family's note
        prior = DiffusionPrior.load(folder, dtype=torch.float32)
    shape = tuple(prior.encode(torch.zeros(1, 3, prior.size, prior.size)).shape[1:])
    return Case(name.partition("-")[0], pipeline, folder, prior, shape)  # type: ignore[arg-type]


def build(builder: Callable[..., Any], scratch: Path, **options: Any) -> Any:
    """A pipeline with the same random weights every time, in eval mode, its progress bar off."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = builder(scratch, **options)
        for model in pipeline.components.values():
            if isinstance(model, torch.nn.Module):
                model.eval().requires_grad_(False)
        enliven(pipeline.transformer)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def enliven(network: torch.nn.Module) -> None:
    """Zero-initialised parameters get values, lest half of the network be silent."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)


def save(folder: Path, builder: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The pipeline, saved in the folder by diffusers."""
    pipeline = build(builder, folder.with_name(f"{folder.name}-tokenizers"), **options)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return pipeline
