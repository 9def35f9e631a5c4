"""A prompt for each region of the object: any objective, mixed by masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance.base import Call, Context, Objective, State, View, replaced
from sds3d.guidance.surface import unproject
from sds3d.guidance.wrapper import Wrapper

REST = "rest"
TERM = re.compile(r"([xyzuv])([<>])(-?(?:\d+\.?\d*|\.\d+))")
AXES = "xyzuv"  # the world's, then the picture's: u to the right and v down, in [0, 1]


@dataclass(frozen=True)
class Regions(Wrapper):
    """g = sum_k m_k * w(t) combine(e with the prompt of region k for "pos"), the same x_t and noise for every region.

    SemanticSDS (Yang et al., arXiv 2410.09009), eq. 8, around any objective. Mode "mean" divides by the number K of
    regions, as published; "sum" (engine choice) divides every pixel by the sum of its masks, so that equal prompts give
    the objective itself. Pixels of no region get exactly 0. Without prompts there is one region, with the main prompt:
    a plain mask. K calls take the place of each call of the prompt.

    Args:
        inner: what is mixed.
        masks: for each region half-spaces to intersect, as "y>0.2 x<0" in the world or "u<0.5" on the picture, or
            "rest" for what no other region has.
        prompted: whether the regions have conditions "region:N" of their own.
    """

    inner: Objective
    masks: tuple[str, ...]
    prompted: bool = True
    mode: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        if not self.prompted and len(self.masks) > 1:
            raise UserError("several region_masks want as many regions: give one --region TEXT for each mask")
        for mask in self.masks:
            half_spaces(mask)

    @property
    def names(self) -> list[str]:
        """The conditions that stand for the prompt."""
        return [f"region:{k}" for k in range(len(self.masks))] if self.prompted else ["pos"]

    def needs(self) -> frozenset[str]:
        return self.inner.needs() | frozenset(self.names)

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        calls = self.inner.calls(c, states)
        return [Call(n, call.at) for call in calls for n in (self.names if call.cond == "pos" else [call.cond])]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        masks = self.weights(c)
        parts = (self.inner.combine(self._as_prompt(e, name), states, c) for name in self.names)
        return sum((m * part for m, part in zip(masks, parts, strict=True)), torch.zeros_like(c.x))

    def post(self, g: Tensor, states: Mapping[str, State], c: Context) -> Tensor:
        covered = self.weights(c).sum(0) > 0
        return torch.where(covered, self.inner.post(g, states, c), torch.zeros_like(g))

    def weights(self, c: Context) -> Tensor:
        """(K, B, 1, h, w) masks at the resolution of x, divided as the mode says."""
        if c.view is None:
            raise ValueError("regions need Context.view: their masks depend on the camera")
        masks = region_masks(self.masks, c.view, c.x[0, 0].shape).to(c.x)
        if self.mode == "mean":
            return masks / len(masks)
        total = masks.sum(0)
        return masks / torch.where(total > 0, total, torch.ones_like(total))

    def _as_prompt(self, e: Mapping[Call, Tensor], name: str) -> Mapping[Call, Tensor]:
        return replaced(e, {Call("pos", call.at): value for call, value in e.items() if call.cond == name})


def half_spaces(mask: str) -> list[tuple[int, float, float]]:
    """(coordinate, sign, bound) of every term of a mask: inside where sign * (coordinate - bound) > 0."""
    terms = [TERM.fullmatch(word) for word in mask.split()]
    found = [(AXES.index(m[1]), 1.0 if m[2] == ">" else -1.0, float(m[3])) for m in terms if m is not None]
    if mask != REST and (not terms or len(found) != len(terms)):
        raise UserError(f"region_masks takes terms such as 'y>0.2 x<0' (x y z, or u v on the picture), not {mask!r}")
    return found


def region_masks(masks: tuple[str, ...], view: View, size: tuple[int, ...]) -> Tensor:
    """(K, B, 1, h, w) share of every pixel in each region: masks at the render's resolution, averaged to `size`."""
    where = coordinates(view)  # (B, 5, H, W)
    inside = {mask: _inside(half_spaces(mask), where) for mask in masks if mask != REST}
    taken = sum(inside.values(), torch.zeros_like(where[:, :1], dtype=torch.bool))
    full = [inside.get(mask, ~taken).to(where) for mask in masks]
    return torch.stack([torch.nn.functional.interpolate(m, size=size, mode="area") for m in full])


def _inside(terms: list[tuple[int, float, float]], where: Tensor) -> Tensor:
    """(B, 1, H, W) bool"""
    inside = torch.ones_like(where[:, :1], dtype=torch.bool)
    for axis, sign, bound in terms:
        inside = inside & (sign * (where[:, axis : axis + 1] - bound) > 0)
    return inside


def coordinates(view: View) -> Tensor:
    """(B, 5, H, W) x, y, z of what each pixel shows, and u, v of the pixel itself.

    Where nothing (or little) is covered: the point at the depth of the world's origin, so that matter may still grow
    there under the region's prompt.
    """
    n, _, _, size = view.depth.shape
    depth = torch.where(view.alpha > 0.5, view.depth, view.cameras.distance.to(view.depth).view(-1, 1, 1, 1))
    points = unproject(view.cameras, depth[:, 0].detach())  # (B, H, W, 3)
    ticks = (torch.arange(size, device=points.device) + 0.5) / size
    v, u = torch.meshgrid(ticks, ticks, indexing="ij")
    plane = torch.stack([u, v]).expand(n, -1, -1, -1).to(points)
    return torch.cat([points.permute(0, 3, 1, 2), plane], 1)
