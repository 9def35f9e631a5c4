"""Stable Diffusion's weights under the names of its original code, all in one file: the inverse of what diffusers does.

The names are those of CompVis' and Stability's repositories, as listed in diffusers'
scripts/convert_diffusers_to_original_stable_diffusion.py and its twin for SDXL.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]
WHOLE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "camera_embed.0",  # MVDream's
    "class_embedding.linear_2": "camera_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.resnets.1": "middle_block.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn": "attn",
    "final_layer_norm": "ln_final",
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
}


def unet(state: State, layers: int) -> State:
    """`layers`: layers_per_block."""
    with_attention = {int(m[1]) for key in state if (m := re.match(r"up_blocks\.(\d+)\.attentions", key))}

    def rename(key: str) -> str:
        if ".resnets." in key:
            key = re.sub(r"\.(\w+)\.(weight|bias)$", lambda m: f".{RESNET[m[1]]}.{m[2]}", key)
        for old, new in WHOLE.items():
            if key.startswith(old + "."):
                key = new + key[len(old) :]
        if m := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
            side, i, kind, j = m[1], int(m[2]), m[3], int(m[4])
            number = (layers + 1) * i + j + (side == "down")
            key = f"{'input' if side == 'down' else 'output'}_blocks.{number}.{int(kind == 'attentions')}.{m[5]}"
        elif m := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", key):
            key = f"input_blocks.{(layers + 1) * (int(m[1]) + 1)}.0.op.{m[2]}"
        elif m := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", key):
            i = int(m[1])
            key = f"output_blocks.{(layers + 1) * i + layers}.{2 if i in with_attention else 1}.{m[2]}"
        return key

    return {"model.diffusion_model." + rename(key): value for key, value in state.items()}


def vae(state: State) -> State:
    top = max(int(m[1]) for key in state if (m := re.match(r"decoder\.up_blocks\.(\d+)", key)))

    def rename(key: str) -> str:
        key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        key = key.replace("mid_block.attentions.0", "mid.attn_1")
        key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
        key = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
        key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", key)
        key = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{top - int(m[1])}.block.", key)
        key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{top - int(m[1])}.upsample.", key)
        if "attn_1" in key:
            for old, new in (("group_norm", "norm"), ("to_out.0", "proj_out"), ("to_", "")):
                key = key.replace(old, new)
        return key

    renamed = {"first_stage_model." + rename(key): value for key, value in state.items()}
    kernels = [k for k, v in renamed.items() if "attn_1" in k and k.endswith("weight") and v.ndim == 2]
    return renamed | {key: renamed[key][..., None, None] for key in kernels}


def clip(state: State, prefix: str) -> State:
    """The first text encoder, under transformers' names."""
    return {f"{prefix}transformer.text_model.{key.removeprefix('text_model.')}": v for key, v in state.items()}


def open_clip(state: State, prefix: str) -> State:
    """A text encoder of OpenCLIP: queries, keys and values in one matrix, the projection transposed."""
    out: State = {}
    for key, value in state.items():
        key = key.removeprefix("text_model.")
        for old, new in OPEN_CLIP.items():
            key = key.replace(old, new)
        if m := re.match(r"(.*attn)\.(q|k|v)_proj\.(weight|bias)", key):
            parts = [state[_twin(state, key, c)] for c in "qkv"]
            out[f"{prefix}model.{m[1]}.in_proj_{m[3]}"] = torch.cat(parts)
        elif key == "text_projection.weight":
            out[f"{prefix}model.text_projection"] = value.T.contiguous()
        else:
            out[f"{prefix}model.{key}"] = value
    return out


def _twin(state: State, key: str, letter: str) -> str:
    """The name in `state` of the projection that belongs to the renamed `key`."""
    layer, kind = re.search(r"resblocks\.(\d+)\.", key)[1], key.rsplit(".", 1)[1]  # type: ignore[index]
    return next(k for k in state if k.endswith(f"layers.{layer}.self_attn.{letter}_proj.{kind}"))


def write_checkpoint(folder: Path, file: Path, layout: str, layers: int = 1, **metadata: str) -> State:
    """The model of a folder in diffusers' format as one file; its tensors."""
    unet_state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    state = unet(unet_state, layers) | vae(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors"))
    first = load_file(folder / "text_encoder" / "model.safetensors")
    if layout == "sd1":
        state |= clip(first, "cond_stage_model.")
    elif layout == "sd2":
        state |= open_clip(first, "cond_stage_model.")
    else:
        state |= clip(first, "conditioner.embedders.0.")
        state |= open_clip(load_file(folder / "text_encoder_2" / "model.safetensors"), "conditioner.embedders.1.")
    save_file({k: v.contiguous() for k, v in state.items()}, file, {"format": "pt"} | metadata)
    return state
