"""Where the time of a step goes."""

from __future__ import annotations

import time

import torch

PARTS = ("prior", "renderer", "optimiser")


class Meter:
    """Lap timer: `lap(part)` books the time since the last lap; what nobody books is "rest".

    A CUDA device works behind the caller's back, so there the split needs `synchronise` (which costs speed: `bench`
    does it, `generate` does not and records only the total).
    """

    def __init__(self, device: torch.device, synchronise: bool = False) -> None:
        self.cuda = device.type == "cuda"
        self.synchronise = synchronise and self.cuda
        self.booked = dict.fromkeys(PARTS, 0.0)
        self.began = self.last = 0.0

    def start(self) -> None:
        self.booked = dict.fromkeys(PARTS, 0.0)
        self.began = self.last = self._now()

    def lap(self, part: str) -> None:
        now = self._now()
        if part in self.booked:
            self.booked[part] += now - self.last
        self.last = now

    def read(self) -> dict[str, float]:
        """Milliseconds by part since `start`, with "rest" and "total"."""
        total = self._now() - self.began
        if self.cuda and not self.synchronise:
            return {"total": 1e3 * total}
        parts = {part: 1e3 * seconds for part, seconds in self.booked.items()}
        return parts | {"rest": 1e3 * total - sum(parts.values()), "total": 1e3 * total}

    def _now(self) -> float:
        if self.synchronise:
            torch.cuda.synchronize()
        return time.perf_counter()
