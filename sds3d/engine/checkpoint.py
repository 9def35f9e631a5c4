"""One safetensors file per run, replaced atomically: tensors by name plus one JSON header of plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import write_bytes

FORMAT = 1


def save(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write everything to `path`; a reader sees the old file or the new one, never half of one."""
    from safetensors.torch import save as serialise

    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    # a single metadata key: safetensors does not order several, and equal runs are to give equal bytes
    write_bytes(path, serialise(plain, {"sds3d": json.dumps({"format": FORMAT, **header}, sort_keys=True)}))


def check(path: Path) -> None:
    """UserError when there is no file."""
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}: start the run with sds3d generate")


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and the header. UserError when the file is missing, damaged or of another kind."""
    from safetensors import SafetensorError, safe_open

    check(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sds3d"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged ({reason}): start again with sds3d generate --force") from None
    if header.get("format") != FORMAT:
        raise UserError(f"{path} has format {header.get('format')}, this sds3d reads {FORMAT}: generate it again")
    return tensors, header


def part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Entries of a checkpoint that belong to `name`, without the prefix."""
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}
