"""A prior without its weights: built from its configs of tensors that have shapes and no content, to count what a call
would cost, graphs for the backward pass included."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sds3d.engine.tally import Cost, FusedAttention, Tally
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.folder import family_of, load_parts, read_configs
from sds3d.priors.part import MINILM, Part, read_json

META = torch.device("meta")


def symbolic_prior(folder: Path, parts: list[Part], dtypes: Mapping[str, torch.dtype]) -> DiffusionPrior:
    """The prior of a model folder or file, of tensors without content; nothing of the weights is read."""
    tokenizers = [part for part in parts if part.name.startswith("tokenizer")]
    components: dict[str, Any] = load_parts(folder, tokenizers, {})
    own = next((part for part in parts if part.module == MINILM), None)
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


def encoding_cost(prior: DiffusionPrior, views: int, size: int) -> tuple[Cost, int]:
    """Of encoding `views` pictures of `size` pixels and of the gradient through it; and the bytes that wait for the
    gradient while the network predicts."""
    rgb = torch.rand(views, 3, size, size, device=META, requires_grad=True)
    with Tally() as tally, FusedAttention(tally):
        x = prior.encode(rgb)
        held = tally.alive
        torch.autograd.grad(x, rgb, torch.ones_like(x))
    return tally.cost, held
