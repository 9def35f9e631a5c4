"""Running statistics of a run, as tensors in its cache, so that a checkpoint carries them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def running_mean(cache: dict[str, Any], key: str, value: Tensor, memory: float) -> Tensor:
    """The exponential moving mean of `value` under `key`, each step's weight `memory` times that of the next.

    `memory` in [0, 1) is what a step keeps of the past. A value that is not finite is ignored.
    """
    now = torch.cat([value.flatten(), value.new_ones(1)])  # the sum, and its weight
    past = cache.get(key, torch.zeros_like(now))
    total = torch.where(value.isfinite().all(), memory * past + now, past)
    cache[key] = total
    return (total[:-1] / total[-1].clamp(min=torch.finfo(total.dtype).tiny)).view_as(value)
