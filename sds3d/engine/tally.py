"""Counts what is computed in a block: floating-point operations, bytes that others move, memory alive at once.

It works the same on tensors of the device "meta", which have shapes and no content.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop

aten = torch.ops.aten
CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
KINDS = ("conv", "matmul", "attention")
BACKWARD = 2.5  # flops of fused attention's gradient over those of its value


@dataclass
class Cost:
    """What a block of code would cost."""

    flops: Counter[str] = field(default_factory=Counter)  # by kind: "conv", "matmul", "attention"
    moved: int = 0  # bytes that all other operations read and write
    operations: int = 0
    peak: int = 0  # bytes of new tensors alive at once
    largest: dict[str, tuple[int, Any, tuple[Any, ...]]] = field(default_factory=dict)  # kind -> flops, op, arguments

    def __add__(self, other: Cost) -> Cost:
        largest = {k: max(self.largest.get(k, (0,)), other.largest.get(k, (0,)), key=lambda e: e[0]) for k in KINDS}
        return Cost(
            self.flops + other.flops,
            self.moved + other.moved,
            self.operations + other.operations,
            max(self.peak, other.peak),
            {k: v for k, v in largest.items() if v[0]},  # type: ignore[misc]
        )

    def __mul__(self, times: float) -> Cost:
        flops = Counter({kind: int(n * times) for kind, n in self.flops.items()})
        return Cost(flops, int(self.moved * times), int(self.operations * times), self.peak, self.largest)


class Tally(TorchDispatchMode):
    """Adds up the cost of what is computed in its block."""

    def __init__(self) -> None:
        super().__init__()
        self.cost, self.alive = Cost(), 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        if packet is aten._local_scalar_dense and args[0].is_meta:  # asked whether noise is low, say: it is
            return torch.ones((), dtype=args[0].dtype).item()
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        for value in given:
            self._track(value, new=False)  # weights and inputs: views of them take nothing
        out = func(*args, **(kwargs or {}))
        made = sum(self._track(value) for value in tree_leaves(out) if isinstance(value, Tensor))
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=out)
            self.count("conv" if packet in CONVOLUTIONS else "matmul", flops, func, args)
        elif made:
            self.cost.moved += made + sum(value.nbytes for value in given)
            self.cost.operations += 1
        return out

    def count(self, kind: str, flops: float, func: Any, args: Any) -> None:
        """An operation of that kind; the largest is kept, to be tried for real."""
        self.cost.flops[kind] += int(flops)
        self.cost.operations += 1
        if flops > self.cost.largest.get(kind, (0,))[0] and func is not aten.convolution_backward.default:
            self.cost.largest[kind] = (int(flops), func, tuple(map(_blank, args)))

    def _track(self, value: Tensor, new: bool = True) -> int:
        """Bytes of the tensor's storage if it was not seen before; not `new` ones were there before the block."""
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if new else 0
        if key in self._seen:
            return 0

        def release(_: Any, key: int = key, size: int = size) -> None:
            self._seen.pop(key, None)
            self.alive -= size

        self._seen[key] = weakref.ref(storage, release)
        self.alive += size
        self.cost.peak = max(self.cost.peak, self.alive)
        return int(size)


@dataclass(frozen=True)
class Blank:
    """A tensor's shape and type, to make one like it."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def _blank(value: Any) -> Any:
    return Blank(tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value


class FusedAttention:
    """Attention as the fused kernels do it, without a matrix of all pairs; shapes alone would take the plain way.

    It stands in for torch's function itself: a mode of torch would not be heeded by what a backward pass runs again.
    """

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __enter__(self) -> None:
        self.plain = torch.nn.functional.scaled_dot_product_attention
        torch.nn.functional.scaled_dot_product_attention = self._fused

    def __exit__(self, *raised: object) -> None:
        torch.nn.functional.scaled_dot_product_attention = self.plain

    def _fused(self, query: Tensor, key: Tensor, value: Tensor, *options: Any, **more: Any) -> Tensor:
        answer: Tensor = _Attention.apply(self.tally, self.plain, query, key, value)
        return answer


class _Attention(torch.autograd.Function):
    """Counts; its values have no content."""

    @staticmethod
    def forward(ctx: Any, tally: Tally, plain: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.tally, ctx.flops = tally, sdpa_flop(*(_heads(x) for x in (q, k, v)))
        tally.count("attention", ctx.flops, plain, (q, k, v))
        return q.new_empty(*q.shape[:-1], v.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.tally.cost.flops["attention"] += int(BACKWARD * ctx.flops)
        return None, None, *(torch.empty_like(x) for x in ctx.saved_tensors)


def _heads(value: Tensor) -> tuple[int, ...]:
    """(..., H, S, D) as (batch, H, S, D)."""
    return (math.prod(value.shape[:-3]), *value.shape[-3:])
