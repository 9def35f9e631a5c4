"""What MVDream adds to Stable Diffusion's UNet: the views of an object attend to one another, each knows its camera.

Shi et al., "MVDream: Multi-view Diffusion for 3D Generation" (arXiv 2308.16512), section 3.1. Rows of a batch are the
views of one object after those of another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sds3d.camera import Cameras

VIEWS = 4  # of an object, at one elevation and 90 degrees apart
POSE = 16  # numbers of a camera's matrix


class JointAttention:
    """An attention processor of diffusers: self-attention over the tokens of all views of an object together."""

    def __init__(self, views: int = VIEWS) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.views, self.inner = views, AttnProcessor2_0()

    def __call__(self, attn: Any, hidden_states: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """(objects * views, L, C) -> the same shape."""
        rows, length, width = hidden_states.shape
        joined = hidden_states.reshape(rows // self.views, self.views * length, width)
        attended: Tensor = self.inner(attn, joined, *arguments, **options)
        return attended.reshape(rows, length, width)


def join(network: Any) -> None:
    """Make a UNet2DConditionModel with a camera embedding one that sees VIEWS views at a time, in place."""
    joint = JointAttention()
    for name, module in network.named_modules():
        if name.endswith(".attn1"):
            module.set_processor(joint)
    network.class_embedding.register_forward_hook(_nothing_without_a_camera)


def _nothing_without_a_camera(module: nn.Module, given: tuple[Tensor], embedded: Tensor) -> Tensor:
    """(B, E) with zeros for the rows whose camera is NaN: as in MVDream's training on single pictures."""
    return embedded.masked_fill(given[0].isnan().any(-1, keepdim=True), 0)


def poses(angles: Tensor) -> Tensor:
    """(B, 16) camera-to-world matrices as MVDream was trained on them, of (B, 3) azimuth, elevation, fov in degrees.

    Row-major; OpenGL's camera axes (right, up, back) in a world whose z is up and whose x is the object's front; the
    camera at distance 1, whatever its fov. A camera of NaN gives NaN.
    """
    azimuth, elevation, fov = angles.float().unbind(-1)
    opencv = Cameras(azimuth, elevation, fov, torch.ones_like(fov)).world_to_camera()[:, :3, :3]
    right, down, ahead = opencv.unbind(1)
    x, y, z = torch.stack([right, -down, -ahead], -1).unbind(1)  # rows of our camera to world
    rotation = torch.stack([z, x, y], 1)
    matrix = torch.eye(4, device=angles.device).repeat(len(angles), 1, 1)
    matrix[:, :3, :3] = rotation
    matrix[:, :3, 3] = rotation[:, :, 2]  # it looks at the origin from where "back" points
    return matrix.flatten(1)
