"""Which files of a hub repository make a prior: configs, tokenizers, and for every component one set of safetensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sds3d.errors import UserError

INDEX = "model_index.json"
# diffusion_pytorch_model.fp16-00001-of-00002.safetensors, and the older model-00001-of-00002.fp16.safetensors
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<early>\w+))?(?P<shard>-\d{5}-of-(?P<of>\d{5}))?"
    r"(?:\.(?P<late>\w+))?\.safetensors"
)
SHARD_INDEX = re.compile(r".+\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
TEXTS = (".json", ".txt", ".model")  # .model: a SentencePiece vocabulary


@dataclass(frozen=True)
class Weights:
    """A set of files that together hold a component's weights."""

    variant: str  # "fp16"; "" is full precision
    files: tuple[str, ...]
    shards: int  # that there should be; 0 for a single file

    @property
    def complete(self) -> bool:
        return len(self.files) == max(1, self.shards)


def components(index: Mapping[str, Any]) -> list[str]:
    """The components that a model_index.json names, and that are there."""
    pairs = {k: v for k, v in index.items() if isinstance(v, list) and len(v) == 2 and all(v)}
    return [name for name in pairs if name != "scheduler"]


def choose(repo: str, parts: Sequence[str], sizes: Mapping[str, int], variant: str | None = None) -> dict[str, int]:
    """Path -> bytes of the files of the components `parts` to download, of the repository's `sizes`.

    A component comes in `variant` where it is offered, else in full precision, else in half. Raises UserError if a
    component is there only as pickles, or if nothing comes in `variant`.
    """
    folders: dict[str, list[str]] = {}
    for path in sizes:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    chosen, offered = [INDEX], set()
    for part in [*parts, "scheduler"]:
        names = folders.get(part, [])
        sets = weight_sets(names)
        offered |= {s.variant for s in sets}
        picked = prefer(sets, variant)
        if picked is None and any(name.endswith(PICKLED) for name in names):
            raise UserError(
                f"{repo} has its {part} only as pickled weights, which can run code and are not loaded: use a "
                "repository with safetensors"
            )
        chosen += [f"{part}/{name}" for name in _texts(names, picked)]
        chosen += [f"{part}/{name}" for name in (picked.files if picked else ())]
    if variant and variant not in offered:
        there = ", ".join(sorted(v for v in offered if v)) or "full precision only"
        raise UserError(f"{repo} offers no variant {variant!r} ({there}): leave --variant out")
    return {path: sizes[path] for path in dict.fromkeys(chosen) if path in sizes}


def weight_sets(names: list[str]) -> list[Weights]:
    """The complete sets of weights among file names, a single file before shards."""
    found: dict[tuple[str, int], list[str]] = {}
    for name in sorted(names):
        match = WEIGHTS.fullmatch(name)
        if match:
            key = match["early"] or match["late"] or "", int(match["of"] or 0)
            found.setdefault(key, []).append(name)
    sets = [Weights(variant, tuple(files), shards) for (variant, shards), files in sorted(found.items())]
    return [s for s in sets if s.complete]


def prefer(sets: list[Weights], variant: str | None) -> Weights | None:
    """The set in `variant`, else in full precision, else in half; None where there is none of these."""
    order = [variant or "", "", "fp16", "bf16"]
    return next((s for name in order for s in sets if s.variant == name), None)


def _texts(names: list[str], weights: Weights | None) -> list[str]:
    """Configs and vocabularies, and of the shards' indices only that of the chosen weights."""
    texts = []
    for name in names:
        match = SHARD_INDEX.fullmatch(name)
        wanted = (
            match is None or weights is not None and weights.shards > 0 and (match["variant"] or "") == weights.variant
        )
        if wanted and PurePosixPath(name).suffix in TEXTS:
            texts.append(name)
    return texts


def whole(folder: Path) -> bool:
    """Whether no shard is missing from a model folder (an interrupted download leaves such)."""
    for home in filter(Path.is_dir, folder.iterdir()):
        names = [file.name for file in home.iterdir() if file.exists()]
        if any(WEIGHTS.fullmatch(name) for name in names) and not weight_sets(names):
            return False
    return True
