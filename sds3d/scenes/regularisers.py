"""What scenes are asked for besides their pictures. Of a radiance field each is a mean, so that weights do not depend
on the size."""

from __future__ import annotations

import torch
from torch import Tensor


def sparsity(alpha: Tensor) -> Tensor:
    """Mean of sqrt(alpha^2 + 0.01) (threestudio): a pull towards emptiness that is weak where alpha is small."""
    return (alpha.square() + 0.01).sqrt().mean()


def opacity(alpha: Tensor) -> Tensor:
    """Mean of alpha^2 (stable-dreamfusion)."""
    return alpha.square().mean()


def entropy(alpha: Tensor) -> Tensor:
    """Mean of -alpha log alpha - (1 - alpha) log(1 - alpha), in nats, with alpha kept 0.001 from 0 and 1."""
    alpha = alpha.clamp(1e-3, 1 - 1e-3)
    return torch.nn.functional.binary_cross_entropy(alpha, alpha)


def spread(moments: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the rays of the standard deviation of depth, in world units, by how much the ray sees. `moments` (R,)
    sum w (t - mean t)^2 and `alpha` (R,) sum w of the samples on it. A pull on where matter lies, not on how much."""
    variance = moments / alpha.clamp_min(1e-4)
    return (alpha.detach() * (variance + 1e-6).sqrt()).mean()


def softness(opacities: Tensor, above: float) -> Tensor:
    """(N,) how far each is from 1; 0 for those not `above`: haze, and thin parts that are still to come of it."""
    return torch.where(opacities > above, 1 - opacities, 0.0)


def total_variation(grid: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a grid (n, n, n, C), summed over the three axes."""
    return torch.stack([grid.diff(dim=axis).abs().mean() for axis in range(3)]).sum()


def orientation(weights: Tensor, normals: Tensor, directions: Tensor, rays: int) -> Tensor:
    """Mean over the rays of sum w max(n . d, 0)^2 (Ref-NeRF, Verbin et al. 2022, eq. 11): seen from the front.

    Args: weights (P,), normals (P, 3) and ray directions (P, 3) of the samples on `rays` rays.
    """
    away = (normals * directions).sum(-1).clamp(min=0)
    return (weights * away.square()).sum() / rays
