"""What a file from elsewhere may ask for. Sizes are compared with these before anything is allocated."""

from __future__ import annotations

from sds3d.picture import MAX_PIXELS

MAX_BYTES = 1 << 29  # of the file, of the files it names together, and of what is unpacked from it
MAX_FACES = 2_000_000
MAX_VERTICES = 6_000_000
MAX_SPLATS = 4_000_000
MAX_NUMBERS = 100_000_000  # decoded from all accessors of a glTF file together
MAX_PIXELS_TOGETHER = 2 * MAX_PIXELS  # of all pictures of an asset
MAX_JSON_VALUES = 2_000_000
MAX_HEADER = 1 << 16  # bytes of a .ply header
MAX_LINE = 1 << 20  # bytes of a line of text
MAX_LINES = 20_000_000  # of an .obj and its .mtl
MAX_ROWS = 10_000_000  # of the tables of a text .ply, and of one with lists
MAX_LISTS = 4_000_000  # of different lengths in a binary .ply, which are found one after the other
MAX_CHUNKS = 64  # of a .glb
MAX_FILES = 1_000  # that an asset names
MAX_LIBRARIES = 16  # of an .obj
MAX_NOTES = 6  # said of what was left out
MAX_NODES = 100_000
MAX_MATERIALS = 10_000
MAX_EXTENT = 1e15  # largest coordinate whose square is still safe in single precision


class Broken(Exception):
    """What is wrong with a file, to be read after its name; the loaders turn it into a UserError."""


def at_most(count: int, limit: int, what: str, advice: str = "") -> int:
    """`count`, if it lies between 0 and `limit`."""
    if not 0 <= count <= limit:
        raise Broken(f"has {count:,} {what}, at most {limit:,} are read{': ' * bool(advice)}{advice}")
    return count


def faces_within(count: int) -> int:
    """The count, if a file may have so many faces; else Broken."""
    return at_most(count, MAX_FACES, "faces", "decimate it first")


def vertices_within(count: int) -> int:
    """The count, if a file may have so many vertices; else Broken."""
    return at_most(count, MAX_VERTICES, "vertices", "decimate it first")


def splats_within(count: int) -> int:
    """The count, if a file may have so many Gaussians; else Broken."""
    return at_most(count, MAX_SPLATS, "Gaussians", "prune it first")
