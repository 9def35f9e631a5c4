"""3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024): the dead move to where opacity is, what
is drawn stays as it was, and noise lets the faint explore."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import Parameter

from sds3d.render.projection import rotation_matrices
from sds3d.scenes.splats_config import SplatsConfig
from sds3d.scenes.strategy import LIMIT, Optimizers, Statistics, effective, raw

MOST = 51  # Gaussians in one place that eq. 9 is evaluated for, as in gsplat
STEEP = 100.0  # k of eq. 8


def relocated(opacities: Tensor, scales: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity and scales of each of n Gaussians in one place that together look as one did (eq. 9).

    Args: opacities (P,), scales (P, 3) standard deviations, ratios (P,) whole numbers n from 1 to MOST. The opacity in
    the middle, 1 - (1 - o')^n, is exactly o; so is the integral of opacity along a line through the middle.
    """
    o, n = opacities.double(), ratios.clamp(1, MOST)
    each = 1 - (1 - o) ** (1 / n)
    k = torch.arange(1, MOST + 1, dtype=torch.float64, device=o.device)
    sign = 1 - 2 * (torch.arange(MOST, device=o.device) % 2)
    binomial = torch.tensor([[math.comb(i, j) for j in range(1, MOST + 1)] for i in range(MOST + 1)], dtype=k.dtype)
    terms = binomial.to(o.device)[n] * sign / k.sqrt() * each[:, None] ** k  # the double sum of eq. 9, summed over i
    shrink = o / terms.sum(-1)
    return each.to(opacities.dtype), (scales * shrink[:, None]).to(scales.dtype)


@torch.no_grad()
def refine(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    statistics: Statistics,
    config: SplatsConfig,
    generator: torch.Generator,
) -> None:
    """Relocate the dead; then, below the cap, let the number grow, the new ones coming from the living likewise."""
    from gsplat.strategy import ops

    dead = params["opacities"].sigmoid() < config.mcmc.dead
    dead |= params["means"].norm(dim=-1) > LIMIT
    _relocate(params, optimizers, dead, config, generator)
    n = len(params["means"])
    if (fresh := min(int(config.mcmc.growth * n), config.cap - n)) > 0:
        ops.duplicate(params, optimizers, statistics.rows, torch.arange(n, device=dead.device) < fresh)
        _relocate(params, optimizers, torch.arange(n + fresh, device=dead.device) >= n, config, generator)


def _relocate(
    params: dict[str, Parameter],
    optimizers: Optimizers,
    dead: Tensor,
    config: SplatsConfig,
    generator: torch.Generator,
) -> None:
    """Put the Gaussians of the mask (N,) onto living ones, drawn by their opacity."""
    gone, alive = dead.nonzero()[:, 0], (~dead).nonzero()[:, 0]
    if not len(gone) or not len(alive):
        return
    odds = params["opacities"].sigmoid()[alive].cpu()
    chosen = alive[torch.multinomial(odds, len(gone), replacement=True, generator=generator).to(alive.device)]
    ratios = torch.bincount(chosen, minlength=len(dead))[chosen] + 1
    opacities = params["opacities"].sigmoid()[chosen]
    scales = effective(params["scales"][chosen].exp(), config.smooth)
    opacities, scales = relocated(opacities, scales, ratios)
    params["opacities"].data[chosen] = torch.logit(opacities.clamp(0.005, 1 - 1e-6))
    params["scales"].data[chosen] = raw(scales, config.smooth).log()
    for name, p in params.items():
        p.data[gone] = p.data[chosen]
        for moment, value in optimizers[name].state.get(p, {}).items():
            if moment != "step":
                value[chosen] = 0
                value[gone] = 0


@torch.no_grad()
def explore(
    params: dict[str, Parameter], optimizers: Optimizers, config: SplatsConfig, generator: torch.Generator
) -> None:
    """Move the means by lambda_noise lr sigmoid(-k (o - t)) Sigma eta, eta normal (eq. 8): the shape of the Gaussian,
    and next to nothing where opacity is above t, the limit of the dead."""
    rate = config.mcmc.noise * optimizers["means"].param_groups[0]["lr"]
    if rate <= 0:
        return
    means = params["means"]
    axes = rotation_matrices(params["quats"]) * effective(params["scales"].exp(), config.smooth)[:, None]  # R S
    eta = torch.randn(means.shape, generator=generator).to(means)
    faint = torch.sigmoid(-STEEP * (params["opacities"].sigmoid() - config.mcmc.dead))
    means.data += rate * faint[:, None] * torch.einsum("nij,nkj,nk->ni", axes, axes, eta)
