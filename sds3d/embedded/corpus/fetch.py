"""The pinned asset packages: where they come from, what they must hash to, and which of their files are unpacked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sds3d.errors import UserError

MIRRORS = (
    "https://deb.debian.org/debian/pool/main",
    "https://snapshot.debian.org/archive/debian/20231201T000000Z/pool/main",
)


@dataclass(frozen=True)
class Package:
    """One pinned Debian package; `folder` is its place in the pool, `keep` says which of its files are unpacked."""

    name: str
    version: str
    sha256: str
    folder: str
    keep: Callable[[str], bool]

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version}_all.deb"


def _under(*folders: str) -> Callable[[str], bool]:
    return lambda path: path.endswith("/copyright") or any(folder in path for folder in folders)


PACKAGES: dict[str, Package] = {
    "sweethome": Package(
        "sweethome3d-furniture",
        "1.8-1",
        "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
        "s/sweethome3d-furniture",
        _under("/sweethome3d/furniture/"),
    ),
    "zeroad": Package(
        "0ad-data",
        "0.0.26-1",
        "53745ae74d05bccf6783400fa98f3932b21729ab9d2e86151aa2c331c3455178",
        "0/0ad-data",
        _under("/mods/public/public.zip"),
    ),
    "megaglest": Package(
        "megaglest-data",
        "3.13.0-3",
        "ed4783d9fc78e201a548b266f7c30325eb16cfd58a20bf4597dd6e622f84a07e",
        "m/megaglest-data",
        _under("/megaglest/techs/", "/megaglest/tilesets/"),
    ),
    "supertuxkart": Package(
        "supertuxkart-data",
        "1.4+dfsg-2",
        "568d69cda50dc8ad1facb89514bd14953dfca736fdb83c49ae330b0aa7dd2364",
        "s/supertuxkart",
        _under("/data/karts/", "/data/models/", "/data/library/", "/data/textures/"),
    ),
}


def table(sources: Iterable[str]) -> list[dict[str, str]]:
    """Name, version and sha256 of the packages of these sources."""
    pinned = [package for source, package in PACKAGES.items() if source in set(sources)]
    return [{"name": p.name, "version": p.version, "sha256": p.sha256} for p in pinned]


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def ensure(package: Package, cache: Path) -> Path:
    """The folder with the package's unpacked files, downloading and unpacking only what is missing.

    UserError if the package cannot be had or is not the pinned one.
    """
    target = cache / "unpacked" / package.name
    marker = target / ".complete"
    if marker.exists() and marker.read_text() == package.sha256:
        return target
    archive = cache / package.file
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        download(package, cache)
    found = sha256(archive)
    if found != package.sha256:
        raise UserError(f"{archive} has sha256 {found}, expected {package.sha256}: delete it and try again")
    shutil.rmtree(target, ignore_errors=True)
    unpack(archive, target, package.keep)
    marker.write_text(package.sha256)
    return target


def download(package: Package, cache: Path) -> None:
    """`apt-get download` if apt knows the version, else the pool of a Debian mirror, else the snapshot archive."""
    if shutil.which("apt-get"):
        command = ["apt-get", "download", f"{package.name}={package.version}"]
        subprocess.run(command, cwd=cache, capture_output=True, check=False)
        if (cache / package.file).exists():
            return
    for mirror in MIRRORS:
        part = cache / f"{package.file}.part"
        try:
            with urllib.request.urlopen(f"{mirror}/{package.folder}/{package.file}") as reply, open(part, "wb") as file:
                shutil.copyfileobj(reply, file, 1 << 20)
        except (urllib.error.URLError, OSError):
            part.unlink(missing_ok=True)
            continue
        part.rename(cache / package.file)
        return
    raise UserError(f"cannot download {package.file}: fetch it by hand into {cache} (Debian package {package.name})")


def unpack(archive: Path, target: Path, keep: Callable[[str], bool]) -> None:
    """The wanted files of a .deb's data member. A .deb is an `ar` of tar files; gz, bz2 and xz are read."""
    with _data_member(archive) as (stream, name):
        if not name.endswith((".tar", ".tar.gz", ".tar.bz2", ".tar.xz")):
            raise UserError(f"{archive}: cannot read {name}; unpack it by hand (dpkg-deb -x)")
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                if member.isfile() and keep(member.name):
                    tar.extract(member, target, filter="data")


@contextmanager
def _data_member(archive: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The file positioned at the data member, and the member's name."""
    with open(archive, "rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise UserError(f"{archive} is not a Debian package")
        while header := file.read(60):
            name = header[:16].decode().strip().rstrip("/")
            if name.startswith("data.tar"):
                yield file, name
                return
            size = int(header[48:58])
            file.seek(size + size % 2, 1)
    raise UserError(f"{archive} has no data member")
