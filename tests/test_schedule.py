"""Schedules against diffusers, weights against their formulas, time policies against their published shapes."""

from __future__ import annotations

import math

import pytest
import torch

from sds3d.errors import UserError
from sds3d.guidance.base import q_sample
from sds3d.schedule import LEAST, TIME_POLICIES, WEIGHTS, Schedule, Times, cosine, scaled_linear
from sds3d.streams import stream

CASES = [
    pytest.param(cosine(), {"beta_schedule": "squaredcos_cap_v2"}, id="cosine"),
    pytest.param(
        scaled_linear(),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        id="scaled_linear",
    ),
]


@pytest.mark.parametrize("scheduler", ["DDPMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize(("schedule", "config"), CASES)
def test_alphas_cumprod_matches_diffusers(schedule: Schedule, config: dict, scheduler: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = getattr(diffusers, scheduler)(num_train_timesteps=1000, **config).alphas_cumprod
    assert schedule.steps == 1000
    assert torch.allclose(schedule.alphas_cumprod.float(), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("schedule", "config"), CASES)
def test_q_sample_matches_diffusers_add_noise(schedule: Schedule, config: dict) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(num_train_timesteps=1000, **config)
    x, n = torch.randn(5, 3, 4, 4, generator=stream(0, "x")), torch.randn(5, 3, 4, 4, generator=stream(0, "n"))
    t = torch.tensor([0, 1, 250, 700, 999])
    assert torch.allclose(q_sample(x, t, n, schedule).z, theirs.add_noise(x, n, t), atol=2e-6)


@pytest.mark.parametrize("schedule", [cosine(), scaled_linear(500)])
def test_variance_preserving_and_decreasing(schedule: Schedule) -> None:
    t = torch.arange(schedule.steps)
    alpha, sigma = schedule.alpha_sigma(t, torch.zeros(schedule.steps, 1, dtype=torch.float64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-12)
    assert (schedule.alphas_cumprod.diff() < 0).all()


def test_alpha_sigma_follows_dtype_and_rank() -> None:
    alpha, sigma = cosine().alpha_sigma(torch.tensor([3, 500]), torch.zeros(2, 3, 4, 4, dtype=torch.float16))
    assert alpha.shape == sigma.shape == (2, 1, 1, 1)
    assert alpha.dtype == sigma.dtype == torch.float16


def test_timestep_is_clamped() -> None:
    assert cosine().timestep(torch.tensor([0.0, 0.5, 0.98, 1.0, 1.2])).tolist() == [0, 500, 980, 999, 999]


def test_weights_are_their_formulas() -> None:
    a, s = torch.tensor(0.6), torch.tensor(0.8)
    expected = {
        "sds": 0.64,
        "uniform": 1.0,
        "lambda": 0.8 / 0.6,
        "alpha": 0.6,
        "fantasia3d": 0.6 * 0.64,
        "flow": 1.4 / 0.6,
    }
    assert {name: w(a, s).item() for name, w in WEIGHTS.items()} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("time", "p", "band"),
    [
        (Times("uniform"), 0.7, (0.02, 0.98)),
        (Times("linear"), 0.5, (0.5, 0.5)),
        (Times("linear", anneal=0.5), 0.25, (0.5, 0.5)),
        (Times("linear", anneal=0.5), 0.8, (0.02, 0.02)),
        (Times("sqrt"), 0.25, (0.5, 0.5)),
        (Times("sqrt"), 1.0, (0.02, 0.02)),
        (Times("two_stage"), 0.49, (0.02, 0.98)),
        (Times("two_stage"), 0.5, (0.02, 0.5)),
        (Times("two_stage", hi_end=0.7, anneal=0.4), 0.2, (0.02, 0.7)),
        (Times("band", lo=0.5), 0.0, (0.5, 0.98)),
        (Times("band", lo=0.5), 0.25, (0.38, 0.86)),
        (Times("band", lo=0.5, anneal=0.8), 0.9, (0.02, 0.5)),
        (Times("piecewise"), 0.05, (0.836, 0.836)),
        (Times("piecewise"), 0.75, (0.308, 0.308)),
        (Times("piecewise", knots=(0.2, 0.4), levels=(0.9, 0.1)), 0.1, (0.9, 0.9)),
        (Times("piecewise", knots=(0.2, 0.4), levels=(0.9, 0.1)), 0.5, (0.1, 0.1)),
    ],
)
def test_time_bands(time: Times, p: float, band: tuple[float, float]) -> None:
    assert time.band(p) == pytest.approx(band)


@pytest.mark.parametrize("policy", sorted(TIME_POLICIES))
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_sampled_times_fill_their_band(policy: str, p: float) -> None:
    time = Times(policy)
    low, high = time.band(p)
    low = max(min(low, high - 0.02), 0.0)
    times = time.sample(p, 4000, stream(0, "time"))
    assert times.min() >= low and times.max() <= high
    standard_error = (high - low) / math.sqrt(12 * 4000)
    assert abs(times.mean().item() - (low + high) / 2) < 5 * standard_error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "cosine"}, "unknown time.policy"),
        ({"lo": 0.9, "hi": 0.2}, "time.lo and time.hi"),
        ({"lo_end": 0.9}, "time.lo_end and time.hi_end"),
        ({"anneal": 0.0}, "time.anneal"),
        ({"knots": (0.0, 1.0)}, "time.levels needs as many"),
        ({"knots": (0.0, 0.5, 0.5, 1.0)}, "time.knots must rise"),
        ({"levels": (0.98, 0.5, 0.4, 1.2)}, "between 0 and 1"),
    ],
)
def test_impossible_times_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Times(**options)


def test_flow_takes_equal_shares_of_the_ode_on_the_cosine_schedule():
    time = Times(policy="flow", hi=0.98, lo=0.2)
    schedule = cosine()
    t = schedule.timestep(torch.tensor([time.band(p)[0] for p in (0.0, 0.25, 0.5, 0.75, 1.0)]))
    alpha, sigma = schedule.alpha_sigma(t, t.double())
    ratio = (sigma / alpha).log()
    assert ratio.diff().max() / ratio.diff().min() == pytest.approx(1, abs=0.06)  # whole timesteps, offset s = 0.008
    assert time.band(0.0)[0] == pytest.approx(0.98) and time.band(1.0)[0] == pytest.approx(0.2)


def test_the_share_of_the_way_is_the_ode_s():
    """log(sigma / alpha) of the cosine schedule from 0.674 to 0.2, of that from 0.99; of one level its least."""

    def log_lambda(level: float) -> float:
        return math.log(math.tan(math.pi * level / 2))

    flow = Times("flow", hi=0.99, lo=0.2)
    whole = log_lambda(0.99) - log_lambda(0.2)
    assert flow.share(1.0) == pytest.approx(1.0)
    assert flow.share(0.6) == pytest.approx((log_lambda(0.674) - log_lambda(0.2)) / whole)
    assert Times("piecewise", knots=(0.0, 1.0), levels=(0.5, 0.5)).share(0.3) == 0.3
    assert Times("piecewise").share(0.01) == LEAST
