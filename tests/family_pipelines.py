"""Tiny pipelines with random weights of every UNet family, and what diffusers' own pipelines compute with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from prior_helpers import SD_SCHEDULER, WIDTH, write_clip_tokenizer, write_json, write_sd_folder
from torch import Tensor, nn

IF_SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_schedule": "squaredcos_cap_v2",
    "variance_type": "learned_range",
    "prediction_type": "epsilon",
    "thresholding": True,
}
SDXL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
}
IF_INDEX = {
    "_class_name": "IFPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "scheduler": ["diffusers", "DDPMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "watermarker": [None, None],
}


@contextmanager
def weights(seed: int) -> Iterator[None]:
    """Models made inside have the random weights of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def save(folder: Path, **models: Any) -> None:
    for name, model in models.items():
        model.save_pretrained(folder / name, safe_serialization=True)


def tiny_unet(**options: Any) -> nn.Module:
    """16x16 latents unless told otherwise."""
    from diffusers import UNet2DConditionModel

    common: dict[str, Any] = dict(
        sample_size=16,
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    return UNet2DConditionModel(**(common | options))


def tiny_vae(blocks: int, **options: Any) -> nn.Module:
    """2**(blocks - 1) pixels per latent."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        norm_num_groups=4,
        **options,
    )


def clip_config(width: int = WIDTH, layers: int = 3, projection: int = 24, words: int = 64, **options: Any) -> Any:
    """For the tokenizer of `write_clip_tokenizer`; the last two of the words are the marks."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=projection,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
        **options,
    )


def write_sdxl_folder(folder: Path, prediction_type: str = "epsilon", **unet_options: Any) -> Path:
    """SDXL's layout: 8x8 latents, 64x64 pixels, two text encoders of different widths."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    with weights(2):
        unet = tiny_unet(
            **dict(
                sample_size=8,
                cross_attention_dim=WIDTH + 16,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=24 + 6 * 8,
                transformer_layers_per_block=(1, 2),
                use_linear_projection=True,
            )
            | unet_options
        )
        first = CLIPTextModel(clip_config())
        second = CLIPTextModelWithProjection(clip_config(16, hidden_act="gelu"))
        save(folder, unet=unet, vae=tiny_vae(4, scaling_factor=0.13025, force_upcast=True))
        save(folder, text_encoder=first, text_encoder_2=second)
    write_clip_tokenizer(folder / "tokenizer")
    write_clip_tokenizer(folder / "tokenizer_2")
    scheduler = SD_SCHEDULER | {"_class_name": "EulerDiscreteScheduler", "prediction_type": prediction_type}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", SDXL_INDEX | {"force_zeros_for_empty_prompt": True})
    return folder


def write_if_folder(folder: Path, **unet_options: Any) -> Path:
    """DeepFloyd IF's stage I: 16x16 pixels, T5, learned variance, the text in the time embedding as well."""
    with weights(3):
        unet = tiny_unet(
            **dict(
                in_channels=3,
                out_channels=6,
                encoder_hid_dim=16,
                encoder_hid_dim_type="text_proj",
                addition_embed_type="text",
                addition_embed_type_num_heads=2,
                down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
                mid_block_type="UNetMidBlock2DSimpleCrossAttn",
                up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
                resnet_time_scale_shift="scale_shift",
                act_fn="gelu",
            )
            | unet_options
        )
        save(folder, unet=unet, text_encoder=tiny_t5())
    write_t5_tokenizer(folder / "tokenizer")
    write_json(folder / "scheduler" / "scheduler_config.json", IF_SCHEDULER)
    write_json(folder / "model_index.json", IF_INDEX)
    return folder


def tiny_t5(width: int = 16) -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=width, d_kv=4, d_ff=20, num_layers=2, num_heads=4, decoder_start_token_id=0)
    )


def write_t5_tokenizer(folder: Path) -> None:
    """A unigram model over single letters; <pad> is 0 and </s> is 1, as in T5."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters, ("▁red", -1.0)]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "T5Tokenizer",
            "model_max_length": 77,
            "pad_token": "<pad>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "extra_ids": 0,
        },
    )


def write_mvdream_folder(folder: Path) -> Path:
    """MVDream's network under diffusers' names: 8x8 latents, a camera in the place of a class."""
    return write_sd_folder(
        folder,
        sample_size=8,
        block_out_channels=(64, 64),  # two a group: the norm takes a camera away from one alone
        norm_num_groups=32,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )


def ring_angles(objects: int, elevation: float = 15.0) -> Tensor:
    """(4 objects, 3) azimuth, elevation, fov of four views around each."""
    azimuth = (torch.arange(4) * 90.0 + 20.0 * torch.arange(objects)[:, None]).flatten()
    return torch.stack([azimuth, torch.full_like(azimuth, elevation), torch.full_like(azimuth, 40.0)], -1)


WRITERS = {"sd": write_sd_folder, "sdxl": write_sdxl_folder, "deepfloyd": write_if_folder}


@dataclass
class Seen:
    """One call of the scheduler inside a diffusers pipeline."""

    output: Tensor  # (1, C, h, w) of the network, after guidance
    t: float
    sample: Tensor  # (1, C, h, w)


def watch(pipeline: Any, prompt: str, scale: float, steps: int = 3, **options: Any) -> list[Seen]:
    """What diffusers' pipeline computes on its way, with classifier-free guidance; `options` are its own."""
    seen: list[Seen] = []
    step = pipeline.scheduler.step

    def recording(output: Tensor, t: Any, sample: Tensor, *arguments: Any, **keywords: Any) -> Any:
        seen.append(Seen(output.clone(), float(t), sample.clone()))
        return step(output, t, sample, *arguments, **keywords)

    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler.step = recording
    try:
        with torch.no_grad():
            pipeline(prompt, guidance_scale=scale, num_inference_steps=steps, **options)
    finally:
        pipeline.scheduler.step = step
    return seen
