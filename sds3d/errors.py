"""The one exception a user is meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the CLI prints it as one line, without a traceback, and exits with 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A UserError for `name` not among `known`, suggesting the nearest one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(names)}")
