"""One line where a scene is drawn by the slow reference, because the fast backend of its device cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch


def warn_if_slow(what: str, used: str, device: torch.device, backends: Callable[[], Mapping[str, str | None]]) -> None:
    """Warn where `used`, the backend taken for `what` on a CPU or a CUDA device, is plain torch; `backends` tells why
    others are not taken (name -> reason, "ok" or None where it works)."""
    if used != "torch" or device.type not in ("cpu", "cuda"):
        return
    reasons = [f"{name}: {reason}" for name, reason in backends().items() if reason not in (None, "ok")]
    warnings.warn(
        f"{what} are drawn by plain torch on {device.type}, which is slow ({'; '.join(reasons)}): "
        "sds3d doctor tells what to install",
        stacklevel=3,
    )
