"""MVDream: Stable Diffusion's UNet over four views of an object at once, each with its camera; eps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.families import sd
from sds3d.priors.families.base import Family
from sds3d.priors.multiview import POSE, VIEWS, join, poses

# The published folders name a class in a file of code that lies beside the weights. That code is never run: the name
# stands for our reader of its config and tensors.
UNET = sd.UNET | {("mv_unet", "MultiViewUNetModel"): "sds3d.priors.mv_unet"}


def matches(index: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """A camera's matrix is embedded: by diffusers' names as a class, by MVDream's as a camera."""
    if config.get("ip_dim"):
        raise UserError("this is ImageDream, which wants a picture beside the text: use MVDream")
    if "camera_dim" in config:
        return bool(config["camera_dim"] == POSE)
    by_class = config.get("class_embed_type"), config.get("projection_class_embeddings_input_dim")
    return by_class == ("projection", POSE) and sd.more_inputs(config) == ["class_embed_type"]


def forward(network: Any, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    unknown = torch.full((len(x_t), POSE), float("nan"), device=x_t.device)
    camera = (unknown if cond.camera is None else poses(cond.camera)).to(x_t.dtype)
    output: Tensor = network(x_t, t, encoder_hidden_states=cond.tokens, class_labels=camera, return_dict=False)[0]
    return output


FAMILY = Family(
    name="mvdream",
    summary="MVDream",
    network="unet",
    classes={**sd.FAMILY.classes, "unet": UNET},
    encode_text=sd.encode_text,
    forward=forward,
    lora=sd.FAMILY.lora,
    matches=matches,
    capabilities=lambda network: frozenset({"camera"}),
    prepare=join,
    views=VIEWS,
)
