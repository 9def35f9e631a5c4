"""Runs through the command line that are over in seconds: settings of the smallest scenes and exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TINY: dict[str, Any] = {
    "splats.count": 80,
    "export.resolution": 16,
    "export.faces": 100,
    "export.texture": 32,
    "export.unwrap_seconds": 0,
    "formats": "ply",
}
COARSE: dict[str, Any] = TINY | {"export.resolution": 24, "export.faces": 300, "export.texture": 64}


def sets(settings: Mapping[str, Any]) -> list[str]:
    """--set KEY=VALUE for each."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
