"""Numba kernels that release the GIL, and threads to run them on.

Work is cut into fixed pieces by the caller and each piece writes to its own memory, so results never depend on how
many threads there are. (numba's own `parallel=True` compiles several times slower.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
from numba import config

# Everything of `fastmath` but the promise that no value is NaN or infinite: kernels must be able to skip those.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` with numba, kept on disk where a cache directory can be written."""
    try:
        return numba.njit(nogil=True, fastmath=FAST, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no place to write a cache
        return numba.njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of kernels: compiled into its callers only, where the compiler can merge it into their loops."""
    return numba.njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


THREADS: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="sds3d")


def in_parallel(function: Callable[..., Any], pieces: Sequence[tuple[Any, ...]]) -> None:
    """function(*piece) for every piece, on NUMBA_NUM_THREADS threads."""
    if THREADS == 1 or len(pieces) == 1:
        for piece in pieces:
            function(*piece)
        return
    list(_pool(os.getpid()).map(lambda piece: function(*piece), pieces))  # list(): re-raises


def ranges(n: int, pieces: int) -> list[tuple[int, int]]:
    """0..n cut into at most `pieces` contiguous ranges of nearly equal length."""
    pieces = max(1, min(n, pieces))
    edges = [n * i // pieces for i in range(pieces + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))
