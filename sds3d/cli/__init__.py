"""Commands: parse, call the engine, print. Heavy imports live inside the commands, so that --help is quick."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

STARTED = time.perf_counter()

# before torch or numba are imported: idle threads that spin make a shared machine many times slower
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: runs a command and exits with 0, 2 (a mistake to mend) or 130 (stopped)."""
    from sds3d.cli.app import app

    arguments = list(sys.argv[1:] if argv is None else argv)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--debug" in options:  # wherever it stands
        arguments.remove("--debug")
        arguments.insert(0, "--debug")
    app(arguments, prog_name="sds3d")
