"""Ctrl-C and SIGTERM as a polite request: the loop stops between two steps and saves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The run was stopped on request; the message says how to go on."""


class Flag:
    """Set by the first signal; the second one stops at once (KeyboardInterrupt)."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def polite_stop() -> Iterator[Flag]:
    """A flag that Ctrl-C and SIGTERM set instead of ending the process, while the block runs."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield flag
        return
    previous = {number: signal.signal(number, flag) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
