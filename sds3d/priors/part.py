"""One component of a model on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sds3d.errors import UserError

MINILM = "sds3d.priors.minilm"  # the module of the text encoder that comes from a package


@dataclass(frozen=True)
class Part:
    """One component of a model folder, checked but not loaded."""

    name: str
    cls: str
    module: str
    folder: Path
    variant: str | None = None  # "fp16" when only model.fp16.safetensors is there
    parameters: int = 0  # numbers in its weight files


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """A JSON object from inside the model folder."""
    present(path, folder)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        why = first_line(error)
        raise UserError(f"{path} is not readable JSON ({why}): download or copy the model again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object: download or copy the model again")
    return value


def present(path: Path, folder: Path) -> None:
    """UserError where a file of the model is missing."""
    if not path.is_file():
        raise UserError(f"{folder} lacks {path.relative_to(folder)}: download or copy the model again")


def first_line(error: BaseException) -> str:
    """The first line of an error, cut to a readable length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
