"""Read-only access to asset files by path, in a zip or in a folder; case does not matter."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Reader = Callable[[str], bytes]


class Archive(Protocol):
    """A tree of files with POSIX paths."""

    names: list[str]

    def read(self, path: str) -> bytes:
        """Contents of `path` (normalised, any case); KeyError if there is none."""
        ...

    def __contains__(self, path: str) -> bool: ...


class _Tree:
    """The case-blind index shared by both archives."""

    def __init__(self, names: list[str]) -> None:
        self.names = sorted(names)
        self._index = {n.lower(): n for n in self.names}

    def _resolve(self, path: str) -> str:
        return self._index[posixpath.normpath(path).lstrip("/").lower()]

    def __contains__(self, path: str) -> bool:
        return posixpath.normpath(path).lstrip("/").lower() in self._index


class ZipArchive(_Tree):
    """A zip file on disk, or in memory."""

    def __init__(self, source: Path | bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        super().__init__([n for n in self._zip.namelist() if not n.endswith("/")])

    def read(self, path: str) -> bytes:
        return self._zip.read(self._resolve(path))


class FolderArchive(_Tree):
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        super().__init__([p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()])

    def read(self, path: str) -> bytes:
        return (self._root / self._resolve(path)).read_bytes()
