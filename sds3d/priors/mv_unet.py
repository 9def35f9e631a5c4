"""Reads MVDream's UNet as it is published: a config and tensors under the names of Stable Diffusion's first code.

No code of the model's folder is run. diffusers renames the tensors; the network is its UNet2DConditionModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.part import read_json

PREFIX = "model.diffusion_model."  # of a UNet's tensors in a whole checkpoint, where diffusers looks for them
CAMERA, CLASS = "camera_embed.", "label_emb.0."  # two-layer MLPs; the second is what diffusers knows


def unet_config(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """MVDream's settings as those of a UNet2DConditionModel."""
    widths = [int(theirs["model_channels"]) * int(mult) for mult in theirs["channel_mult"]]
    attended = [2**level in theirs["attention_resolutions"] for level in range(len(widths))]
    size, heads = int(theirs.get("num_head_channels") or -1), int(theirs.get("num_heads") or -1)
    return {
        "sample_size": int(theirs["image_size"]),
        "in_channels": theirs["in_channels"],
        "out_channels": theirs["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": int(theirs["num_res_blocks"]),
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)],
        # diffusers' "dimension" is the number of heads
        "attention_head_dim": [width // size if size > 0 else heads for width in widths],
        "transformer_layers_per_block": int(theirs.get("transformer_depth") or 1),
        "cross_attention_dim": int(theirs["context_dim"]),
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": int(theirs["camera_dim"]),
    }


def renamed(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of MVDream's UNet, without a prefix, under diffusers' names; `config` is of `unet_config`."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return dict(convert_ldm_unet_checkpoint({PREFIX + k: v for k, v in as_class(state).items()}, dict(config)))


def as_class(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The camera's embedding under the name of a class's."""
    return {key.replace(CAMERA, CLASS): value for key, value in state.items()}


class MultiViewUNetModel:
    """Stands for the class that the folders name; makes diffusers' UNet2DConditionModel."""

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Any:
        """Raises UserError for settings that are missing or of another kind."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        try:
            return UNet2DConditionModel.from_config(unet_config(config))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the UNet's config.json does not describe an MVDream ({error!r}): download it again"
            ) from error

    @classmethod
    def from_pretrained(
        cls, folder: str, torch_dtype: torch.dtype = torch.float32, variant: str | None = None, **_: Any
    ) -> tuple[Any, dict[str, list[str]]]:
        """(network, {"missing_keys": [...]}) as diffusers' models give it with `output_loading_info`."""
        from safetensors.torch import load_file

        config = read_json(Path(folder) / "config.json", Path(folder))
        name = f"diffusion_pytorch_model{'.' + variant if variant else ''}.safetensors"
        with torch.device("meta"):
            network = cls.from_config(config)
        state = renamed(load_file(Path(folder) / name), network.config)
        state = {key: value.to(torch_dtype) for key, value in state.items()}
        missing = network.load_state_dict(state, strict=False, assign=True).missing_keys
        return network, {"missing_keys": list(missing)}
