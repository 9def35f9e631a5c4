"""What a ControlNet sees of the scene: pictures of its depth or its normals, as the annotators draw them that made the
ControlNets' training sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.camera import Cameras
from sds3d.guidance.surface import unproject
from sds3d.priors.base import Cond
from sds3d.scenes.base import Frame
from sds3d.transfer import put_like

COVERED = 0.5  # coverage from which a pixel's depth counts
FLOOR = 0.2  # grey of the farthest covered point; what is not covered is black


def depth_hint(cameras: Cameras, frame: Frame) -> Tensor:
    """(B, 3, H, W) in [0, 1]: inverse depth, stretched in each view from FLOOR where the object is farthest to white
    where it is nearest, over black. MiDaS, which the depth ControlNets were trained with, gives inverse depth up to
    scale and shift, stretched the same way; the floor, which keeps the far parts off the background, is ours."""
    alpha, depth = frame.alpha.detach(), frame.depth.detach()
    covered = alpha > COVERED
    inverse = 1 / depth.clamp_min(1e-6)
    low = inverse.masked_fill(~covered, torch.inf).amin((1, 2, 3), keepdim=True)
    high = inverse.masked_fill(~covered, 0.0).amax((1, 2, 3), keepdim=True)
    span = high - low  # -inf where nothing is covered
    share = torch.where(span > 0, (inverse - low) / span.clamp_min(1e-9), torch.ones_like(inverse))
    grey = FLOOR + (1 - FLOOR) * share.clamp(0, 1)
    return (grey * alpha.clamp(0, 1) * (depth > 0)).expand(-1, 3, -1, -1)


def normal_hint(cameras: Cameras, frame: Frame) -> Tensor:
    """(B, 3, H, W) in [0, 1]: unit normals in camera axes as colours, (1 + n) / 2 with red to the left, green up and
    blue towards the camera: the protocol of ScanNet, in which ControlNet 1.1's normals (BAE) are. What is not covered
    faces the camera. Scenes that draw no normals get those of their depth."""
    alpha = frame.alpha.detach().clamp(0, 1)
    world = normals_of_depth(cameras, frame) if frame.normal is None else frame.normal.detach()
    rotation = cameras.world_to_camera()[:, :3, :3].to(world)
    right_down_away = torch.einsum("bij,bjhw->bihw", rotation, world)
    colour = (1 - F.normalize(right_down_away, dim=1, eps=1e-6)) / 2  # left, up, towards the camera
    facing = put_like(torch.tensor([0.5, 0.5, 1.0]), colour).view(1, 3, 1, 1)
    return facing + alpha * (colour - facing)


def normals_of_depth(cameras: Cameras, frame: Frame) -> Tensor:
    """(B, 3, H, W) unit normals in world axes, towards the camera, by differences of neighbouring points; at outlines
    those of the side on which the neighbour is nearer in depth."""
    points = unproject(cameras, frame.depth.detach()[:, 0])  # (B, H, W, 3)
    normal = torch.linalg.cross(_difference(points, 1), _difference(points, 2))  # down x right: towards the camera
    return F.normalize(normal, dim=-1, eps=1e-12).permute(0, 3, 1, 2)


def _difference(points: Tensor, axis: int) -> Tensor:
    """Steps to the next or from the last point along the axis, whichever is shorter."""
    step = points.diff(dim=axis)
    edge = torch.full_like(step.narrow(axis, 0, 1), torch.inf)
    after, before = torch.cat([step, edge], axis), torch.cat([edge, step], axis)
    return torch.where(after.norm(dim=-1, keepdim=True) < before.norm(dim=-1, keepdim=True), after, before)


HINTS: dict[str, Callable[[Cameras, Frame], Tensor]] = {"depth": depth_hint, "normal": normal_hint}


def with_hint(conds: Mapping[str, Cond], kind: str, cameras: Cameras, frame: Frame) -> dict[str, Cond]:
    """All conditions of a step with the same hint, of a kind in HINTS."""
    hint = HINTS[kind](cameras, frame)
    return {name: replace(cond, control=hint.to(cond.tokens.device)) for name, cond in conds.items()}
