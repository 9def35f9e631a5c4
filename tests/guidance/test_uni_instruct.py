"""Uni-Instruct: the factor of every divergence, the density ratio in closed form, cost, O25."""

from __future__ import annotations

import math

import pytest
import torch
from objective_lab import Lab, Step, called, close, images
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import VSD, distill_gradient
from sds3d.guidance.base import State
from sds3d.guidance.critic import OracleCritic
from sds3d.guidance.density_ratio import FLOOR, fit, log_ratio, summary
from sds3d.guidance.statistics import running_mean
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


def exponent(gap: Tensor, covariance: Tensor) -> Tensor:
    """log N(gap; 0, covariance) but for a constant."""
    return -0.5 * gap @ torch.linalg.inv(covariance) @ gap


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


def test_log_ratio_of_known_gaussians_by_level() -> None:
    """On 4x4 pixels a cell averages four, so that its noise has a quarter of the variance."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    q, p = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([100, 500, 900])
    alpha, sigma = cosine().alpha_sigma(t, z)
    found = log_ratio(State(z, t, alpha, sigma, None), q, p, root @ root.T)
    for i in range(3):
        a, b = alpha[i].item(), sigma[i].item()
        spread = a**2 * (root @ root.T + FLOOR * torch.eye(4)) + b**2 / 4 * torch.eye(4)
        seen = summary(z[i : i + 1])[0]
        expected = exponent(seen - a * q, spread) - exponent(seen - a * p, spread)
        assert found[i].item() == pytest.approx(expected.item())


def test_statistics_run_over_the_steps_and_ignore_what_is_not_finite() -> None:
    cache: dict = {}
    values = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]), torch.tensor([float("nan"), 0.0])]
    means = [running_mean(cache, "a", v, 0.5) for v in values]
    assert torch.equal(means[0], values[0])
    assert torch.allclose(means[1], torch.tensor([7 / 3, 14 / 3])) and torch.equal(means[2], means[1])
    x, target = images(4), images(4, seed=1)
    render, wanted, covariance = fit({}, x, target, 0.9)
    assert close(render, x.flatten(1).mean(0)) and close(wanted, target.flatten(1).mean(0))
    both = torch.cat([x.flatten(1) - render, target.flatten(1) - wanted])
    assert close(covariance, both.T @ both / 8)


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
