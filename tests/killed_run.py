"""A process for test_engine_run: makes a small run and kills itself in the middle of writing a checkpoint.

Usage: python killed_run.py ROOT N, where N counts the checkpoint to die in (0: let it live).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from engine_helpers import Log, NetworkPrior, settings

from sds3d import files
from sds3d.engine import generate as engine

STEPS, EVERY = 9, 3


def chosen() -> Any:
    return settings(guidance="vsd", steps=STEPS, checkpoint_every=EVERY, preview_every=4, splats__refine_during="0.2,1")


def main(root: Path, die_at: int) -> None:
    engine.load_prior = lambda name, device: NetworkPrior()  # type: ignore[assignment,misc]
    replace, seen = os.replace, 0

    def dying(source: Any, target: Any) -> None:
        nonlocal seen
        if Path(target).name == "checkpoint.safetensors":
            seen += 1
            if seen == die_at:
                os.truncate(source, os.path.getsize(source) // 2)  # as if the disk had half of it
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    files.os.replace = dying  # type: ignore[attr-defined]
    engine.generate(chosen(), root, torch.device("cpu"), False, Log())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
