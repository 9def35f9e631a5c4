"""The exact critic of one scene, for priors without a network to adapt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.camera import Cameras, fit_distance
from sds3d.priors.base import Cond, Prior
from sds3d.priors.oracle_source import grey, mixture_eps, ring
from sds3d.scenes.base import Scene


@dataclass(frozen=True)
class SceneCritic:
    """e_psi of the scene as it is: what an ideally trained critic of this one scene predicts (OBJECTIVES 4.1 item 5).

    A row with a camera knows the view, e_psi = (z - alpha x) / sigma, which is the noise itself but for the scene's own
    jitter; a row without (NaN, the critic's marginal) knows a ring of views. The scene stands before the grey that the
    condition names, or white. Nothing is trained and nothing is saved.
    """

    scene: Scene
    prior: Prior
    size: int

    @torch.no_grad()
    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """eps (B, C, h, w); arguments as Prior.predict."""
        alpha, sigma = self.prior.schedule.alpha_sigma(t, x_t)
        angles = torch.full((len(cond), 3), float("nan")) if cond.camera is None else cond.camera.float().cpu()
        blind, shade = angles.isnan().any(-1), grey(cond)
        eps = torch.empty_like(x_t)
        if not bool(blind.all()):
            i = (~blind).nonzero()[:, 0].to(x_t.device)
            azimuth, elevation, fov = angles[~blind].unbind(-1)
            seen = self._views(Cameras(azimuth, elevation, fov, fit_distance(fov)), shade[~blind])
            eps[i] = (x_t[i] - alpha[i] * seen.to(x_t)) / sigma[i]
        for i in blind.nonzero()[:, 0].tolist():
            cameras = ring()
            views = self._views(cameras, shade[i].expand(len(cameras))).to(x_t)
            rows = slice(i, i + 1)
            eps[rows] = mixture_eps(x_t[rows], alpha[rows], sigma[rows], views[None], x_t.new_zeros(len(views)))
        return eps

    def _views(self, cameras: Cameras, shade: Tensor) -> Tensor:
        cameras = cameras.to(self.scene.device)
        background = shade[:, None].expand(-1, 3).to(self.scene.device)
        return self.prior.encode(self.scene.render(cameras, self.size, background).rgb)

    def train_step(self, x: Tensor, cond: Cond, generator: torch.Generator, skip: Tensor | None = None) -> Tensor:
        """Nothing to learn."""
        return x.new_zeros(())

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to restore."""

    def remove(self) -> None:
        """The prior was not touched."""
