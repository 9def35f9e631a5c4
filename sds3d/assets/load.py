"""Assets by their content. Whatever is wrong with a file becomes one UserError line."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sds3d.assets import merge, splats
from sds3d.assets.gaussians import Gaussians
from sds3d.assets.gltf import read_gltf
from sds3d.assets.limits import Broken
from sds3d.assets.mesh import TRANSPARENCY, LoadedMesh, Part, see_through
from sds3d.assets.obj import read_obj
from sds3d.assets.placement import Matrix, orientation
from sds3d.assets.ply import is_splats, read_ply
from sds3d.assets.ply_document import read_header
from sds3d.assets.source import Source, open_source
from sds3d.assets.splat_ply import read_splat_ply
from sds3d.assets.splats import LoadedSplats
from sds3d.assets.spz import read_splat, read_spz
from sds3d.assets.stl import is_binary, read_stl
from sds3d.errors import UserError

MESHES: dict[str, Callable[[Source], list[Part]]] = {
    "gltf": read_gltf,
    "obj": read_obj,
    "ply": read_ply,
    "stl": read_stl,
}
SPLATS: dict[str, Callable[[Source], Gaussians]] = {
    "splat-ply": read_splat_ply,
    "spz": read_spz,
    "splat": read_splat,
}
SAY_UP = {"gltf": "glTF", "spz": ".spz"}  # formats that lay the axes down
KNOWN = "glb, gltf, obj, ply and stl meshes and ply, spz and splat Gaussians are read"
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
CORRUPT = (struct.error, zlib.error, binascii.Error, EOFError, np.linalg.LinAlgError)


def load_asset(path: Path | str, up: str | None = None, front: str | None = None) -> LoadedMesh | LoadedSplats:
    """The mesh or the Gaussians in a file, whichever its content is; see load_mesh and load_splats."""
    with explained(path), np.errstate(all="ignore"):
        source = open_source(Path(path).expanduser())
        kind = kind_of(source)
        axes = _axes(path, kind, up, front)
        if kind in MESHES:
            parts = MESHES[kind](source)
            if see_through(parts):
                source.note(TRANSPARENCY)
            return merge.assemble(parts, axes, source.notes, kind not in SAY_UP)
        return splats.assemble(SPLATS[kind](source), axes, source.notes, kind not in SAY_UP)


def holds_mesh(path: Path | str) -> bool:
    """Whether a file begins as a mesh, and not as Gaussians. Errors as for load_mesh."""
    with explained(path):
        return kind_of(open_source(Path(path).expanduser())) in MESHES


def load_mesh(path: Path | str, up: str | None = None, front: str | None = None) -> LoadedMesh:
    """The mesh in a .glb, .gltf, .obj, .ply or .stl file, in the world (+Y up, front +Z, unit ball).

    `up` and `front` ("+y", "-x", ...) say how the file has it: +Y upwards by default, and the front +Z, or -Y where Z
    is up. glTF says itself that +Y is up, so only `front` may be given for it. The way back to the file's coordinates
    is LoadedMesh.transform. UserError if the file is missing, broken, too large, or reaches outside its own folder.
    """
    asset = load_asset(path, up, front)
    if isinstance(asset, LoadedSplats):
        raise UserError(f"{path} holds Gaussians: a mesh is wanted here")
    return asset


def load_splats(path: Path | str, up: str | None = None, front: str | None = None) -> LoadedSplats:
    """The Gaussians in a 3DGS .ply (plain or compressed), .spz or .splat file, in the world.

    +Y is down in .ply and .splat files unless `up` says otherwise, and the front is +Z; .spz says itself that +Y is up.
    Errors as for load_mesh.
    """
    asset = load_asset(path, up, front)
    if isinstance(asset, LoadedMesh):
        raise UserError(f"{path} holds a mesh: Gaussians are wanted here")
    return asset


def _axes(path: Path | str, kind: str, up: str | None, front: str | None) -> Matrix:
    if kind in SAY_UP and up is not None and up.lstrip("+") != "y":
        raise UserError(f"{path} is {SAY_UP[kind]}, which has +Y up: leave the up axis out")
    usual = "-y" if kind in SPLATS and kind not in SAY_UP else "+y"
    return orientation(usual if up is None else up, front)


def kind_of(source: Source) -> str:
    """A key of MESHES or of SPLATS, by what the file begins with; its suffix only where the content is silent."""
    data, suffix = source.data, source.path.suffix.lower()
    if data[:4] == b"glTF":
        return "gltf"
    if data[:4] in (b"ply\n", b"ply\r"):
        return "splat-ply" if is_splats(read_header(data)) else "ply"
    if data[:2] == b"\x1f\x8b" or data[:4] == b"NGSP":
        return "spz"
    if suffix == ".splat":
        return "splat"
    if is_binary(data) or data[:6].lower() == b"solid ":
        return "stl"
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"{":
        return "gltf"
    if suffix == ".obj" or start[:2] in (b"v ", b"o ", b"g ") or b"\nv " in start:
        return "obj"
    if suffix == ".stl":
        return "stl"
    raise Broken(f"is of an unknown kind: {KNOWN}")


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Every failure to read `path` as a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Broken as error:
        raise UserError(f"{path} {error}") from error
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than there is: make it smaller") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (*UNREADABLE, *CORRUPT) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} is broken ({reason}): save it again from the program that made it") from error
