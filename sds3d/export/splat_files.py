"""Gaussians in .ply (Kerbl et al. 2023) and .splat (antimatter15). Both take +Y as down, as COLMAP does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.placement import Placement
from sds3d.assets.spz import RECORD
from sds3d.export import axes_kind
from sds3d.export.compressed import write_compressed_ply
from sds3d.export.splats import Splats, in_file
from sds3d.export.spz import write_spz
from sds3d.files import write_bytes
from sds3d.scenes.base import Scene


def write_ply(path: Path, splats: Gaussians) -> list[Path]:
    """Every number as it is: nothing is lost."""
    rest = splats.sh[:, 1:].transpose(0, 2, 1).reshape(len(splats), -1)  # all of red first
    columns = {
        **dict(zip("xyz", splats.means.T, strict=True)),
        **dict.fromkeys(("nx", "ny", "nz"), np.float32(0)),
        **{f"f_dc_{i}": c for i, c in enumerate(splats.sh[:, 0].T)},
        **{f"f_rest_{i}": c for i, c in enumerate(rest.T)},
        "opacity": splats.opacities,
        **{f"scale_{i}": s for i, s in enumerate(splats.scales.T)},
        **{f"rot_{i}": q for i, q in enumerate(splats.quats.T)},
    }
    rows = np.empty(len(splats), [(name, "<f4") for name in columns])
    for name, column in columns.items():
        rows[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for name in columns]
    return [write_bytes(path, "\n".join([*header, "end_header", ""]).encode() + rows.tobytes())]


def write_splat(path: Path, splats: Gaussians) -> list[Path]:
    """32 bytes each: positions and sizes exact, colour, opacity and rotation in steps of 1/255 and 1/128, no harmonics.
    The largest and most opaque come first, so that a viewer has them early."""
    alpha = 1 / (1 + np.exp(-splats.opacities.astype(np.float64)))
    order = np.argsort(-np.exp(splats.scales.sum(1, dtype=np.float64)) * alpha, kind="stable")
    splats, alpha = splats[order], alpha[order]
    quats = splats.quats / np.linalg.norm(splats.quats, axis=1, keepdims=True)
    rows = np.zeros(len(splats), RECORD)
    rows["mean"] = splats.means
    rows["scale"] = np.exp(splats.scales)
    rows["rgba"] = as_bytes(np.concatenate([splats.sh[:, 0] * SH0 + 0.5, alpha[:, None]], 1) * 255)
    rows["quat"] = as_bytes(quats * 128 + 128)
    return [write_bytes(path, rows.tobytes())]


def as_bytes(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


WRITERS: dict[str, Callable[[Path, Gaussians], list[Path]]] = {
    "ply": write_ply,
    "ply-compressed": write_compressed_ply,
    "splat": write_splat,
    "spz": write_spz,
}


def write(name: str, path: Path, splats: Splats, scene: Scene | None, placement: Placement) -> list[Path]:
    """Gaussians, `scene`'s own if that is given, in the coordinates that a file of this format has."""
    return WRITERS[name](path, in_file(splats, scene, placement, placement.axes(axes_kind(name))))
