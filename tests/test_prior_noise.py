"""Noise schedules and prediction types against closed forms and diffusers' own schedulers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prior_helpers import noise

from sds3d.errors import UserError
from sds3d.priors.noise import TO_EPS, flow_schedule, noising_of, schedule_of, to_eps

TARGETS = {
    "epsilon": lambda x0, n, a, s: n,
    "v_prediction": lambda x0, n, a, s: a * n - s * x0,
    "sample": lambda x0, n, a, s: x0,
    "flow_prediction": lambda x0, n, a, s: n - x0,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "given": {"trained_betas": [0.001 * (i + 1) for i in range(20)], "num_train_timesteps": 20},
    "zero_snr": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "rescale_betas_zero_snr": True,
    },
}


@pytest.mark.parametrize("name", TO_EPS)
def test_an_exact_network_gives_back_the_noise(name: str) -> None:
    x0, n = noise(5, 3, 4, 4, dtype=torch.float64), noise(5, 3, 4, 4, seed=1, dtype=torch.float64)
    angle = torch.tensor([0.01, 0.3, 0.8, 1.2, 1.5], dtype=torch.float64).view(-1, 1, 1, 1)
    alpha, sigma = angle.cos(), angle.sin()
    eps = to_eps(TARGETS[name](x0, n, alpha, sigma), alpha * x0 + sigma * n, alpha, sigma, name)
    assert eps.dtype == torch.float64
    torch.testing.assert_close(eps, n, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TO_EPS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_ends_of_a_schedule_stay_finite(name: str, alpha: float) -> None:
    a, s = torch.tensor(alpha), torch.tensor(1 - alpha)
    x0, n = noise(1, 3, 4, 4), noise(1, 3, 4, 4, seed=1)
    eps = to_eps(TARGETS[name](x0, n, a, s), a * x0 + s * n, a, s, name)
    assert bool(eps.isfinite().all())
    if alpha == 0:
        torch.testing.assert_close(eps, n)


def test_half_precision_outputs_are_converted_in_float32() -> None:
    out = noise(1, 3, 4, 4).half()
    eps = to_eps(out, noise(1, 3, 4, 4, seed=1), torch.tensor(0.6), torch.tensor(0.8), "v_prediction")
    torch.testing.assert_close(eps, 0.6 * out.float() + 0.8 * noise(1, 3, 4, 4, seed=1))


def test_an_unknown_prediction_type_names_the_known() -> None:
    with pytest.raises(UserError, match="v_prediction"):
        to_eps(torch.zeros(1), torch.zeros(1), torch.ones(1), torch.zeros(1), "v")


@pytest.mark.parametrize("name", CONFIGS)
def test_schedule_equals_diffusers(name: str) -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(**CONFIGS[name]).alphas_cumprod.double()  # float32 inside
    ours = schedule_of(CONFIGS[name]).alphas_cumprod
    assert ours.dtype == torch.float64 and ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=1e-7)
    if name == "zero_snr":
        assert ours[-1] == 0 and ours[0] == schedule_of(CONFIGS["scaled_linear"]).alphas_cumprod[0]


@pytest.mark.parametrize("name", ["scaled_linear", "cosine", "zero_snr"])
def test_velocity_of_diffusers_is_read_back_as_noise(name: str) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(**CONFIGS[name])
    t, x0, n = torch.tensor([0, 400, 999]), noise(3, 3, 8, 8), noise(3, 3, 8, 8, seed=1)
    alpha, sigma = schedule_of(CONFIGS[name]).alpha_sigma(t, x0)
    eps = to_eps(scheduler.get_velocity(x0, n, t), scheduler.add_noise(x0, n, t), alpha, sigma, "v_prediction")
    torch.testing.assert_close(eps, n, rtol=0, atol=2e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_x0_equals_that_of_ddim(prediction_type: str) -> None:
    from diffusers import DDIMScheduler

    config = CONFIGS["scaled_linear"] | {"prediction_type": prediction_type, "clip_sample": False}
    scheduler, x_t, out = DDIMScheduler(**config), noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)
    scheduler.set_timesteps(1000)
    for t in (20, 500, 980):
        theirs = scheduler.step(out, t, x_t).pred_original_sample
        alpha, sigma = schedule_of(config).alpha_sigma(torch.tensor([t]), x_t)
        eps = to_eps(out, x_t, alpha, sigma, prediction_type)
        torch.testing.assert_close((x_t - sigma * eps) / alpha, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", [{}, {"beta_schedule": "sigmoid"}, {"beta_schedule": "linear"}])
def test_an_unsupported_schedule_says_what_is(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="squaredcos_cap_v2"):
        schedule_of(config)


# ---------------------------------------------------------------------------------------- flow matching

FLOWS: dict[str, dict[str, Any]] = {
    "straight": {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    "shifted": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
    "short": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "num_train_timesteps": 20},
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow_levels_and_times_equal_diffusers(name: str) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    theirs = FlowMatchEulerDiscreteScheduler(**{k: v for k, v in FLOWS[name].items() if k != "_class_name"})
    ours = noising_of(FLOWS[name])
    alpha, sigma = ours.schedule.alpha_sigma(torch.arange(ours.schedule.steps), torch.zeros(1, dtype=torch.float64))
    s = (sigma / (alpha + sigma)).flatten()
    assert ours.flow and ours.prediction_type == "flow_prediction" and ours.times is not None
    torch.testing.assert_close(s[:-1], theirs.sigmas.flip(0)[:-1].double(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ours.times[:-1], theirs.timesteps.flip(0)[:-1], rtol=1e-6, atol=1e-4)
    assert s[-2] < s[-1] < 1  # pure noise would say nothing of x0


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_a_dynamic_shift_follows_the_number_of_patches(kind: str) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "time_shift_type": kind}
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    for patches, mu in ((256, 0.5), (1024, 0.63), (4096, 1.15)):  # 0.5 + 0.65 (patches - 256) / 3840
        scheduler.set_timesteps(sigmas=[0.9, 0.5, 0.1], mu=mu)
        ours = flow_schedule(config, patches).times
        assert ours is not None
        torch.testing.assert_close(ours[[899, 499, 99]], scheduler.timesteps, rtol=1e-5, atol=1e-2)
    assert torch.equal(flow_schedule(config).times, flow_schedule(config, 4096).times)  # type: ignore[arg-type]


def test_a_solver_with_flow_sigmas_has_its_shift() -> None:
    from diffusers import DPMSolverMultistepScheduler

    options = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    scheduler = DPMSolverMultistepScheduler(**options)
    scheduler.set_timesteps(1000)
    ours = noising_of({"_class_name": "DPMSolverMultistepScheduler", **options})
    alpha, sigma = ours.schedule.alpha_sigma(torch.arange(999), torch.zeros(1, dtype=torch.float64))
    theirs = scheduler.sigmas.flip(0)[1:-1].double()  # without the 0 at the end and its last level, 0.999
    torch.testing.assert_close((sigma / (alpha + sigma)).flatten()[: len(theirs)], theirs, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_a_perfect_flow_network_gives_back_the_noise(name: str) -> None:
    """OBJECTIVES 2.8: the network sees (1 - s) x0 + s n at the time 1000 s, and e - n = (1 - s)(v - (n - x0))."""
    noising = noising_of(FLOWS[name])
    steps = noising.schedule.steps
    x0, n = noise(4, 3, 4, 4, dtype=torch.float64), noise(4, 3, 4, 4, seed=1, dtype=torch.float64)
    t = torch.tensor([0, steps // 3, steps - 2, steps - 1])
    alpha, sigma = noising.schedule.alpha_sigma(t, x0)
    x_t = alpha * x0 + sigma * n
    seen, time = noising.inputs(x_t, t)
    s = (time / steps).double().view(-1, 1, 1, 1)
    torch.testing.assert_close(seen, (1 - s) * x0 + s * n, rtol=0, atol=1e-6)
    torch.testing.assert_close(noising.eps(n - x0, x_t, t), n, rtol=0, atol=1e-12)
    wrong = noise(4, 3, 4, 4, seed=2, dtype=torch.float64)
    torch.testing.assert_close(noising.eps(wrong, x_t, t) - n, (1 - s) * (wrong - (n - x0)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("extra", [{"shift_terminal": 0.1}, {"invert_sigmas": True}])
def test_flow_schedules_of_other_kinds_are_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="use another model"):
        noising_of(FLOWS["shifted"] | extra)


def test_other_networks_are_told_the_step_itself() -> None:
    noising, x_t = noising_of(CONFIGS["linear"]), noise(2, 3, 4, 4)
    t = torch.tensor([3, 700])
    seen, time = noising.inputs(x_t, t)
    assert not noising.flow and seen is x_t and time is t
