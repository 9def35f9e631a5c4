"""Counter-based randomness: one stream per purpose, keyed by (seed, purpose, step).

There is no global generator and no generator state to save: step 137 of a resumed run draws what step 137 of an
uninterrupted run draws.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A fresh CPU generator for `purpose` ("camera", "noise", "time", "background", "init", ...) at `step`."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
