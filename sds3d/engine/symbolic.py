"""A prior without its weights: built from its configs of tensors that have shapes and no content, to count what a call
would cost.

Every operation goes through `Tally`, which adds up floating-point operations, bytes that other operations move, and the
memory that is alive at once, graphs for the backward pass included.
"""

from __future__ import annotations

import importlib
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop

from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.folder import family_of, load_parts, read_configs
from sds3d.priors.part import Part, read_json

aten = torch.ops.aten
CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
KINDS = ("conv", "matmul", "attention")
BACKWARD = 2.5  # flops of fused attention's gradient over those of its value
META = torch.device("meta")


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
        if packet is aten._local_scalar_dense:  # the network asks for a value: whether noise is low, say; it is
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
        self.cost.flops[kind] += int(flops)
        self.cost.operations += 1
        if flops > self.cost.largest.get(kind, (0,))[0]:
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


class FusedAttention(TorchFunctionMode):
    """Attention as the fused kernels do it, without a matrix of all pairs; shapes alone would take the plain way."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        return _Attention.apply(self.tally, given["query"], given["key"], given["value"])


class _Attention(torch.autograd.Function):
    """Counts; its values have no content."""

    @staticmethod
    def forward(ctx: Any, tally: Tally, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.tally, ctx.flops = tally, sdpa_flop(*(_heads(x) for x in (q, k, v)))
        tally.count("attention", ctx.flops, torch.nn.functional.scaled_dot_product_attention, (q, k, v))
        return q.new_empty(*q.shape[:-1], v.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.tally.cost.flops["attention"] += int(BACKWARD * ctx.flops)
        return None, *(torch.empty_like(x) for x in ctx.saved_tensors)


def _heads(value: Tensor) -> tuple[int, ...]:
    """(..., S, D) as (batch, heads, S, D)."""
    return (
        (1, *value.shape[-3:])
        if value.ndim == 3
        else (int(value[..., 0, 0].numel() / value.shape[-3]), *value.shape[-3:])
    )


def symbolic_prior(folder: Path, parts: list[Part], dtypes: Mapping[str, torch.dtype]) -> DiffusionPrior:
    """The prior of a model folder or file, of tensors without content; nothing of the weights is read."""
    tokenizers = [part for part in parts if part.name.startswith("tokenizer")]
    components: dict[str, Any] = load_parts(folder, tokenizers, {})
    own = next((part for part in parts if part.module.startswith("sds3d.priors.")), None)
    modules = [part for part in parts if part not in tokenizers and part is not own]
    classes = {part.name: getattr(importlib.import_module(part.module), part.cls) for part in modules}
    with META:
        for part in modules:
            built = _build(part, classes[part.name])
            components[part.name] = torch.nn.Module.to(built, dtypes.get(part.name)).requires_grad_(False)
    texts: Any = None if own is None else _states(own)
    return DiffusionPrior(components | read_configs(folder), family_of(folder), META, folder.name, texts)


def _build(part: Part, cls: Any) -> Any:
    """The module of class `cls` that the part's config describes."""
    if part.module.startswith("transformers"):
        return cls(cls.config_class.from_pretrained(str(part.folder), local_files_only=True))
    return cls.from_config(read_json(part.folder / "config.json", part.folder))


def _states(part: Part) -> Any:
    """Stands for an encoder that comes from a package: conditions of the size that its config says."""
    config = read_json(part.folder / "config.json", part.folder)
    size = int(config["max_tokens"]), int(config["hidden_size"])
    return lambda prompts: [Cond(torch.zeros(1, *size), torch.ones(1, size[0], dtype=torch.bool)) for _ in prompts]


def prediction_cost(prior: DiffusionPrior, rows: int) -> Cost:
    """Of one batched forward of `rows` states and conditions, without a graph."""
    with torch.no_grad():
        x = prior.encode(torch.rand(1, 3, prior.size, prior.size, device=META))
        cond, x_t = prior.text([""]).repeat(rows), torch.randn(rows, *x.shape[1:], device=META)
        if "camera" in prior.capabilities:
            cond = cond.with_camera(torch.zeros(rows, 3, device=META))
        if "background" in prior.capabilities:
            cond = cond.with_background(torch.zeros(rows, device=META))
        with Tally() as tally, FusedAttention(tally):
            prior.predict(x_t, torch.zeros(rows, dtype=torch.long, device=META), cond)
    return tally.cost


def encoding_cost(prior: DiffusionPrior, views: int, size: int) -> Cost:
    """Of encoding `views` pictures of `size` pixels and of the gradient through it."""
    rgb = torch.rand(views, 3, size, size, device=META, requires_grad=True)
    with Tally() as tally, FusedAttention(tally):
        x = prior.encode(rgb)
        torch.autograd.grad(x, rgb, torch.ones_like(x))
    return tally.cost
