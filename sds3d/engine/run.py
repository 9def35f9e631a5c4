"""A run folder: what is in it, how it is found, started over, locked and continued."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from torch import Tensor

from sds3d.config import read_yaml, write_yaml
from sds3d.engine import checkpoint
from sds3d.engine.settings import Settings, from_values
from sds3d.errors import UserError
from sds3d.files import replacing, write_bytes
from sds3d.prompts import slug

PRODUCTS = ("views.png", "turntable.mp4", "turntable.gif", "report.html", "result.json")
LOCK = ".lock"
OWN = ("config.yaml", "metrics.jsonl", "checkpoint.safetensors", "reference.png", "preview/*.png", "asset*", *PRODUCTS)


class Resumable(Protocol):
    """What a checkpoint is made of."""

    @property
    def step(self) -> int: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor], step: int) -> None: ...


@dataclass(frozen=True)
class Run:
    """The folder of one run and the settings that made it."""

    folder: Path
    settings: Settings
    made: bool = False  # has this process made the folder?

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        return self.folder / "preview"

    @property
    def complete(self) -> bool:
        return (self.folder / "result.json").is_file()

    def begin(self, force: bool = False) -> None:
        """Write config.yaml, anew where what is no part of the result's identity has changed; `force` first removes
        what an earlier run wrote."""
        if force:
            _clear(self.folder, OWN)
        config, text = self.folder / "config.yaml", write_yaml(self.settings.as_dict()).encode()
        if not config.exists() or config.read_bytes() != text:
            write_bytes(config, text)

    def save(self, run: Resumable) -> None:
        """Checkpoint the loop at its current step."""
        checkpoint.save(self.checkpoint, run.state_dict(), {"step": run.step, "settings": self.settings.hash})

    def restore(self, run: Resumable) -> bool:
        """Put the loop where the checkpoint left it; False when there is none. Later metrics are cut off."""
        if not self.checkpoint.exists():
            return False
        tensors, header = checkpoint.load(self.checkpoint)
        try:
            run.load_state_dict(tensors, int(header["step"]))
        except (KeyError, ValueError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self.checkpoint} does not fit {self.folder / 'config.yaml'} ({reason}): "
                "start again with sds3d generate --force"
            ) from error
        cut_metrics(self.metrics, run.step)
        return True

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Marks the run complete: written last."""
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_bytes(self.folder / "result.json", text.encode() + b"\n")


class Busy(UserError):
    """Another process works in the folder."""


def place(settings: Settings, root: Path) -> Run:
    """Where the run of `settings` is under `root`, or would be."""
    return Run(root / f"{slug(settings.prompt)}-{settings.hash}", settings)


def create(settings: Settings, root: Path) -> Run:
    """The run of `settings` under `root`, its folder made if there is none."""
    folder = place(settings, root).folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir()
            return Run(folder, settings, made=True)
        folder.mkdir(exist_ok=True)  # no folder, but a file: says so
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}; choose another with --out") from None
    return Run(folder, settings)


def load(folder: Path) -> Run:
    """The run in an existing folder."""
    config = folder / "config.yaml"
    if not config.is_file():
        raise UserError(f"{folder} is not a run folder: it has no config.yaml")
    return Run(folder, from_values(read_yaml(config)))


def _clear(folder: Path, patterns: tuple[str, ...]) -> None:
    """Remove what a run writes, and nothing else that someone may have put there."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                path.unlink()


@contextmanager
def locked(folder: Path, made: bool = False) -> Iterator[None]:
    """Only one process works in a folder; the lock goes with the process, however it ends. Temporary files of a killed
    one are swept. `made`: this process has made the folder, and takes it away again if nothing came to be in it."""
    with open(_lock_file(folder), "w") as file:
        if not _lock(file):
            raise Busy(f"another sds3d is working in {folder}: wait for it or choose another seed")
        _clear(folder, (".*.[0-9]*.part*", "preview/.*.[0-9]*.part*"))
        for leftover in folder.glob(".staging-[0-9]*"):
            _remove_tree(leftover)
        try:
            yield
        finally:
            if made:
                _take_away(folder)


def _take_away(folder: Path) -> None:
    """Remove a folder that this process has made, if it holds no more than was put into it before the run began."""
    if {path.name for path in folder.iterdir()} <= {LOCK, "config.yaml"}:
        _clear(folder, (LOCK, "config.yaml"))
        with suppress(OSError):  # someone has put something there
            folder.rmdir()


def _lock_file(folder: Path) -> Path:
    path = folder / LOCK
    try:
        path.touch()
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror}; choose another folder with --out") from None
    return path


def _lock(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system: rely on the user
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A scratch folder whose files move into `folder` together when the block ends well, or vanish."""
    scratch = folder / f".staging-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        yield scratch
        for path in sorted(p for p in scratch.iterdir() if not p.name.startswith(".")):
            os.replace(path, folder / path.name)
    finally:
        _remove_tree(scratch)


def _remove_tree(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def cut_metrics(path: Path, step: int) -> None:
    """Drop the lines after `step`, and a last line that a kill left unfinished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            wanted = line.endswith("\n") and json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError):
            wanted = False
        if not wanted:
            break
        kept.append(line)
    with replacing(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
