"""Stein SSD: Stein's identity for every baseline, the fitted factor, cost, O13."""

from __future__ import annotations

import math

import pytest
import torch
from objective_lab import TIMES, Lab, called, close, dot, images
from torch import Tensor

from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.guidance import SDS, Context, View
from sds3d.guidance.base import State, iid_noise, q_sample
from sds3d.guidance.stein_ssd import BASELINES, SteinSSD, control_variate
from sds3d.priors.oracle import gaussian
from sds3d.schedule import cosine


def test_constant_with_unit_factor_is_sds_and_zero_is_the_raw_score() -> None:
    lab = Lab()
    s = lab.step(SteinSSD(cfg=3.0, baseline="constant", mu=1.0))
    assert close(s.g, lab.step(SDS(cfg=3.0)).g) and s.cost == (2, 0)
    raw = lab.step(SteinSSD(cfg=3.0, mu=0.0))
    assert close(raw.g, raw.state.sigma**2 * (raw.e["null"] + 3 * (raw.e["pos"] - raw.e["null"])))
    assert called(SteinSSD(), s) == ["null", "pos"] and called(SteinSSD(cfg=1.0), s) == ["pos"]
    assert (SteinSSD().cfg, SteinSSD().mu, SteinSSD().baseline) == (7.5, None, "smoothness")


FUNCTIONS = {
    "sin": lambda z, c: torch.sin(0.9 * z.sum((1, 2, 3))),
    "linear": lambda z, c: z[:, 0, 0, 0] + 2 * z[:, 1, 1, 1],
    "quadratic": lambda z, c: 0.3 * z.square().sum((1, 2, 3)),
    **{name: BASELINES[name] for name in ("constant", "smoothness")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("t", [300, 700])
def test_o13_the_control_variate_has_no_mean(name: str, t: int) -> None:
    """E[n phi - sigma grad phi] = 0 within 5 standard errors; for sin the wrong sign misses it by far more."""
    n = 40_000
    x = 0.3 * images(1, seed=1)
    c = Context(x.expand(n, *x.shape[1:]), {}, None, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    state = q_sample(c.x, torch.full((n,), t), iid_noise(c), cosine())
    variate = control_variate(FUNCTIONS[name], state, c)
    error = variate.std(0) / math.sqrt(n)
    assert (variate.mean(0).abs() < 5 * error).all()
    if name in ("sin", "linear", "quadratic"):
        phi = FUNCTIONS[name](state.z, c).view(-1, 1, 1, 1)
        wrong = 2 * state.noise * phi - variate
        assert (wrong.mean(0).abs() > 20 * error).any()


def one_state(shape: tuple[int, int, int]) -> tuple[State, Context]:
    x = images(2, seed=1, shape=shape)
    view = View(orbit(2), torch.ones(2, 1, 8, 8), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)))
    c = Context(x, {}, None, torch.Generator().manual_seed(0), view=view)  # type: ignore[arg-type]
    return q_sample(x, torch.tensor([300, 700]), iid_noise(c), cosine()), c


@pytest.mark.parametrize("name", ["smoothness", "depth"])
def test_gradient_is_with_respect_to_the_noisy_state(name: str) -> None:
    """Against central differences in x_t."""
    state, c = one_state((2, 4, 4))
    phi, h = BASELINES[name], 1e-5
    slope = torch.zeros_like(state.z)
    for i in range(state.z[0].numel()):
        step = torch.zeros_like(state.z[0]).flatten()
        step[i] = h
        up, down = (phi(state.z + sign * step.view_as(state.z[0]), c) for sign in (1, -1))
        slope.flatten(1)[:, i] = (up - down) / (2 * h)
    expected = state.noise * phi(state.z, c).view(-1, 1, 1, 1) - state.sigma * slope
    assert torch.allclose(control_variate(phi, state, c), expected, atol=1e-8)


def test_baselines_are_what_they_say() -> None:
    ramp = torch.arange(4.0, dtype=torch.float64).expand(1, 2, 4, 4)  # rises by 1 to the right, by 0 downwards
    state, c = one_state((2, 8, 8))
    assert BASELINES["smoothness"](ramp, c).item() == pytest.approx(-0.5)
    assert BASELINES["smoothness"](ramp.mT, c).item() == pytest.approx(-0.5)
    assert BASELINES["constant"](ramp, c).tolist() == [-1.0]
    assert c.view is not None
    flat = c.view.depth.mean() + 0 * c.view.depth
    flat[..., 4:] += 1
    c.view = View(c.view.cameras, c.view.alpha, flat)
    depth = BASELINES["depth"]
    bright = torch.zeros(2, 2, 8, 8).double()
    bright[..., 4:] = 0.1
    assert (depth(bright, c) > -0.2).all() and (depth(-bright, c) < -1.8).all()
    assert torch.allclose(depth(bright, c), depth(3 * bright + 5, c))
    c.view = None
    with pytest.raises(UserError, match="needs the depth of a scene"):
        depth(bright, c)


def expected_factor(e: Tensor, variate: Tensor) -> Tensor:
    """(B, C, 1, 1) least squares over each view's pixels."""
    return -(e * variate).sum((2, 3), keepdim=True) / variate.square().sum((2, 3), keepdim=True)


def test_fitted_factor_is_least_squares_per_channel_and_noise_level() -> None:
    """The four views lie in four tenths of T, so that each has a fit of its own."""
    s = Lab().step(SteinSSD(cfg=3.0))
    score = s.e["null"] + 3 * (s.e["pos"] - s.e["null"])
    variate = control_variate(BASELINES["smoothness"], s.state, s.c)
    mixed = score + expected_factor(score, variate) * variate
    assert close(s.g, s.state.sigma**2 * mixed)
    assert (mixed * variate).sum((2, 3)).abs().max() < 1e-12


def test_fit_remembers_the_steps_before() -> None:
    lab, cache = Lab(), {}
    objective = SteinSSD(cfg=1.0, baseline="constant", memory=0.5)
    first, second = (lab.step(objective, seed=seed, cache=cache) for seed in (0, 1))
    weights = (1 / 3, 2 / 3)  # 0.25 and 0.5, corrected for the start
    products = sum(
        w * -(s.e["pos"] * s.n).sum((2, 3), keepdim=True) for w, s in zip(weights, (first, second), strict=True)
    )
    squares = sum(w * s.n.square().sum((2, 3), keepdim=True) for w, s in zip(weights, (first, second), strict=True))
    assert close(second.g, second.state.sigma**2 * (second.e["pos"] - products / squares * -second.n))
    assert [v.shape for v in cache.values() if isinstance(v, torch.Tensor)][0] == (2 * 10 * 2 + 1,)


def test_o13_constant_baseline_removes_the_variance_on_a_gaussian() -> None:
    """mu phi -> -sigma^2 / v; the variance left is that of the fit, 1 / numbers in a tenth of T."""
    n, t, c, mu = 2000, 500, 0.7, images(1)[0]
    lab = Lab(prior=gaussian(mu, c), x=images(1, seed=1).expand(n, *mu.shape), t=torch.full((n,), t))
    fitted = lab.step(SteinSSD(cfg=1.0, baseline="constant", weight="uniform"))
    raw = lab.step(SteinSSD(cfg=1.0, mu=0.0, weight="uniform"))
    bar = cosine().alphas_cumprod[t].item()
    assert raw.g.var(0).mean().item() == pytest.approx(((1 - bar) / (bar * c**2 + 1 - bar)) ** 2, rel=0.1)
    assert fitted.g.var(0).mean() < 1e-3 * raw.g.var(0).mean()
    slope = math.sqrt(bar * (1 - bar)) / (bar * c**2 + 1 - bar)
    assert torch.allclose(fitted.g.mean(0), slope * (lab.x[0] - mu), atol=5e-2)
    assert dot(fitted.g, lab.x - mu).min() > 0


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="unknown baseline 'dept': did you mean 'depth'"):
        SteinSSD(baseline="dept")
    for bad in (1.0, -0.1):
        with pytest.raises(UserError, match="memory is a share"):
            SteinSSD(memory=bad)
    assert TIMES.div(100, rounding_mode="floor").unique().numel() == 4
