"""`--scene splats`: 3D Gaussians (Kerbl et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from sds3d.camera import Cameras
from sds3d.render.fallback import warn_if_slow
from sds3d.render.harmonics import basis, rest
from sds3d.render.projection import rotation_matrices
from sds3d.render.splats import SplatFrame, available_backends, check_backend, choose_backend, render_splats
from sds3d.render.splats_field import SplatField
from sds3d.render.splats_surfels import check_surfels, render_surfels
from sds3d.scenes import init, mcmc
from sds3d.scenes.base import Field, Frame, ParamGroup
from sds3d.scenes.regularisers import softness
from sds3d.scenes.splats_config import SHAPES, Span, SplatsConfig
from sds3d.scenes.strategy import Statistics, adaptive, clean, effective, refine, reset_opacities
from sds3d.scenes.veil import unveil
from sds3d.streams import stream

BOUND = 1.2  # nothing is kept farther from the origin than this
CELLS = 48  # a side of the mesh that the scene is content to begin with
UNVEIL_EVERY = 0.05  # share of the run between two settings of hidden colours
FLAT = 0.1  # thickness of a surfel over its smaller width, where it is taken for a Gaussian
Refine = Callable[
    [dict[str, Parameter], dict[str, torch.optim.Optimizer], Statistics, SplatsConfig, torch.Generator], None
]
STRATEGIES: dict[str, Refine] = {"share": refine, "default": adaptive, "mcmc": mcmc.refine}


class SplatScene:
    """A Scene (scenes/base.py) of N Gaussians; N changes as it refines.

    Parameters, one optimiser each under the same name: means (N, 3), quats (N, 4) w x y z, scales (N, 3) logarithms,
    opacities (N,) logits, colors (N, 3) logits, and with `config.sh` sh (N, K, 3), the harmonics' coefficients without
    the constant one, in the order and signs of 3DGS files (`f_rest`). `after_step` takes the optimisers by name:
    refinement puts new Parameters into `optimizers[name].param_groups[0]["params"]` and takes Adam's rows along.
    """

    def __init__(self, config: SplatsConfig, device: torch.device | str, generator: torch.Generator) -> None:
        self.config, self.device = config, torch.device(device)
        self.backend = choose_backend(self.device) if config.backend == "auto" else config.backend
        if config.backend == "auto":
            warn_if_slow("Gaussians", self.backend, self.device, available_backends)
        check_backend(self.backend, self.device)
        if config.surfels:
            check_surfels(self.device)
        self.progress = 0.0
        self.cells = CELLS
        self.start(init.built_in(config, generator))

    @classmethod
    def create(cls, config: SplatsConfig, device: torch.device | str, generator: torch.Generator) -> SplatScene:
        """A new scene: the shape that `config.init` names."""
        scene = cls(config, device, generator)
        if config.init not in SHAPES:
            scene.start(init.of_file(config, generator))
        return scene

    def start(self, shape: dict[str, Tensor]) -> None:
        """Begin with these parameters (N rows each, without `sh` where colours are the same from all sides)."""
        values = {name: value for name, value in shape.items() if name != "sh"}
        if self.config.sh:
            values["sh"] = _padded(shape.get("sh", values["means"].new_zeros(len(values["means"]), 0, 3)), self.config)
        self.params = {name: Parameter(value.to(self.device, copy=True)) for name, value in values.items()}
        self.statistics = Statistics.empty(len(self), self.device)

    def start_from(self, corners: NDArray[np.float32], painter: init.Painter) -> None:
        """Begin as discs over the triangles `corners` (F, 3, 3), within the unit ball, in the colours that `painter`
        tells for points given by face (P,) and shares (P, 3)."""
        self.start(init.of_surface(corners, painter, self.config, stream(0, "surface splats")))

    def __len__(self) -> int:
        return len(self.params["means"])

    def splats(self) -> dict[str, Tensor]:
        """means (N, 3), quats (N, 4) wxyz of any length, scales (N, 3) standard deviations, opacities (N,) in [0, 1],
        colors (N, 3) sRGB; with `config.sh` also sh (N, K, 3), as `f_rest` of a 3DGS file, 0 for harmonics that have
        not come in yet: a Gaussian's colour in the unit direction d from the camera is max(0, colors + sum_k sh_k
        Y_k(d)).

        The scales carry a 3D low-pass filter (`effective`): else Gaussians thinner than a training pixel look whole
        there and fall apart into dots seen from closer. A surfel's third scale is a tenth of its smaller other one.
        """
        p = self.params
        scales = effective(p["scales"].exp(), self.config.smooth)
        if self.config.surfels:
            scales = torch.cat([scales[:, :2], FLAT * scales[:, :2].detach().amin(1, keepdim=True)], 1)
        splats = {
            "means": p["means"],
            "quats": p["quats"],
            "scales": scales,
            "opacities": p["opacities"].sigmoid(),
            "colors": p["colors"].sigmoid(),
        }
        return {**splats, "sh": p["sh"]} if self.config.sh else splats

    @property
    def degree(self) -> int:
        """Of the harmonics that are in use at this point of the run."""
        if self.config.sh_until <= 0:
            return self.config.sh
        return min(self.config.sh, int(self.config.sh * self.progress / self.config.sh_until + 1e-9))

    def _seen(self, colors: Tensor, sh: Tensor | None, cameras: Cameras) -> Tensor:
        """Colours (N, 3), or (B, N, 3) as B cameras see them."""
        if sh is None or not self.degree:
            return colors
        directions = self.params["means"] - cameras.positions[:, None]  # (B, N, 3)
        values = basis(torch.nn.functional.normalize(directions, dim=-1), self.degree)[..., 1:]
        more = torch.einsum("bnk,nkc->bnc", values, sh[:, : values.shape[-1]])
        return (colors + more).clamp_min(0)

    def render(self, cameras: Cameras, size: int, background: Tensor) -> Frame:
        """B cameras at size x size over `background` (B, 3) sRGB; `extra` holds "means2d" and "radii" of SplatFrame,
        the activated "opacities" and "scales", and "bend" and "distortion" of surfels."""
        cameras, background = cameras.to(self.device), background.to(self.device)
        splats = self.splats()
        extra = {name: splats[name] for name in ("opacities", "scales")}
        splats["colors"] = self._seen(splats["colors"], splats.pop("sh", None), cameras)
        if self.config.surfels:
            disc = render_surfels(**splats, cameras=cameras, size=size, background=background)
            extra |= {"bend": disc.bend, "distortion": disc.distortion}
            return _frame(disc, extra, disc.normal)
        seen = render_splats(
            **splats, cameras=cameras, size=size, background=background, backend=self.backend,
            absgrad=self.config.absgrad, dilation=_at(self.config.dilation, self.progress),
        )  # fmt: skip
        return _frame(seen, extra)

    def parameters(self) -> list[ParamGroup]:
        """One group per parameter, under its name."""
        return [ParamGroup(name, [p], *getattr(self.config, f"lr_{name}")) for name, p in self.params.items()]

    def regulariser(self, frame: Frame, progress: float) -> Tensor:
        """Weighted sums over the Gaussians of opacity and size, which nothing else holds back where no view looks, and
        late in the run of softness: a surface cannot show what shines through it. And means over the pixels of surfels'
        distortion and disagreement with the depth's normals."""
        assert frame.extra is not None
        c, extra = self.config, frame.extra
        more = c.mcmc.opacity if c.strategy == "mcmc" else 0.0
        loss = frame.alpha.new_zeros(())
        if (weight := _at(c.penalty_opacity, progress) + more) > 0:
            loss = loss + weight * extra["opacities"].sum()
        if (weight := _at(c.penalty_size, progress)) > 0:
            loss = loss + weight * extra["scales"].mean(-1).sum()
        if c.harden > 0 and progress >= c.harden_at:
            loss = loss + c.harden * softness(extra["opacities"], c.harden_above).sum()
        if (weight := _at(c.penalty_distortion, progress)) > 0:
            loss = loss + weight * extra["distortion"].mean()
        if (weight := _at(c.penalty_normal, progress)) > 0:
            loss = loss + weight * extra["bend"].mean()
        return loss

    def after_backward(self, step: int, total: int, frame: Frame, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Remember how strongly each Gaussian is pulled across the screen."""
        assert frame.extra is not None
        if self.config.strategy == "mcmc" or step >= self.config.refine_during[1] * total:
            return
        means2d, (views, _, size, _) = frame.extra["means2d"], frame.rgb.shape
        gradient = means2d.absgrad if self.config.absgrad else means2d.grad
        # the fixed threshold of "default" is for the sum of the views' losses, and half an image is one
        unit = views * size / 2 if self.config.strategy == "default" else 1.0
        self.statistics.add(gradient, frame.extra["radii"], unit)

    def after_step(
        self,
        step: int,
        total: int,
        frame: Frame,
        optimizers: dict[str, torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """Refine every `refine_every` steps; remove haze and islands late and after the last step; from `unveil_from`
        on give what is hidden the colours that are seen where it is."""
        c, done = self.config, step + 1
        self.progress = done / total
        first, last = c.refine_during
        if done % c.refine_every == 0 and first * total <= done <= last * total:
            STRATEGIES[c.strategy](self.params, optimizers, self.statistics, c, generator)
        if c.strategy == "default" and _due(c.default.reset_every, done, total) and done <= last * total:
            reset_opacities(self.params, optimizers, c)
        if c.strategy == "mcmc" and done < round(c.clean_at * total):
            mcmc.explore(self.params, optimizers, c, generator)
        if done == total or done == round(c.clean_at * total):
            clean(self.params, optimizers, self.statistics, c)
        if c.unveil > 0 and done >= c.unveil_from * total and _due(UNVEIL_EVERY, done, total):
            unveil(self, c.unveil)

    @torch.no_grad()
    def surface(self) -> Field:
        """Density: the sum of opacity_i exp(-d_i^2 / 2) over the Gaussians, d_i the Mahalanobis distance."""
        s = {name: value.detach().cpu() for name, value in self.splats().items() if name != "sh"}
        field = SplatField(**s)
        spread = torch.einsum("nij,nj->ni", rotation_matrices(s["quats"]).square(), s["scales"].square()).sqrt()
        solid = s["opacities"] >= min(0.5, float(s["opacities"].max()))
        reach = float((s["means"].abs() + 2 * spread)[solid].max())
        return Field(field.density, field.color, min(reach, BOUND))

    def state_dict(self) -> dict[str, Tensor]:
        own = {"progress": torch.tensor(self.progress, dtype=torch.float64)}
        return {**{name: p.detach() for name, p in self.params.items()}, **self.statistics.state_dict(), **own}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore exactly, whatever the number of Gaussians; the Parameters stay the same objects. Harmonics may be
        missing or of another degree; states of earlier versions have no progress."""
        none = state["means"].new_zeros(len(state["means"]), 0, 3)
        for name, p in self.params.items():
            value = _padded(state.get("sh", none), self.config) if name == "sh" else state[name]
            p.data = value.to(self.device, copy=True)
            p.grad = None
        self.statistics.load_state_dict({k: v.to(self.device, copy=True) for k, v in state.items()})
        self.progress = float(state.get("progress", 1.0))


def _frame(seen: SplatFrame, extra: dict[str, Tensor], normal: Tensor | None = None) -> Frame:
    extra = {**extra, "means2d": seen.means2d, "radii": seen.radii}
    return Frame(seen.rgb, seen.alpha, seen.depth, normal, extra)


def _padded(sh: Tensor, config: SplatsConfig) -> Tensor:
    """(N, K, 3) coefficients as many as the scene's degree has, the missing ones 0."""
    width = rest(config.sh)
    return torch.cat([sh, sh.new_zeros(len(sh), max(0, width - sh.shape[1]), 3)], 1)[:, :width]


def _due(every: float, done: int, total: int) -> bool:
    """Has a multiple of `every` shares of the run been passed with this step?"""
    return every > 0 and int(done / total / every + 1e-9) > int((done - 1) / total / every + 1e-9)


def _at(span: Span, progress: float) -> float:
    return span[0] + (span[1] - span[0]) * progress
