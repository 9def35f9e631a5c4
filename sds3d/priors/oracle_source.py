"""`--prior oracle:KIND:...`: closed-form priors from files, for every command that takes a prior.

What a prior of this kind knows is exactly known, so that what an objective makes of it can be judged without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds3d.camera import Cameras, fit_distance
from sds3d.errors import UserError, unknown
from sds3d.picture import pixels, read_picture, square
from sds3d.priors import ORACLE
from sds3d.priors.base import Cond
from sds3d.priors.oracle import MixturePrior, finite_set, gaussian
from sds3d.schedule import Schedule, cosine

if TYPE_CHECKING:
    from sds3d.render.assets import Look

SIZE = 64  # pixels, as the embedded prior's
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
RING = (8, (-5.0, 20.0, 45.0))  # azimuths and elevations of the views that stand for all, where no camera is given


@dataclass(frozen=True)
class ViewsPrior:
    """The views of one object: p(x | camera) = (1 - front) delta(view from there) + front delta(view from azimuth 0).

    `front` > 0 is the Janus bias: that share of the pictures shows the front whatever the camera says. Without a camera
    x is one of a ring of views plus N(0, spread^2): a spread makes pictures possible that are no view of the object.
    Over white, or over the grey that the condition names. Every prompt means the object.
    """

    look: Look
    front: float = 0.0
    spread: float = 0.0
    size: int = SIZE
    schedule: Schedule = field(default_factory=cosine)
    name: str = "oracle:views"
    device: torch.device = torch.device("cpu")
    capabilities: frozenset[str] = frozenset({"camera", "background"})
    network: torch.nn.Module | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.front < 1:
            raise UserError(f"the share of front views lies between 0 and 1, not {self.front}")
        object.__setattr__(self, "_ring", self.look(ring(), self.size))

    encode, decode = MixturePrior.encode, MixturePrior.decode
    image = MixturePrior.image

    def text(self, prompts: list[str]) -> Cond:
        """A token without content."""
        n = len(prompts)
        return Cond(torch.zeros(n, 1, 1, device=self.device), torch.ones(n, 1, dtype=torch.bool, device=self.device))

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The optimal eps (B, C, h, w) of finite sets, one a row (OBJECTIVES 4.1 item 4)."""
        dtype = torch.promote_types(x_t.dtype, torch.float32)
        alpha, sigma = self.schedule.alpha_sigma(t, x_t.to(dtype))
        known = torch.zeros(len(cond), dtype=torch.bool) if cond.camera is None else ~cond.camera.cpu().isnan().any(-1)
        eps = torch.empty(x_t.shape, dtype=dtype, device=x_t.device)
        for rows, means, spread in ((known, self._seen, 0.0), (~known, self._any, self.spread)):
            i = rows.nonzero()[:, 0].to(x_t.device)
            if len(i):
                images, log = means(cond.select(i.to(cond.tokens.device)))
                eps[i] = mixture_eps(x_t[i].to(dtype), alpha[i], sigma[i], images.to(x_t.device, dtype), log, spread)
        return eps

    def _seen(self, cond: Cond) -> tuple[Tensor, Tensor]:
        """The view from each row's camera, and the front one: (B, K, 3, h, w) and log weights (K,)."""
        assert cond.camera is not None
        azimuth, elevation, fov = cond.camera.cpu().float().unbind(-1)
        turns, shares = [azimuth], [1 - self.front]
        if self.front > 0:
            turns, shares = [*turns, torch.zeros_like(azimuth)], [*shares, self.front]
        drawn = [self.look(Cameras(a, elevation, fov, fit_distance(fov)), self.size) for a in turns]
        shade = grey(cond)
        return torch.stack([self._over(rgba, shade) for rgba in drawn], 1), torch.tensor(shares).log()

    def _any(self, cond: Cond) -> tuple[Tensor, Tensor]:
        views: Tensor = self._ring  # type: ignore[attr-defined]
        images = torch.stack([self._over(views, g.expand(len(views))) for g in grey(cond)])
        return images, torch.zeros(len(views))

    def _over(self, rgba: Tensor, shade: Tensor) -> Tensor:
        from sds3d.render.assets import over

        return over(rgba, shade[:, None].expand(-1, 3)) * 2 - 1


def mixture_eps(z: Tensor, alpha: Tensor, sigma: Tensor, means: Tensor, log: Tensor, spread: float = 0.0) -> Tensor:
    """The optimal eps of a mixture of N(mean, spread^2) of its own for every row; spread 0 is a finite set.

    z (B, C, h, w); alpha, sigma (B, 1, 1, 1); means (B, K, C, h, w); log (K,) of the weights.
    """
    gap = z[:, None] - alpha[:, None] * means
    variance = (alpha * spread).square() + sigma.square()  # (B, 1, 1, 1)
    likelihood = -0.5 * gap.flatten(2).square().sum(-1) / variance.flatten(1)  # (B, K)
    rho = (likelihood + log.to(z)).softmax(-1)
    return torch.einsum("bk,bkchw->bchw", rho, gap) * sigma / variance


def ring() -> Cameras:
    """The cameras of the views that stand for all."""
    n, elevations = RING
    azimuth = torch.arange(n).repeat(len(elevations)) * (360.0 / n)
    fov = torch.full((len(azimuth),), 40.0)
    return Cameras(azimuth, torch.tensor(elevations).repeat_interleave(n), fov, fit_distance(fov))


def grey(cond: Cond) -> Tensor:
    """(B,) the background of each row, white where none is named."""
    if cond.background is None:
        return torch.ones(len(cond))
    return cond.background.cpu().float().nan_to_num(1.0)


def _views(rest: str) -> ViewsPrior:
    from sds3d.render.assets import load_asset

    return ViewsPrior(load_asset(Path(rest)))


def _janus(rest: str) -> ViewsPrior:
    from sds3d.render.assets import load_asset

    path, share = _with_number(rest, "janus:FILE:SHARE")
    return ViewsPrior(load_asset(path), front=share, name="oracle:janus")


def _images(rest: str) -> MixturePrior:
    folder = Path(rest).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: oracle:images takes a folder of pictures")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES)
    if not paths:
        raise UserError(f"{folder} holds no pictures: put {', '.join(IMAGES)} files into it")
    labels = tuple(_label(path.parent.name if path.parent != folder else path.stem) for path in paths)
    return finite_set(torch.stack([_image(path) for path in paths]), labels)


def _gaussian(rest: str) -> MixturePrior:
    path, std = _with_number(rest, "gaussian:FILE.png:STD")
    if not std >= 0:
        raise UserError(f"the standard deviation must not be negative, not {std}")
    return gaussian(_image(path), std)


def _image(path: Path) -> Tensor:
    """(3, SIZE, SIZE) in [-1, 1]: the middle square of a picture."""
    return pixels(square(read_picture(path), SIZE)) * 2 - 1


def _label(name: str) -> str:
    """A file's or folder's name as words: "red_ball-03" is "red ball"."""
    return " ".join(name.replace("_", " ").replace("-", " ").rstrip("0123456789 ").split()) or name


def _with_number(rest: str, form: str) -> tuple[Path, float]:
    path, colon, number = rest.rpartition(":")
    try:
        return Path(path).expanduser(), float(number if colon else "")
    except ValueError:
        raise UserError(f"write it as --prior {ORACLE}{form}") from None


KINDS: dict[str, tuple[str, str, Callable[[str], MixturePrior | ViewsPrior]]] = {
    "views": ("FILE|RUN", "exact: the views of a mesh, of a .ply of Gaussians or of a run's asset", _views),
    "janus": ("FILE|RUN:SHARE", "exact: the same, but that share of the views shows the front", _janus),
    "images": ("FOLDER", "exact: one of the pictures in a folder, labelled by their names or subfolders", _images),
    "gaussian": ("FILE.png:STD", "exact: a picture plus Gaussian noise", _gaussian),
}


def load_oracle(spec: str) -> MixturePrior | ViewsPrior:
    """The prior that "oracle:KIND:REST" stands for, on the CPU. Errors: UserError that says how to write it."""
    _, kind, rest = _split(spec)
    if kind not in KINDS:
        raise unknown("oracle", kind, KINDS)
    form, _, build = KINDS[kind]
    if not rest:
        raise UserError(f"write it as --prior {ORACLE}{kind}:{form}")
    return build(rest)


def anchored(spec: str) -> str:
    """The spec with its path made absolute, so that a run can be resumed from anywhere."""
    prefix, kind, rest = _split(spec)
    path, colon, number = rest.rpartition(":") if kind in ("janus", "gaussian") else (rest, "", "")
    file = Path(path).expanduser()
    return f"{prefix}:{kind}:{file.resolve()}{colon}{number}" if path and file.exists() else spec


def _split(spec: str) -> tuple[str, str, str]:
    prefix, _, tail = spec.partition(":")
    kind, _, rest = tail.partition(":")
    return prefix, kind, rest
