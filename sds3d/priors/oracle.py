"""Closed-form priors: the exact optimal denoiser of a labelled Gaussian mixture over images (OBJECTIVES 4.1).

One formula covers a point mass, a Gaussian, a mixture and a finite set of images. They are ordinary priors: text
selects the components that carry a label, a camera weighs them by their distance to the view they show, an image
prompt by their distance to the reference image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.priors.base import Cond
from sds3d.schedule import Schedule, cosine

ANY = -1  # the label index of the null condition


@dataclass(frozen=True)
class MixturePrior:
    """p(x) = sum_k pi_k N(a_k, c_k^2 I) under the noise of `schedule`, conditioned on labels, views and images.

    e(z, t) = sigma_t sum_k rho_k (z - alpha_t a_k) / v_k, with v_k = alpha_t^2 c_k^2 + sigma_t^2 and responsibilities
    rho_k proportional to pi_k N(z; alpha_t a_k, v_k I). The null prompt keeps every component. A reference image r
    multiplies pi_k by K(r, a_k) = exp(-mean((r - a_k)^2) / (2 b^2)), b being `image_bandwidth`.
    """

    means: Tensor  # (K, C, h, w)
    stds: Tensor  # (K,) c_k >= 0
    weights: Tensor | None = None  # (K,) pi_k, not necessarily normalised; None is uniform
    labels: tuple[str, ...] = ()  # K names; empty: every prompt means all
    views: Tensor | None = None  # (K, 2) azimuth and elevation in degrees that a component shows
    bandwidth: float = 20.0  # degrees; width of the Gaussian kernel between the camera and `views`
    image_bandwidth: float = 0.1  # root mean square over pixels in [-1, 1]; width of the kernel of image prompts
    schedule: Schedule = field(default_factory=cosine)
    name: str = "oracle"
    network: torch.nn.Module | None = None

    def __post_init__(self) -> None:
        counts = {len(self.means), len(self.stds)} | {len(v) for v in (self.weights, self.views) if v is not None}
        if len(counts | ({len(self.labels)} if self.labels else set())) != 1:
            raise ValueError("a mixture needs as many stds, weights, labels and views as means")

    @property
    def device(self) -> torch.device:
        return self.means.device

    @property
    def size(self) -> int:
        return self.means.shape[-1]

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"image"}) if self.views is None else frozenset({"camera", "image"})

    def encode(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB in [0, 1] -> pixels in [-1, 1] at this prior's size."""
        if rgb.shape[-1] != self.size:
            rgb = torch.nn.functional.interpolate(rgb, size=(self.size, self.size), mode="area")
        return rgb * 2 - 1

    def decode(self, x: Tensor) -> Tensor:
        """Pixels in [-1, 1] -> sRGB in [0, 1], clamped."""
        return ((x + 1) / 2).clamp(0, 1)

    def text(self, prompts: list[str]) -> Cond:
        """Tokens (B, 1, 1) carrying the index of the longest label that the prompt contains; "" is all of them."""
        tokens = torch.tensor([float(self._label(p)) for p in prompts], device=self.device).view(-1, 1, 1)
        return Cond(tokens, torch.ones(len(prompts), 1, dtype=torch.bool, device=self.device))

    def image(self, rgb: Tensor | None) -> Tensor:
        """Tokens (B, 1, C h w): the reference images themselves; NaN for None, "no image"."""
        if rgb is None:
            return self.means.new_full((1, 1, self.means[0].numel()), float("nan"))
        return self.encode(rgb).to(self.means).flatten(1)[:, None]

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The optimal eps (B, C, h, w), in the dtype of x_t but at least float32."""
        z = x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        alpha, sigma = self.schedule.alpha_sigma(t, z.flatten(1))  # (B, 1)
        variance = (alpha * self.stds.to(z)) ** 2 + sigma**2  # (B, K)
        gap = z[:, None] - alpha.view(-1, 1, 1, 1, 1) * self.means.to(z)  # (B, K, C, h, w)
        likelihood = -0.5 * (gap.flatten(2).square().sum(-1) / variance + z[0].numel() * variance.log())
        rho = (likelihood + self._log_prior(cond).to(z)).softmax(-1)  # (B, K)
        return torch.einsum("bk,bkchw->bchw", sigma * rho / variance, gap)

    def _label(self, prompt: str) -> int:
        names = sorted(set(self.labels))
        if not prompt.strip() or not names:
            return ANY
        found = [name for name in names if name.lower() in prompt.lower()]
        if not found:
            raise unknown("label", prompt[:80], names)
        return names.index(max(found, key=len))

    def _log_prior(self, cond: Cond) -> Tensor:
        """(B, K) log pi_k, -inf where the label excludes k, plus the kernels of view and reference image."""
        weights = torch.ones_like(self.stds) if self.weights is None else self.weights
        log = weights.double().log().expand(len(cond), -1)
        if self.labels:
            names = sorted(set(self.labels))
            own = torch.tensor([names.index(name) for name in self.labels], device=self.device)  # (K,)
            asked = cond.tokens[:, 0].long()  # (B, 1)
            log = log.masked_fill((asked != own) & (asked != ANY), -torch.inf)
        if self.views is not None and cond.camera is not None:
            angle = _angle(cond.camera[:, None, :2].double(), self.views.double())  # (B, K) degrees
            log = log - 0.5 * (angle / self.bandwidth).square().nan_to_num(0.0)
        if cond.image is not None:
            gap = (cond.image.double() - self.means.double().flatten(1)).square().mean(-1)  # (B, K)
            log = log - 0.5 * (gap / self.image_bandwidth**2).nan_to_num(0.0)
        return log


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Degrees between directions given as (..., 2) azimuth and elevation in degrees."""
    (a_az, a_el), (b_az, b_el) = torch.deg2rad(a).unbind(-1), torch.deg2rad(b).unbind(-1)
    haversine = ((a_el - b_el) / 2).sin() ** 2 + a_el.cos() * b_el.cos() * ((a_az - b_az) / 2).sin() ** 2
    return torch.rad2deg(2 * haversine.clamp(0, 1).sqrt().asin())


def point_mass(a: Tensor, schedule: Schedule | None = None) -> MixturePrior:
    """All mass on the image a (C, h, w): x0 = a for every state."""
    return gaussian(a, 0.0, schedule)


def gaussian(mean: Tensor, std: float, schedule: Schedule | None = None) -> MixturePrior:
    """N(mean, std^2 I) over images (C, h, w)."""
    return MixturePrior(mean[None], mean.new_full((1,), std), schedule=schedule or cosine())


def finite_set(
    images: Tensor,
    labels: tuple[str, ...] = (),
    views: Tensor | None = None,
    bandwidth: float = 20.0,
    schedule: Schedule | None = None,
) -> MixturePrior:
    """The images (K, C, h, w) themselves, with optional labels (K) and views (K, 2)."""
    if not len(images):
        raise UserError("an oracle prior needs at least one image")
    stds = images.new_zeros(len(images))
    return MixturePrior(images, stds, labels=labels, views=views, bandwidth=bandwidth, schedule=schedule or cosine())
