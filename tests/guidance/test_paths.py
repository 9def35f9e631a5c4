"""DDIM paths: one formula in both directions, exact on Gaussians, per-view levels, predictions counted (O6)."""

from __future__ import annotations

import math

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians
from path_helpers import MU, STD, T, images, ladder, level, mixed, variance, walk

from sds3d.guidance.base import iid_noise
from sds3d.guidance.paths import ddim_spread, ddim_step, grid, guided_eps, path, state_at, ve_step
from sds3d.schedule import cosine

SCHEDULE = cosine()


@pytest.mark.parametrize("s", [torch.tensor([10, 430, 700]), torch.tensor([500, 431, 990])])
def test_a_step_is_the_ode_step_in_variance_exploding_coordinates_and_can_be_undone(s: torch.Tensor) -> None:
    z, eps = images(), images(seed=6)
    there = ddim_step(z, eps, T, s, SCHEDULE)
    assert (there - ve_step(z, eps, T, s, SCHEDULE)).abs().max() < 1e-12
    assert (ddim_step(there, eps, s, T, SCHEDULE) - z).abs().max() < 1e-12
    (alpha, sigma), (alpha_s, sigma_s) = SCHEDULE.alpha_sigma(T, z), SCHEDULE.alpha_sigma(s, z)
    x0 = (z - sigma * eps) / alpha
    assert (there - alpha_s * x0 - sigma_s * eps).abs().max() < 1e-12
    assert (ddim_step(z, eps, T, None, SCHEDULE) - x0).abs().max() < 1e-12


def test_spread_is_the_posterior_deviation_of_ddpm_and_symmetric() -> None:
    s = torch.tensor([20, 429, 700])
    bar_t, bar_s = SCHEDULE.alphas_cumprod[T], SCHEDULE.alphas_cumprod[s]
    posterior = (1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)  # Ho et al. 2020, eq. 7
    for a, b in ((T, s), (s, T)):
        assert torch.allclose(ddim_spread(a, b, SCHEDULE, images()).flatten() ** 2, posterior, rtol=1e-9)


def test_noisy_step_keeps_the_total_variance_in_both_directions() -> None:
    """With eps ~ N(0, 1) independent of x0: variance alpha_s^2 var(x0) + sigma_s^2, for any eta."""
    n, t = 200_000, torch.tensor([430])
    g = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(n, 1, 1, 1, generator=g, dtype=torch.float64) for _ in range(2))
    for s in (100, 800):
        (alpha, sigma), (alpha_s, sigma_s) = level(430), level(s)
        z = ddim_step(alpha * x0 + sigma * eps, eps, t, torch.tensor([s]), SCHEDULE, 0.7, g)
        rest = z - alpha_s * x0
        assert abs(rest.var() / sigma_s**2 - 1) < 5 * math.sqrt(2 / n)
        spread = 0.7 * float(ddim_spread(t, torch.tensor([s]), SCHEDULE, z))
        assert abs((rest * eps).mean() - math.sqrt(sigma_s**2 - spread**2)) < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize(("start", "step"), [(0, 100), (0, 7), (999, 250)])
def test_grid_ends_at_each_view_and_waits_there(start: int, step: int) -> None:
    levels = grid(start, T, step)
    for view, end in enumerate(T.tolist()):
        exact = ladder(start, end, step)
        assert levels[:, view].tolist() == exact + [end] * (len(levels) - len(exact))
    assert levels[-2].ne(levels[-1]).any()  # no step is idle for all
    assert grid(430, torch.tensor([430]), step).tolist() == [[430]]


def test_path_is_exact_for_each_view_and_asks_only_those_that_move() -> None:
    x, prior = images(), gaussians(STD)
    c = context(x, prior)
    states = path(c, x, grid(0, T, 100), 3.0)
    for view, t in enumerate(T.tolist()):
        exact = walk(x[view], ladder(0, t, 100), mixed(3.0))
        assert torch.allclose(states[-1].z[view], exact, atol=1e-10)
    assert prior.forwards == [6, 6, *[4] * 4, *[2] * 4]  # 3, 2 and 1 views under two conditions; each once at its end
    assert c.nfe == {"prior": 2 * 10}  # of the longest path
    for before, after in zip(states[:-1], states[1:], strict=True):
        moved = before.t != after.t
        assert after.noise is not None
        assert torch.allclose(after.noise[moved], guided_eps(c, before.z, before.t, 3.0)[moved], atol=1e-12)
        assert torch.allclose(after.z[~moved], before.z[~moved], atol=1e-12)


def test_conditions_of_each_view_follow_their_rows() -> None:
    """A condition of its own for each view, as cameras have, survives the selection of those that still move."""
    x, prior = images(), gaussians(STD)
    c = context(x, prior)
    one = [c.conds[name] for name in ("neg", "pos", "null")]
    c.conds["pos"] = type(one[0]).cat(one)
    end = path(c, x, grid(0, T, 300), 1.0)[-1].z
    for view, (t, name) in enumerate(zip(T.tolist(), ("neg", "pos", "null"), strict=True)):
        assert torch.allclose(end[view], walk(x[view], ladder(0, t, 300), MU[name]), atol=1e-10)


def test_o6_inversion_converges_to_the_ode_of_a_gaussian_at_first_order() -> None:
    """OBJECTIVES 4.1 item 7: z_t = alpha_t mu + sqrt(v_t / v_0) (x - alpha_0 mu)."""
    x, t, mu = images(1), 600, MU["null"]
    errors = []
    for step in (20, 10, 5):
        z = path(context(x, gaussians(STD)), x, grid(0, torch.tensor([t]), step))[-1].z
        exact = level(t)[0] * mu + math.sqrt(variance(t) / variance(0)) * (x - level(0)[0] * mu)
        errors.append((z - exact).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.15)


def test_eta_adds_noise_on_top_of_the_deterministic_step() -> None:
    x = images()
    plain = path(context(x, gaussians(STD)), x, torch.stack([T - 20, T]), 2.0)[-1].z
    noisy = path(context(x, gaussians(STD)), x, torch.stack([T - 20, T]), 2.0, eta=0.3)[-1].z
    noise = iid_noise(context(x, gaussians(STD)))
    bar_t, bar_s = SCHEDULE.alphas_cumprod[T], SCHEDULE.alphas_cumprod[T - 20]
    std = 0.3 * ((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)).sqrt().view(-1, 1, 1, 1)
    assert torch.allclose(noisy - plain, std * noise, atol=1e-9)


def test_state_at_has_its_levels() -> None:
    state = state_at(images(), T, SCHEDULE)
    assert state.noise is None and state.z.shape == (3, *SHAPE)
    assert [a.item() for a in state.alpha] == pytest.approx([level(t)[0] for t in T.tolist()])
    assert [a.item() for a in state.sigma] == pytest.approx([level(t)[1] for t in T.tolist()])
