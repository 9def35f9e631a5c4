"""PDS: stochastic latents matched, cost, and O17."""

from __future__ import annotations

import pytest
import torch
from edit_lab import TIMES, Desk, close, images
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE
from sds3d.guidance.dds import DDS
from sds3d.guidance.pds import PDS, coefficients
from sds3d.schedule import cosine, scaled_linear


def latent(x: Tensor, z: Tensor, e: Tensor, noise: Tensor, stride: int) -> Tensor:
    """(x_t' - posterior mean) / std of one DDPM step from t to t - stride, with the single-step beta."""
    bar = cosine().alphas_cumprod
    now, before, one = (bar[TIMES - k].view(-1, 1, 1, 1) for k in (0, stride, 1))
    beta = 1 - now / one
    clean = (z - (1 - now).sqrt() * e) / now.sqrt()
    mean = (before.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - before) * z) / (1 - now)
    std = (beta * (1 - before) / (1 - now)).sqrt()
    return (before.sqrt() * x + (1 - before).sqrt() * noise - mean) / std


@pytest.mark.parametrize("stride", [1, 2, 10])
def test_o17_it_is_the_difference_of_the_stochastic_latents(stride: int) -> None:
    """The second noise, any at all, cancels."""
    desk = Desk()
    s = desk.step(PDS(cfg=7.5, stride=stride))
    assert desk.x_src is not None
    target, source = (
        latent(x, s.states[at].z, s.guided(7.5, name, at), images(4, seed=8), stride)
        for x, name, at in ((desk.x, "pos", "t"), (desk.x_src, "src", "src"))
    )
    assert close(s.g, target - source, atol=1e-7)  # 1 - alpha'^2 / alpha^2 loses nine digits where t is small
    assert s.nfe == 4
    assert PDS().cfg == 100 and PDS().stride == 2 and PDS().weight == "uniform" and GUIDANCE["pds"] is PDS


def test_o17_with_a_consistent_beta_the_identity_term_is_gone() -> None:
    desk = Desk()
    psi, chi = coefficients(TIMES, 1, cosine(), desk.x)
    assert psi.abs().max() < 1e-9 and (chi > 0.01).all()
    assert close(desk.step(PDS(cfg=7.5, stride=1)).g, chi * desk.step(DDS(cfg=7.5)).g, atol=1e-8)


def test_published_sizes_on_stable_diffusion() -> None:
    psi, chi = coefficients(torch.tensor([50, 200, 500, 800]), 2, scaled_linear(), images(4))
    assert psi.flatten().tolist() == pytest.approx([0.664, 0.14, 0.032, 0.0097], rel=0.02)
    assert chi.min() > 0.07 and chi.max() < 0.16


def test_a_matched_pair_is_left_alone() -> None:
    x = images(4, seed=1)
    assert not Desk(x=x, x_src=x, alias={"src": "pos"}).step(PDS()).g.any()


def test_the_smallest_times_are_finite_and_stride_is_checked() -> None:
    assert all(v.isfinite().all() for v in coefficients(torch.tensor([0, 1, 2, 999]), 2, cosine(), images(4)))
    with pytest.raises(UserError, match="stride must be at least 1"):
        PDS(stride=0)
