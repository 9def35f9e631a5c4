"""Numbers out of text, without a Python object for each."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import MAX_LINE, Broken, at_most

BLOCK = 1 << 24  # bytes of a text that are looked at together


def numbers(text: bytes | bytearray, count: int) -> NDArray[np.float64]:
    """The `count` numbers of a text, separated by blanks or line ends. Raises Broken if it has more, fewer, or
    something else. Words are counted first: numpy would take what is missing from memory that is not its own."""
    found = np.zeros(0)
    if words(text) == count:
        with warnings.catch_warnings(), suppress(ValueError, DeprecationWarning):
            warnings.simplefilter("error", DeprecationWarning)  # of a text that stops being numbers
            found = np.fromstring(bytes(text), np.float64, sep=" ") if count else found
    if len(found) != count:
        raise Broken(f"has something that is no number where {count:,} numbers should be, or ends early")
    return found


def words(text: bytes | bytearray) -> int:
    """How many words a text has, blanks and control characters between them."""
    count, inside = 0, False
    for start in range(0, len(text), BLOCK):
        ink = np.frombuffer(text, np.uint8, min(BLOCK, len(text) - start), start) > 32
        count += int((ink[1:] & ~ink[:-1]).sum()) + bool(ink[0] and not inside)
        inside = bool(ink[-1])
    return count


def lines(data: bytes) -> Iterator[bytes]:
    """The lines of a text, one at a time."""
    for line in io.BytesIO(data):
        if len(line) > MAX_LINE:
            at_most(len(line), MAX_LINE, "bytes in one line")
        yield line
