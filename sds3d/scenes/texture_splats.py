"""Gaussians from elsewhere whose colours change, and whose shapes do within a distance or not at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sds3d.assets.splats import LoadedSplats
from sds3d.camera import Cameras
from sds3d.scenes.base import Frame, ParamGroup
from sds3d.scenes.foreground import opaque
from sds3d.scenes.from_splats import LoadedScene
from sds3d.scenes.splats_config import SplatsConfig
from sds3d.scenes.texture_config import TextureConfig

UNUSED = ("color", "move", "light", "supersample", "detail", "edge", "faces", "bending", "stretch")  # meshes' alone


class TextureSplats(LoadedScene):
    """A LoadedScene that neither grows nor loses Gaussians. The means stay within `distance` of where they were."""

    def __init__(self, config: TextureConfig, loaded: LoadedSplats, device: torch.device | str) -> None:
        config.refuse(UNUSED, "meshes", "Gaussians")
        degree = round(loaded.world.sh.shape[1] ** 0.5) - 1
        super().__init__(loaded, SplatsConfig(sh=degree, sh_until=0.0, penalty_size=(0.0, 0.0)), device)
        self.limits = config
        self.home = self.params["means"].detach().clone()

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """As a SplatScene. Where only colours change they are kept off the background."""
        frame = super().render(cameras, size, background)
        if not self.limits.opaque or self.limits.distance or not frame.rgb.requires_grad:
            return frame
        rgb = opaque(frame.rgb.movedim(1, -1), background.to(self.device)[:, None, None]).movedim(-1, 1)
        return replace(frame, rgb=rgb)

    def parameters(self) -> list[ParamGroup]:
        c = self.limits
        groups = [ParamGroup("colors", [self.params["colors"]], *c.lr_colors)]
        if c.distance:
            first, last = c.lr_move
            rates = (c.distance * first, c.distance * last)
            groups.append(ParamGroup("means", [self.params["means"]], *rates))
            groups += [ParamGroup(name, [self.params[name]], *c.lr_shapes) for name in ("quats", "scales", "opacities")]
        return groups

    def after_backward(self, step: int, total: int, frame: Frame, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """No statistics: the Gaussians stay as many."""

    @torch.no_grad()
    def after_step(
        self,
        step: int,
        total: int,
        frame: Frame,
        optimizers: dict[str, torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """Whatever went too far comes back to the sphere of `distance` around its home."""
        if self.limits.distance:
            away = self.params["means"] - self.home
            length = away.norm(dim=-1, keepdim=True)
            far = length > self.limits.distance
            back = self.home + away * (self.limits.distance * (1 - 1e-6) / length.clamp_min(1e-12))
            self.params["means"].copy_(torch.where(far, back, self.params["means"]))
