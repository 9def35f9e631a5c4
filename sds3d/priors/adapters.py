"""Files that change a model: LoRAs and textual inversions, as the user names them and as they are applied.

A LoRA is written FILE or FILE:WEIGHT, a textual inversion FILE or FILE:WORD, with the word that calls it in a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.priors.families.base import Family
from sds3d.priors.part import Part


class Change(Protocol):
    """One file, opened and found to fit the model."""

    @property
    def identity(self) -> str:
        """Changes whenever its effect does."""
        ...

    @property
    def parts(self) -> frozenset[str]:
        """Names of the components that it changes."""
        ...

    def apply(self, components: Mapping[str, Any]) -> None:
        """Change those of its parts that are among the components, in place."""
        ...


def open_all(
    lora: Sequence[str], textual_inversion: Sequence[str], family: Family, parts: Sequence[Part]
) -> list[Change]:
    """All files, checked against the model's parts; UserError in one line for what does not fit."""
    if not lora and not textual_inversion:
        return []
    from sds3d.priors.embedding_file import Embedding
    from sds3d.priors.lora_file import Lora

    return [
        *(Lora.open(*split_weight(spec), family, parts) for spec in lora),
        *(Embedding.open(*split_word(spec), parts) for spec in textual_inversion),
    ]


def split_weight(spec: str) -> tuple[Path, float]:
    """(file, weight) of FILE or FILE:WEIGHT."""
    file, colon, weight = spec.rpartition(":")
    try:
        return (_existing(file, "LoRA"), float(weight)) if colon else (_existing(spec, "LoRA"), 1.0)
    except ValueError:
        return _existing(spec, "LoRA"), 1.0


def split_word(spec: str) -> tuple[Path, str]:
    """(file, word) of FILE or FILE:WORD; without a word, the one in the file or else the file's name."""
    file, colon, word = spec.rpartition(":")
    if colon and word and not Path(spec).expanduser().exists():
        return _existing(file, "textual inversion"), word
    path = _existing(spec, "textual inversion")
    from sds3d.priors.embedding_file import word_in

    return path, word_in(path)


def anchored(lora: Sequence[str], textual_inversion: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Settings with absolute paths, so that a run can be resumed from anywhere, and what the files are by content."""
    loras, words = [split_weight(spec) for spec in lora], [split_word(spec) for spec in textual_inversion]
    return {
        "lora": tuple(f"{file}:{weight:g}" for file, weight in loras),
        "lora_digests": tuple(f"{digest(file)}:{weight:g}" for file, weight in loras),
        "textual_inversion": tuple(f"{file}:{word}" for file, word in words),
        "textual_inversion_digests": tuple(f"{digest(file)}:{word}" for file, word in words),
    }


def check(settings: Mapping[str, Sequence[str]]) -> None:
    """UserError when a file is not what it was when the settings were made by `anchored`."""
    now = anchored(settings["lora"], settings["textual_inversion"])
    for kind in ("lora", "textual_inversion"):
        for spec, then, today in zip(settings[kind], settings[f"{kind}_digests"], now[f"{kind}_digests"], strict=True):
            if then != today:
                raise UserError(f"{spec} is not what this run started with: start again with sds3d generate")


def check_words(textual_inversion: Sequence[str], texts: Sequence[str]) -> None:
    """UserError when the word of a textual inversion is in none of the texts, where it would do nothing."""
    for spec in textual_inversion:
        word = split_word(spec)[1]
        if not any(word.lower() in text.lower() for text in texts):
            raise UserError(
                f"the prompt does not have the word {word!r} of {spec}: use it, or name another as FILE:WORD"
            )


def _existing(path: str, kind: str) -> Path:
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UserError(f"there is no {kind} {path}: give the path of a .safetensors file")
    if file.suffix.lower() != ".safetensors":
        raise UserError(f"{path} is not a .safetensors file: pickled files can run code and are not loaded")
    return file
