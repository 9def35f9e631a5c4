"""A scene of Gaussians that begins as those of a file, and goes back to it unharmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sds3d.assets.gaussians import SH0, Gaussians
from sds3d.assets.placement import Matrix
from sds3d.assets.splats import LoadedSplats
from sds3d.render.projection import DILATION
from sds3d.scenes.splats import SplatScene, SplatsConfig
from sds3d.streams import stream

EDGE = 1e-4  # colours are kept this far from 0 and 1, where a logit has no value
PARTS = {"means": "means", "scales": "scales", "quats": "quats", "opacities": "opacities"}  # parameter: stored as


class LoadedScene(SplatScene):
    """A SplatScene whose Gaussians come from a file. What is not changed is given back to the bit by `restored`."""

    def __init__(self, loaded: LoadedSplats, config: SplatsConfig, device: torch.device | str) -> None:
        count, degree = len(loaded), loaded.world.degree
        config = replace(
            config, count=count, cap=max(config.cap, count), smooth=0.0, dilation=(DILATION, DILATION), sh=degree,
            sh_until=0.0,
        )  # fmt: skip
        super().__init__(config, device, stream(0, "init"))
        self.placement = loaded.placement
        self._axes, self._stored = loaded.axes, loaded.stored
        self.start(parameters(loaded.world))
        self._first = {name: value.detach().cpu().clone() for name, value in self.params.items()}

    def restored(self, splats: Gaussians, axes: Matrix) -> Gaussians:
        """`splats`, this scene's in coordinates of a file with `axes`, with the file's own numbers for every Gaussian's
        position, size, rotation, opacity and colour that has not changed. Only while the scene has as many Gaussians
        as at first; and other axes than those of its file cost a rounding."""
        if len(splats) != len(self._stored):
            return splats
        own = self._stored
        if not np.array_equal(axes, self._axes):
            own = own.turned(self._axes.T).turned(axes)
        same = {name: unchanged(self.params[name], first) for name, first in self._first.items()}
        parts = {part: choose(same[name], getattr(own, part), getattr(splats, part)) for name, part in PARTS.items()}
        constant = choose(same["colors"], own.sh[:, :1], splats.sh[:, :1])
        higher = choose(same.get("sh", same["colors"]), own.sh[:, 1:], splats.sh[:, 1:])
        return Gaussians(**parts, sh=np.concatenate([constant, higher], 1))


def scene_from_splats(
    loaded: LoadedSplats, config: SplatsConfig | None = None, device: torch.device | str = "cpu"
) -> LoadedScene:
    """The scene that shows `loaded` with all its harmonics, drawn as 3D Gaussian Splatting does, without the
    low-pass filter that scenes grown from noise need; what `config` says of these is not asked."""
    return LoadedScene(loaded, config or SplatsConfig(), device)


def parameters(world: Gaussians) -> dict[str, Tensor]:
    """A SplatScene's parameters that show these Gaussians."""
    return {
        "means": torch.from_numpy(world.means),
        "quats": torch.from_numpy(world.quats),
        "scales": torch.from_numpy(world.scales),
        "opacities": torch.from_numpy(world.opacities),
        "colors": torch.logit(torch.from_numpy(world.sh[:, 0] * SH0 + 0.5), eps=EDGE),
        "sh": torch.from_numpy(world.sh[:, 1:]),
    }


def unchanged(now: Tensor, first: Tensor) -> np.ndarray:
    """(N,) which rows of a parameter hold what they held at first."""
    same = now.detach().cpu() == first
    return same.reshape(len(same), -1).all(1).numpy()


def choose(where: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Rows of `ours` where `where` (N,), of `theirs` elsewhere."""
    return np.where(where.reshape(-1, *[1] * (ours.ndim - 1)), ours, theirs)
