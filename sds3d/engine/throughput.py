"""How fast this device is at what a network does, from a second of trying: operations of its own shapes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sds3d.engine.tally import Blank, Cost

CLOCK: Callable[[], float] = time.perf_counter
SECONDS = 0.1  # for each kind of operation
MOST = {"cpu": 2e9, "cuda": 1e12}  # flops of a trial; a larger operation is tried with a smaller batch
PLAIN = 1 << 21  # numbers in the tensors whose sum tells how fast memory is


@dataclass(frozen=True)
class Rates:
    """What the device does in a second."""

    flops: dict[str, float]  # by kind
    bandwidth: float  # bytes
    overhead: float  # seconds an operation takes whatever its size
    overlapping: bool  # whether the next operations are prepared while one runs

    def seconds(self, cost: Cost) -> float:
        """What the cost takes: arithmetic, memory, and the handling of each operation."""
        work = sum(n / self.flops[kind] for kind, n in cost.flops.items()) + cost.moved / self.bandwidth
        handling = cost.operations * self.overhead
        return max(work, handling) if self.overlapping else work + handling


def measure(cost: Cost, device: torch.device) -> Rates:
    """The rates of `device` for the operations of `cost`, of each kind by its largest one."""
    rates = {kind: _rate(kind, *largest, device) for kind, largest in cost.largest.items()}
    numbers = torch.rand(PLAIN, device=device)
    bandwidth = 3 * numbers.nbytes / best(lambda: numbers + numbers, device)
    layer, row = torch.nn.Linear(8, 8).to(device), torch.rand(1, 8, device=device)
    with torch.no_grad():
        overhead = best(lambda: layer(row), device)
    return Rates(rates, bandwidth, overhead, device.type == "cuda")


def _rate(kind: str, flops: int, operation: Any, arguments: tuple[Any, ...], device: torch.device) -> float:
    """Floating-point operations per second of an operation like this one, on fewer rows if it is large."""
    matrices = [i for i, a in enumerate(arguments) if isinstance(a, Blank) and len(a.shape) > 1]
    batched = matrices if kind == "attention" else matrices[:1]
    rows = arguments[batched[0]].shape[0]
    fewer = max(1, int(rows * min(1.0, MOST[device.type] / flops)))
    dtype = arguments[matrices[-1]].dtype  # of the weights, where an operand is wider

    def make(i: int, value: Any) -> Any:
        if not isinstance(value, Blank):
            return value
        shape = (fewer, *value.shape[1:]) if i in batched else value.shape
        return torch.rand(shape, device=device).to(dtype)

    made = [make(i, value) for i, value in enumerate(arguments)]
    with torch.no_grad():
        return flops * fewer / rows / best(lambda: operation(*made), device)


def best(action: Callable[[], Any], device: torch.device, seconds: float = SECONDS) -> float:
    """The shortest time that `action` took, after one that does not count."""
    action()
    times: list[float] = []
    while sum(times) < seconds and len(times) < 1000:
        began = now(device)
        action()
        times.append(now(device) - began)
    return min(times)


def now(device: torch.device) -> float:
    """Seconds by CLOCK, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return CLOCK()
