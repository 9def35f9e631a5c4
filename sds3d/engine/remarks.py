"""Warnings as remarks for the user: a prompt longer than the prior reads, a LoRA that fits in part."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def noting_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Warnings of the block are told, each once; those for developers are not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)):
        tell(f"  {text}")
