"""The container of .ply files, text and binary: a header, then tables. Counts are checked before tables are made."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import MAX_BYTES, MAX_HEADER, MAX_LISTS, MAX_ROWS, Broken, at_most
from sds3d.assets.source import Data
from sds3d.assets.text import lines, numbers

KINDS = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
KINDS |= {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
KINDS |= {"float32": "f4", "float64": "f8"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass
class Element:
    """A table of the file. Either all its columns are numbers, or it has lists among them."""

    name: str
    count: int
    columns: dict[str, str] = field(default_factory=dict)  # name: numpy kind of the number, or of a list's items
    lengths: dict[str, str] = field(default_factory=dict)  # for lists: numpy kind of their length


@dataclass(frozen=True)
class Header:
    order: str  # "<", ">", or "" for text
    elements: tuple[Element, ...]
    size: int  # bytes up to the first table

    def __getitem__(self, name: str) -> Element:
        for element in self.elements:
            if element.name == name:
                return element
        raise Broken(f"has no element {name!r}")

    def has(self, element: str, *columns: str) -> bool:
        """Whether there is such an element with all of these columns."""
        return any(e.name == element and all(c in e.columns for c in columns) for e in self.elements)


def read_header(data: Data) -> Header:
    """The header of a .ply. Raises Broken for what is none."""
    end = data.find(b"end_header", 0, MAX_HEADER)
    line = data.find(b"\n", end)
    if data[:3] != b"ply" or end < 0 or line < 0:
        raise Broken("has no whole .ply header")
    order, elements = None, []
    for text in data[:end].decode("latin1").splitlines()[1:]:
        words = text.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3:
            order = ORDERS.get(words[1])
        elif words[0] == "element" and len(words) == 3 and words[2].isdigit() and len(words[2]) < 16:
            elements.append(Element(words[1], int(words[2])))
        elif words[0] == "property" and elements and words[1:2] == ["list"] and len(words) == 5:
            elements[-1].columns[words[4]] = KINDS[words[3]]
            elements[-1].lengths[words[4]] = KINDS[words[2]]
        elif words[0] == "property" and elements and len(words) == 3:
            elements[-1].columns[words[2]] = KINDS[words[1]]
        else:
            raise Broken(f"has {text[:60]!r} in its header")
    if order is None:
        raise Broken("has an unknown .ply format")
    return Header(order, tuple(elements), line + 1)


def read_tables(data: Data, header: Header, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The tables named in `wanted`: structured arrays, a list column as (count, longest) with -1 where a list has
    ended. Tables behind the last wanted one are not looked at."""
    tables: dict[str, NDArray[Any]] = {}
    reader = _Text(data[header.size :]) if not header.order else _Binary(data, header.size, header.order)
    for element in header.elements:
        if set(wanted) <= set(tables):
            break
        if element.name in wanted:
            tables[element.name] = reader.table(element)
        else:
            reader.skip(element)
    return tables


class _Binary:
    def __init__(self, data: Data, at: int, order: str) -> None:
        self.data, self.at, self.order = data, at, order
        self.rows_left, self.lists_left = MAX_ROWS, MAX_LISTS

    def skip(self, element: Element) -> None:
        self.table(element)

    def table(self, element: Element) -> NDArray[Any]:
        if element.lengths:
            self.rows_left -= at_most(element.count, self.rows_left, f"rows of {element.name!r}")
            same = self._even(element)
            return self._uneven(element) if same is None else same
        kind = np.dtype([(name, self.order + code) for name, code in element.columns.items()])
        self._room(element, kind.itemsize * element.count)
        table = np.frombuffer(self.data, kind, element.count, self.at)
        self.at += kind.itemsize * element.count
        return table

    def _room(self, element: Element, size: int) -> None:
        if self.at + size > len(self.data):
            raise Broken(f"ends early: {element.count:,} x {element.name} do not fit in it")

    def _even(self, element: Element) -> NDArray[Any] | None:
        """The table if every list in it is as long as in the first row, as in most files."""
        if not element.count:
            return np.zeros(0, [(name, code) for name, code in element.columns.items()])
        fields: list[Any] = []
        at = self.at
        for name, code in element.columns.items():
            if name not in element.lengths:
                fields.append((name, self.order + code))
                at += np.dtype(code).itemsize
                continue
            length_kind = np.dtype(self.order + element.lengths[name])
            self._room(element, at - self.at + length_kind.itemsize)
            length = at_most(int(np.frombuffer(self.data, length_kind, 1, at)[0]), MAX_HEADER, "corners in a face")
            fields += [(f"#{name}", length_kind), (name, self.order + code, (length,))]
            at += length_kind.itemsize + length * np.dtype(code).itemsize
        kind = np.dtype(fields)
        if self.at + kind.itemsize * element.count > len(self.data):
            return None
        table = np.frombuffer(self.data, kind, element.count, self.at)
        if any((table[f"#{name}"] != table[name].shape[1]).any() for name in element.lengths):
            return None
        self.at += kind.itemsize * element.count
        return table

    def _uneven(self, element: Element) -> NDArray[Any]:
        """Row by row. Only the first list is kept; the other columns are passed over."""
        steps, tail = self._steps(element)
        lists = element.count * len(steps)
        self.lists_left -= at_most(lists, self.lists_left, f"lists of different lengths in {element.name!r}")
        kept = next(iter(element.lengths))
        data, at, items, sizes = self.data, self.at, bytearray(), array("I")
        order: Any = "little" if self.order == "<" else "big"
        for _ in range(element.count):
            for k, (before, width, item) in enumerate(steps):
                at += before + width
                count = int.from_bytes(data[at - width : at], order)  # 0 behind the end
                if count > MAX_HEADER:
                    at_most(count, MAX_HEADER, "corners in a face")
                if k == 0:
                    items += data[at : at + count * item]
                    sizes.append(count)
                at += count * item
            at += tail
            if at > len(data):
                self._room(element, at - self.at)
        self.at = at
        return padded(kept, np.frombuffer(items, self.order + element.columns[kept]), sizes)

    def _steps(self, element: Element) -> tuple[list[tuple[int, int, int]], int]:
        """For every list of a row: bytes of the numbers before it, of its length, of an item; and the bytes after the
        last one."""
        steps, before = [], 0
        for name, code in element.columns.items():
            size = np.dtype(code).itemsize
            if name in element.lengths:
                steps.append((before, np.dtype(element.lengths[name]).itemsize, size))
                before = 0
            else:
                before += size
        return steps, before


class _Text:
    """Tables of a text file: one row a line."""

    def __init__(self, data: bytes) -> None:
        self.lines, self.rows_left = lines(data), MAX_ROWS

    def _rows(self, element: Element) -> Iterator[bytes]:
        """The element's lines; Broken if there are fewer."""
        self.rows_left -= at_most(element.count, self.rows_left, f"rows of {element.name!r}")
        for row in range(element.count):
            line = next(self.lines, None)
            if line is None:
                raise Broken(f"ends early: {row:,} of {element.count:,} x {element.name} are there")
            yield line

    def skip(self, element: Element) -> None:
        for _ in self._rows(element):
            pass

    def table(self, element: Element) -> NDArray[Any]:
        if element.lengths:
            return self._lists(element)
        width = len(element.columns)
        text = bytearray()
        for line in self._rows(element):
            text += line
        values = numbers(text, width * element.count).reshape(-1, width)
        table = np.empty(element.count, [(name, code) for name, code in element.columns.items()])
        for i, name in enumerate(element.columns):
            table[name] = values[:, i]
        return table

    def _lists(self, element: Element) -> NDArray[Any]:
        """The first list of every row; what stands before it are single numbers."""
        name = next(iter(element.lengths))
        at = list(element.columns).index(name)
        text, sizes = bytearray(), array("I")
        for line in self._rows(element):
            words = line.split()
            count = int(words[at])
            if not 0 <= count <= len(words) - at - 1:
                raise Broken("ends early: a face is cut off")
            text += b" ".join(words[at + 1 : at + 1 + count]) + b" "
            sizes.append(count)
        return padded(name, numbers(text, sum(sizes)), sizes)


def padded(name: str, items: NDArray[Any], sizes: array[int]) -> NDArray[Any]:
    """Lists that lie end to end in `items` as one column, -1 where one has ended."""
    lengths = np.array(sizes, np.int64)
    longest = int(lengths.max(initial=0))
    at_most(longest * len(lengths) * 8, MAX_BYTES, "bytes of faces", "split the largest faces")
    table = np.full(len(lengths), -1, [(name, "<i8", (longest,))])
    table[name][np.arange(longest) < lengths[:, None]] = items.astype(np.int64)
    return table
