"""What the families of flow transformers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.base import Cond
from sds3d.priors.noise import Noising, flow_schedule, is_flow


def flow_noising(scheduler: Mapping[str, Any], patches: int) -> Noising:
    """The noising of a flow network that sees that many image patches; UserError for a scheduler of another kind."""
    if not is_flow(scheduler):
        raise UserError(
            f"this model predicts a flow, but its scheduler {scheduler.get('_class_name')} is none of a flow: "
            "download or copy the model again"
        )
    return flow_schedule(scheduler, patches)


def attended(tokens: Tensor, pooled: Tensor | None = None) -> Cond:
    """A condition whose tokens (B, T, D), padding included, are all attended to."""
    return Cond(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), pooled=pooled)
