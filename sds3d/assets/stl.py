"""STL, binary and text: free triangles."""

from __future__ import annotations

import re
import struct
from itertools import islice

import numpy as np

from sds3d.assets.limits import Broken, faces_within
from sds3d.assets.mesh import Part
from sds3d.assets.source import Data, Source
from sds3d.assets.text import numbers

RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
HEAD = 84
CORNER = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)")


def is_binary(data: Data) -> bool:
    """The length decides: many binary files begin with "solid" as well."""
    return len(data) >= HEAD and len(data) == HEAD + RECORD.itemsize * struct.unpack_from("<I", data, 80)[0]


def read_stl(source: Source) -> list[Part]:
    """One part, its corners welded where they are equal."""
    data, start = source.data, source.data[:4096]
    if start.lstrip()[:5].lower() == b"solid" and not is_binary(data) and b"facet" in start:
        count = faces_within(data[:].count(b"endfacet"))
        text = bytearray()
        for found in islice(CORNER.finditer(data), 3 * count + 1):
            text += b"%b %b %b " % found.groups()
        try:
            corners = numbers(text, 9 * count).reshape(-1, 3)
        except Broken:
            raise Broken(f"ends early, or has not 3 corners for each of its {count:,} facets") from None
    else:
        if len(data) < HEAD:
            raise Broken("ends early: it is shorter than the header of an .stl")
        count = faces_within(struct.unpack_from("<I", data, 80)[0])
        there = (len(data) - HEAD) // RECORD.itemsize
        if there < count:
            raise Broken(f"ends early: it declares {count:,} faces, {there:,} are there")
        corners = np.frombuffer(data, RECORD, count, HEAD)["corners"].reshape(-1, 3).astype(np.float64)
    return [welded(corners)]


def welded(corners: np.ndarray) -> Part:
    """Triangles (3F, 3) with equal corners made one."""
    keys = (corners + 0.0).view(np.dtype((np.void, corners.itemsize * 3))).ravel()  # + 0: -0 and 0 are one place
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Part(corners[first], inverse.reshape(-1, 3))
