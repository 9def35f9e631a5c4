"""The bytes of an asset: its own file, and those beside it that it names. Nothing else is ever opened."""

from __future__ import annotations

import mmap
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from sds3d.assets.limits import (
    MAX_BYTES,
    MAX_FILES,
    MAX_LINES,
    MAX_NOTES,
    MAX_PIXELS_TOGETHER,
    Broken,
    at_most,
)
from sds3d.assets.text import lines

SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")  # http:, file:, and the C: of Windows
Data = bytes | mmap.mmap  # a mapped file takes no memory of its own until something is made of it


@dataclass
class Source:
    """An asset's file, what it may still read, and what was left out of it."""

    path: Path
    data: Data
    bytes_left: int = MAX_BYTES
    pixels_left: int = MAX_PIXELS_TOGETHER
    lines_left: int = MAX_LINES
    files_left: int = MAX_FILES
    _notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Remember something that the file has and the asset has not, for the user."""
        self._notes[text] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted first, and how much more there is."""
        notes = list(self._notes)
        more = len(notes) - MAX_NOTES
        return tuple(notes) if more <= 0 else (*notes[:MAX_NOTES], f"and {more:,} more")

    def lines(self, data: bytes) -> Iterator[bytes]:
        """The lines of a text of this asset."""
        self.lines_left -= at_most(data.count(b"\n"), self.lines_left, "lines of text")
        return lines(data)

    def beside(self, name: str) -> bytes:
        """The file that the asset names, which must lie in the asset's own folder or below it. Raises Broken for any
        other place (addresses, absolute paths, `..`, links that lead out) and FileNotFoundError where none is."""
        if not self.files_left:
            raise Broken(f"names more than {MAX_FILES:,} files: put its pictures together")
        self.files_left -= 1
        path = inside(self.path.parent, name)
        with open_regular(path, self.bytes_left) as (file, size):
            data = file.read(size)
        self.bytes_left -= len(data)
        return data

    def take_pixels(self, count: int) -> None:
        """Count the pixels of a picture that is about to be unpacked."""
        at_most(count, self.pixels_left, "pixels (what is left of the allowance) in its pictures", "make them smaller")
        self.pixels_left -= count


def open_source(path: Path) -> Source:
    """The asset at `path`. Raises Broken if it is empty, too large or no plain file, OSError if it cannot be read."""
    with open_regular(path, MAX_BYTES) as (file, size):
        if not size:
            raise Broken("is empty")
        return Source(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def inside(folder: Path, name: str) -> Path:
    """The path of `name` in `folder`, links followed; Broken if that is not in the folder."""
    shown = name if len(name) <= 80 else name[:77] + "..."
    if SCHEME.match(name):
        raise Broken(f"names {shown!r}: only files in its own folder are read, so put it there and name it plainly")
    relative = PurePosixPath(unquote(name).replace("\\", "/"))
    if "\0" in str(relative) or relative.is_absolute() or ".." in relative.parts or SCHEME.match(str(relative)):
        raise Broken(f"names {shown!r}, which lies outside its own folder: put the file beside it")
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Broken(f"names {shown!r}, a link out of its own folder: put the file itself there")
    return path


@contextmanager
def open_regular(path: Path, limit: int) -> Iterator[tuple[BinaryIO, int]]:
    """A plain file of at most `limit` bytes, and its size: never a device or a pipe, which might not end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Broken(f"is or names {path.name!r}, which is not a plain file")
    at_most(status.st_size, limit, f"bytes in {path.name!r}", "make it smaller")
    with open(path, "rb") as file:
        yield file, status.st_size
