"""Uni-Instruct: the factor of every divergence, the density ratio in closed form, cost, O25."""

from __future__ import annotations

import math

import pytest
import torch
from objective_lab import Lab, Step, called, exponent, images
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import VSD, distill_gradient
from sds3d.guidance.critic import OracleCritic
from sds3d.guidance.density_ratio import FLOOR
from sds3d.guidance.uni_instruct import DIVERGENCES, UniInstruct
from sds3d.priors.oracle import gaussian
from sds3d.schedule import cosine

GENERATORS = {
    "reverse_kl": lambda r: -r.log(),
    "forward_kl": lambda r: r * r.log(),
    "jensen_shannon": lambda r: r * r.log() - (1 + r) * ((1 + r) / 2).log(),
    "hellinger": lambda r: (1 - r.sqrt()).square(),
    "chi_square": lambda r: (r - 1).square(),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_factors_are_the_second_derivative_times_the_squared_ratio(name: str) -> None:
    r = torch.tensor([0.1, 0.7, 1.0, 3.0, 9.0], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(GENERATORS[name](r).sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.allclose(DIVERGENCES[name](r.detach()), (second * r**2).detach(), rtol=1e-12)


def test_o25_reverse_kl_is_vsd() -> None:
    lab = Lab()
    s = lab.step(UniInstruct(divergence="reverse_kl"))
    assert torch.equal(s.g, lab.step(VSD()).g) and s.cost == (2, 1)
    assert called(UniInstruct(), s) == ["critic", "null", "pos"] and UniInstruct.critic
    assert (UniInstruct().cfg, UniInstruct().divergence, UniInstruct().limit) == (7.5, "jensen_shannon", 10)


def expected_ratio(s: Step, guided: Tensor) -> Tensor:
    """p_t / q_t on the first step: two Gaussians with the views' means and pooled covariance. On 2x2 pixels the summary
    is the image itself."""
    seen, wanted = s.c.x.flatten(1), s.x0(guided).flatten(1)
    gaps = torch.cat([seen - seen.mean(0), wanted - wanted.mean(0)])
    covariance = gaps.T @ gaps / len(gaps) + FLOOR * torch.eye(8)
    logs = []
    for i in range(len(seen)):
        alpha, sigma = s.state.alpha[i].item(), s.state.sigma[i].item()
        spread = alpha**2 * covariance + sigma**2 * torch.eye(8)
        z = s.state.z[i].flatten()
        logs.append(exponent(z - alpha * wanted.mean(0), spread) - exponent(z - alpha * seen.mean(0), spread))
    return torch.stack(logs).exp().view(-1, 1, 1, 1)


def test_formula_with_the_ratio_of_two_gaussians() -> None:
    s = Lab().step(UniInstruct(cfg=3.0, divergence="forward_kl", limit=1e6))
    guided = s.e["null"] + 3 * (s.e["pos"] - s.e["null"])
    r = expected_ratio(s, guided)
    assert ((r.log().abs() < 13) & (r.log().abs() > 0.01)).all()
    assert torch.allclose(s.g, s.state.sigma**2 * r * (guided - s.e["critic"]), rtol=1e-6)


def test_default_divergence_and_the_limit() -> None:
    s = Lab().step(UniInstruct(cfg=3.0, limit=1.5))
    guided = s.e["null"] + 3 * (s.e["pos"] - s.e["null"])
    r = expected_ratio(s, guided).clamp(1 / 1.5, 1.5)
    assert ((r == 1.5) | (r == 1 / 1.5)).any()
    assert torch.allclose(s.g, s.state.sigma**2 * r / (1 + r) * (guided - s.e["critic"]), rtol=1e-6)


def test_o25_kl_decays_with_the_squared_difference_of_the_scores() -> None:
    """d/dt KL(q_t | p_t) = -g^2 / 2 E_q |grad log q_t / p_t|^2 along the diffusion: with L = lambda^2 as time in VE
    coordinates g^2 = 1, and the difference of scores is g / sigma of the objective at w = 1, s = 1."""
    (mu, m), c, s, n, t = images(2), 0.7, 0.5, 4000, 500
    generator = torch.Generator().manual_seed(0)
    lab = Lab(x=m + s * torch.randn(n, *m.shape, generator=generator, dtype=torch.float64), t=torch.full((n,), t))
    context = lab.context()
    prior, render = gaussian(mu, c), gaussian(m, s)
    context.conds = {name: prior.text([""]) for name in ("pos", "null", "critic")}
    context.prior, context.critic = prior, OracleCritic(render)
    objective = UniInstruct(cfg=1.0, divergence="reverse_kl", weight="uniform")
    g = distill_gradient(objective, context, lab.t)[0]
    bar = cosine().alphas_cumprod[t].item()

    def kl(time: float) -> float:
        p, q = c**2 + time, s**2 + time
        distance = (mu - m).square().sum().item()
        return 0.5 * (m.numel() * (q / p - 1 + math.log(p / q)) + distance / p)

    time, h = (1 - bar) / bar, 1e-4
    numeric = (kl(time + h) - kl(time - h)) / (2 * h)
    squares = (g.flatten(1).square().sum(1) / (1 - bar)) * bar  # of scores in VE coordinates z / alpha
    error = 0.5 * squares.std().item() / math.sqrt(n)
    assert numeric == pytest.approx(-0.5 * squares.mean().item(), abs=5 * error) and error < 0.02 * abs(numeric)


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="unknown divergence 'kl'"):
        UniInstruct(divergence="kl")
    for options in ({"limit": 0.5}, {"memory": 1.0}, {"memory": -0.1}):
        with pytest.raises(UserError, match="limit of at least 1"):
            UniInstruct(**options)
