"""Numbers out of text, without a Python object for each."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sds3d.assets.limits import MAX_LINE, Broken, at_most


def numbers(text: bytes | bytearray, count: int) -> NDArray[np.float64]:
    """`count` numbers separated by blanks or line ends. Raises Broken if there are fewer or something else."""
    if not count:
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of text that stops being numbers: counted below
        try:
            found = np.fromstring(bytes(text), np.float64, count, sep=" ")
        except ValueError:
            found = np.zeros(0)
    if len(found) != count:
        raise Broken(f"has something that is no number among its {count:,} numbers, or ends early")
    return found


def lines(data: bytes) -> Iterator[bytes]:
    """The lines of a text, one at a time."""
    for line in io.BytesIO(data):
        at_most(len(line), MAX_LINE, "bytes in one line")
        yield line
