"""Between host and device without waiting: the host prepares the next work while the device does the last."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def put(value: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """`value` on the device. From the host to CUDA it goes through pinned memory, so nobody waits for the device; a
    plain `to` would wait until all that was asked of the device before is done."""
    if value.device.type == "cpu" and torch.device(device).type == "cuda":
        value = value.pin_memory()
    return value.to(device, dtype, non_blocking=True)


def put_like(value: Tensor, like: Tensor) -> Tensor:
    """`value` on the device of `like`, in its dtype."""
    return put(value, like.device, like.dtype)


def step_unless(optimizer: torch.optim.Optimizer, skip: Tensor | None) -> None:
    """`optimizer.step()`, which changes nothing where `skip`, 0-d float32, is 1: a fused optimiser looks at it on the
    device, as it does for torch's GradScaler."""
    vars(optimizer)["found_inf"] = skip
    optimizer.step()
    del vars(optimizer)["found_inf"]


class Numbers:
    """Named 0-d tensors of one device on their way to the host, in float32: one copy, at once on a CPU."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.names = tuple(tensors)
        stacked = torch.stack([value.detach().float().reshape(()) for value in tensors.values()])
        self._arrival: torch.cuda.Event | None = None
        if stacked.is_cuda:
            self._values = torch.empty(stacked.shape, pin_memory=True).copy_(stacked, non_blocking=True)
            self._arrival = torch.cuda.Event()
            self._arrival.record()
        else:
            self._values = stacked

    @property
    def ready(self) -> bool:
        """Whether `read` would not wait."""
        return self._arrival is None or bool(self._arrival.query())

    def read(self) -> dict[str, float]:
        """The numbers by name, as soon as they are here."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return dict(zip(self.names, self._values.tolist(), strict=True))
