"""The file that a scene begins as: found when a run is made, and the same one when it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sds3d.errors import UserError
from sds3d.files import digest

RUN_FILE = "asset.glb"  # the part of a finished run that another begins with


def locate(init: str, option: str, names: Sequence[str]) -> Path:
    """The file that the value `init` of `option` means, which could have been one of `names`: itself, or the mesh of a
    finished run's folder. UserError if there is none."""
    path = Path(init).expanduser().resolve()
    if path.is_dir():
        if not (path / RUN_FILE).is_file():
            raise UserError(f"{option}: {path} holds no {RUN_FILE}; name a finished run that exported glb, or a file")
        return path / RUN_FILE
    if not path.is_file():
        raise UserError(f"{option}: there is no file {init}; choose {', '.join(names)}, a file or a run's folder")
    return path


def unchanged(init: str, known: str) -> Path:
    """The file at `init`, whose digest is `known` or has not been taken. UserError when it is another one now."""
    path = Path(init)
    if known and digest(path) != known:
        raise UserError(f"{path} is not the file this run started from: put that back, or start with sds3d generate")
    return path
