"""What the viewer's two panes show of a run: its files, made small enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sds3d.errors import UserError
from sds3d.export.files import SH0, half_turn
from sds3d.export.splats import Splats
from sds3d.view.packing import pack
from sds3d.view.page import Part

SPLATS_INSIDE, SPLATS_SERVED = 150_000, 2_000_000  # at most this many Gaussians in a page, or from the local server


def splats_part(splats: Splats, limit: int) -> Part:
    """The pane of Gaussians; where there are more than `limit`, of those that cover most."""
    total = len(splats.means)
    label = f"{total:,} Gaussians" if total <= limit else f"{limit:,} of {total:,} Gaussians"
    return Part(pack(splats, limit), label)


def read_splat_ply(path: Path) -> Splats:
    """The Gaussians of a .ply that `export.files.write_splat_ply` wrote, in the world's axes."""
    from plyfile import PlyData, PlyParseError

    try:
        rows = PlyData.read(path)["vertex"].data
        columns = [f"f_dc_{i}" for i in range(3)], [f"scale_{i}" for i in range(3)], [f"rot_{i}" for i in range(4)]
        means, colors, scales, quats = (
            torch.from_numpy(np.stack([rows[name] for name in names], -1).astype(np.float32))
            for names in (["x", "y", "z"], *columns)
        )
        opacities = torch.from_numpy(rows["opacity"].astype(np.float32)).sigmoid()
    except (OSError, PlyParseError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no Gaussians ({error}): write it again with sds3d export") from None
    turn = torch.tensor([-1.0, -1.0, 1.0])
    return Splats(means * turn, scales.exp(), half_turn(quats), opacities, colors * SH0 + 0.5)
