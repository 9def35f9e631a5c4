"""Assets by their content. Whatever is wrong with a file becomes one UserError line."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sds3d.assets.gltf import read_gltf
from sds3d.assets.limits import Broken
from sds3d.assets.merge import assemble
from sds3d.assets.mesh import LoadedMesh, Part
from sds3d.assets.obj import read_obj
from sds3d.assets.placement import orientation
from sds3d.assets.ply import is_splats, read_ply
from sds3d.assets.ply_document import read_header
from sds3d.assets.source import Source, open_source
from sds3d.assets.stl import is_binary, read_stl
from sds3d.errors import UserError

MESHES: dict[str, Callable[[Source], list[Part]]] = {
    "gltf": read_gltf,
    "obj": read_obj,
    "ply": read_ply,
    "stl": read_stl,
}
SPLATS = ("splat-ply",)
KNOWN = "glb, gltf, obj, ply and stl meshes and Gaussians in .ply are read"
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)
CORRUPT = (struct.error, zlib.error, binascii.Error, EOFError, np.linalg.LinAlgError)


def load_mesh(path: Path | str, up: str = "+y", front: str | None = None) -> LoadedMesh:
    """The mesh in a .glb, .gltf, .obj, .ply or .stl file, in the world (+Y up, front +Z, unit ball).

    `up` and `front` ("+y", "-x", ...) say how the file has it; without `front` it is +Z where Y is up and -Y where Z
    is. glTF says itself that +Y is up, so only `front` may be given for it. The way back to the file's coordinates is
    LoadedMesh.transform. UserError if the file is missing, broken, too large, or reaches outside its own folder.
    """
    with explained(path), np.errstate(all="ignore"):
        source = open_source(Path(path).expanduser())
        kind = kind_of(source)
        if kind in SPLATS:
            raise Broken("holds Gaussians, where a mesh is wanted")
        if kind == "gltf" and up.lstrip("+") != "y":
            raise UserError(f"{path} is glTF, which has +Y up: leave the up axis out")
        axes = orientation(up, front)
        return assemble(MESHES[kind](source), axes, source.notes)


def kind_of(source: Source) -> str:
    """A key of MESHES or one of SPLATS, by what the file begins with; its suffix only where the content is silent."""
    data, suffix = source.data, source.path.suffix.lower()
    if data[:4] == b"glTF":
        return "gltf"
    if data[:4] in (b"ply\n", b"ply\r"):
        return "splat-ply" if is_splats(read_header(data)) else "ply"
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
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (*UNREADABLE, *CORRUPT) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} is broken ({reason}): save it again from the program that made it") from error
