"""The learned manifold corrective b(x, t) of LMC-SDS: what a prior makes of a clean image x at noise level t.

b = argmin E_n |b(x, t) - x0(e_null(alpha_t x + sigma_t n))|^2 over clean images x that the prior itself draws (Alldieck
et al., arXiv 2401.05293). It is trained once for each prior and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sds3d.camera import sample_cameras
from sds3d.errors import UserError
from sds3d.files import replacing
from sds3d.guidance.base import Context, q_sample
from sds3d.guidance.paths import ddim_step
from sds3d.guidance.tensors import denoised
from sds3d.priors.base import Cond, Prior, views_per_object
from sds3d.schedule import Schedule
from sds3d.streams import stream

log = logging.getLogger("sds3d.guidance")  # without a configuration, Python prints its warnings as plain lines

FOLD = 4  # pixels a side of a patch that the network sees as one position


@dataclass(frozen=True)
class Recipe:
    """How the corrective is made; engine choice throughout."""

    images: int = 64  # clean images drawn from the prior
    levels: int = 20  # DDIM steps for each
    steps: int = 160  # updates
    batch: int = 16
    width: int = 64
    lr: float = 3e-3


class Corrective(nn.Module):
    """b(x, t) = x + sigma_t (gain(t) x + three convolutions on folded pixels, modulated by t); the identity at first.

    Args:
        shape: (C, h, w) of x.
        width: channels of the hidden layers.
        schedule: of the prior.
        generator: for the initial values.
    """

    FEATURES = 8  # waves of t

    def __init__(self, shape: tuple[int, int, int], width: int, schedule: Schedule, generator: torch.Generator) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.schedule, self.fold = schedule, math.gcd(FOLD, height, breadth)
        folded = channels * self.fold**2
        self.enter = _normal(generator, width, folded, 3, 3)
        self.inner = _normal(generator, width, width, 3, 3)
        self.leave = nn.Parameter(torch.zeros(folded, width, 3, 3))
        self.levels = _normal(generator, width, 2 * self.FEATURES + 1)
        self.modulate = nn.Parameter(torch.zeros(4 * width, width))
        self.gain = nn.Parameter(torch.zeros(channels, width))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (B, C, h, w) clean, t (B,) integer -> (B, C, h, w) float32."""
        x = x.to(self.enter)
        phase = (t.to(x) / self.schedule.steps)[:, None] * math.pi * torch.arange(1, self.FEATURES + 1).to(x)
        level = F.silu(torch.cat([torch.ones_like(phase[:, :1]), phase.sin(), phase.cos()], 1) @ self.levels.T)
        scale, shift, scale2, shift2 = (level @ self.modulate.T)[..., None, None].chunk(4, 1)
        hidden = F.silu(F.conv2d(F.pixel_unshuffle(x, self.fold), self.enter, padding=1) * (1 + scale) + shift)
        hidden = F.silu(F.conv2d(hidden, self.inner, padding=1) * (1 + scale2) + shift2)
        residual = F.pixel_shuffle(F.conv2d(hidden, self.leave, padding=1), self.fold)
        sigma = self.schedule.alpha_sigma(t, x)[1]
        return x + sigma * ((level @ self.gain.T)[..., None, None] * x + residual)


def corrective(c: Context) -> Corrective:
    """The corrective of this run's prior: from the run, else from the cache folder, else trained now."""
    if "corrective" not in c.cache:
        c.cache["corrective"] = find(c.prior, (c.x.shape[1], c.x.shape[2], c.x.shape[3]), Recipe())
    return c.cache["corrective"]


def find(prior: Prior, shape: tuple[int, int, int], recipe: Recipe) -> Corrective:
    """From the cache folder, or trained (and put there). UserError for a prior that looks at several views together."""
    together = views_per_object(prior)
    if together > 1:
        raise UserError(
            f"lmc_sds learns from single views, but prior {prior.name!r} looks at {together} of an object together: "
            "choose another guidance"
        )
    from safetensors.torch import load_file, save_file

    path = cache_folder() / f"corrective-{fingerprint(prior, shape, recipe)}.safetensors"
    net = Corrective(shape, recipe.width, prior.schedule, stream(0, "corrective-init")).to(prior.device)
    if path.is_file():
        net.load_state_dict(load_file(path, device=str(prior.device)))
        return net.requires_grad_(False)
    log.warning("  lmc_sds: training its corrective for prior %r, once; about half a minute on a CPU", prior.name)
    began = time.perf_counter()
    with torch.enable_grad():
        error = train(net, prior, shape, recipe)
    try:
        with replacing(path) as temporary:
            save_file(net.state_dict(), temporary)
        kept = f"kept as {path}"
    except UserError as reason:
        kept = f"not kept: {reason}"
    log.warning("  lmc_sds: corrective trained in %.0f s, error %.3g, %s", time.perf_counter() - began, error, kept)
    return net.requires_grad_(False)


def train(net: Corrective, prior: Prior, shape: tuple[int, int, int], recipe: Recipe) -> float:
    """Fit b to the prior's x0 on images that it draws; the mean squared error over the last fifth of the steps."""
    x, cond = draw(prior, shape, recipe)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr)
    late: list[float] = []
    for step in range(recipe.steps):
        generator = stream(0, "corrective", step)
        rows = torch.randint(len(x), (recipe.batch,), generator=generator).to(x.device)
        t = torch.randint(prior.schedule.steps, (recipe.batch,), generator=generator).to(x.device)
        noise = torch.randn((recipe.batch, *shape), generator=generator).to(x)
        state = q_sample(x[rows], t, noise, prior.schedule)
        with torch.no_grad():
            target = denoised(state, prior.predict(state.z, t, cond.select(rows)))
        loss = F.mse_loss(net(x[rows], t), target)
        optimizer.param_groups[0]["lr"] = recipe.lr * (1 - step / recipe.steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 0.8 * recipe.steps:
            late.append(loss.item())
    return sum(late) / max(len(late), 1)


@torch.no_grad()
def draw(prior: Prior, shape: tuple[int, int, int], recipe: Recipe) -> tuple[Tensor, Cond]:
    """Clean images (N, C, h, w) by DDIM without guidance from the empty prompt, and the conditions of each.

    A prior that takes a camera or a background is told random cameras and white.
    """
    n, generator = recipe.images, stream(0, "corrective-draw")
    cond = prior.text([""]).repeat(n)
    if "camera" in prior.capabilities:
        cond = cond.with_camera(sample_cameras(n, generator).angles.to(prior.device))
    if "background" in prior.capabilities:
        cond = cond.with_background(torch.ones(n, device=prior.device))
    z = torch.randn((n, *shape), generator=generator).to(prior.device)
    levels = torch.linspace(prior.schedule.steps - 1, 0, recipe.levels + 1).long().tolist()
    pairs = list(zip(levels[:-1], levels[1:], strict=True))
    for rows in torch.arange(n, device=prior.device).split(recipe.batch):
        for here, there in pairs:
            t = torch.full((len(rows),), here, device=prior.device)
            e = prior.predict(z[rows], t, cond.select(rows)).to(z)
            z[rows] = ddim_step(z[rows], e, t, torch.full_like(t, there), prior.schedule)
    return z, cond


def fingerprint(prior: Prior, shape: tuple[int, int, int], recipe: Recipe) -> str:
    """Sixteen hex digits of the prior's weights (a thousand of each tensor; its answer, where it has no network)."""
    digest = hashlib.blake2b(f"{shape}{recipe}".encode(), digest_size=8)
    tensors = [prior.schedule.alphas_cumprod]
    if prior.network is not None:
        tensors += prior.network.state_dict().values()
    else:
        z = torch.randn((1, *shape), generator=stream(0, "fingerprint")).to(prior.device)
        probe = torch.full((1,), prior.schedule.steps // 2, device=prior.device)
        tensors.append(prior.predict(z, probe, prior.text([""])))
    for tensor in tensors:
        flat = tensor.detach().flatten()
        digest.update(flat[:: max(1, len(flat) // 1000)].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where sds3d keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sds3d"


def _normal(generator: torch.Generator, *shape: int) -> nn.Parameter:
    """Normal values of variance 1 / fan-in."""
    return nn.Parameter(torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:])))
