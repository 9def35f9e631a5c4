"""Keeping a surface from being painted like what is behind it.

A prior that would rather have a gap where the asset has none shows the background there, and a texture that follows
looks like a hole from every side. Backgrounds differ between views, so nothing that belongs to the surface is lost when
a view's pull towards its own background is left out: the others still pull.
"""

from __future__ import annotations

import torch
from torch import Tensor

NONE, ALL = 0.8, 0.95  # cosines between the descent and the way to the background: what is left out of it, in a line


def opaque(colors: Tensor, background: Tensor) -> Tensor:
    """`colors` (..., 3), whose gradient g loses its part along the unit direction d from the colour to `background`
    (broadcast against them) where a descent would go straight there, and keeps it where it goes elsewhere."""
    if not colors.requires_grad:
        return colors
    towards = torch.nn.functional.normalize(background - colors.detach(), dim=-1, eps=1e-6)

    def guard(g: Tensor) -> Tensor:
        along = -(g * towards).sum(-1, keepdim=True)
        cosine = along / g.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        return g + ((cosine - NONE) / (ALL - NONE)).clamp(0, 1) * along * towards

    guarded = colors.view_as(colors)
    guarded.register_hook(guard)
    return guarded
