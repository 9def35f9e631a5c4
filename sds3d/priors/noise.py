"""What a network was trained on: the schedule in a scheduler config, and what the output means.

Everything outside of a network speaks of variance-preserving states x_t = alpha x0 + sigma n, alpha^2 + sigma^2 = 1.
A flow network's state (1 - s) x0 + s n is such a state divided by alpha + sigma, with s = sigma / (alpha + sigma).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.schedule import Schedule, cosine, scaled_linear

SMALLEST = 1e-4  # sigma is not divided by anything smaller

# Name in scheduler_config.json -> eps from (output, x_t, alpha, sigma), given x_t = alpha x0 + sigma n.
#   v = alpha n - sigma x0 (Salimans & Ho 2022, app. D); flow: u = n - x0 (Lipman et al. 2023), for any alpha, sigma.
TO_EPS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda out, x_t, a, s: out,
    "v_prediction": lambda out, x_t, a, s: a * out + s * x_t,
    "sample": lambda out, x_t, a, s: (x_t - a * out) / s.clamp_min(SMALLEST),
    "flow_prediction": lambda out, x_t, a, s: (x_t + a * out) / (a + s),
}


@dataclass(frozen=True)
class Noising:
    """How a network was shown noise: `schedule` in variance-preserving terms, and what it makes of it."""

    schedule: Schedule
    prediction_type: str  # a name in TO_EPS
    times: Tensor | None = None  # (T,) times 1000 s of a flow network, float32; None: it is told the step itself

    @property
    def flow(self) -> bool:
        return self.times is not None

    def to(self, device: torch.device | str) -> Noising:
        times = None if self.times is None else self.times.to(device)
        return Noising(Schedule(self.schedule.alphas_cumprod.to(device)), self.prediction_type, times)

    def inputs(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is given for the state x_t (B, C, h, w) at steps t (B,): its state and its time (B,)."""
        if self.times is None:
            return x_t, t
        alpha, sigma = self.schedule.alpha_sigma(t, x_t)
        return x_t / (alpha + sigma), self.times.to(t.device)[t]

    def eps(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise prediction (B, C, h, w) behind the network's output for `inputs(x_t, t)`."""
        alpha, sigma = self.schedule.alpha_sigma(t, x_t)
        return to_eps(output, x_t, alpha, sigma, self.prediction_type)


def noising_of(config: Mapping[str, Any]) -> Noising:
    """What a diffusers scheduler config tells of the network that it belongs to."""
    if is_flow(config):
        return flow_schedule(config)
    return Noising(schedule_of(config), prediction_type_of(config))


def is_flow(config: Mapping[str, Any]) -> bool:
    """Whether the config belongs to a flow-matching network."""
    return "FlowMatch" in str(config.get("_class_name")) or bool(config.get("use_flow_sigmas"))


def flow_schedule(config: Mapping[str, Any], patches: int | None = None) -> Noising:
    """Rectified flow with the shift of a FlowMatchEulerDiscreteScheduler, or of a solver with `use_flow_sigmas`.

    Step i of T has s = c u / (1 + (c - 1) u), u = (i + 1) / T (Esser et al. 2024, eq. 23). With `use_dynamic_shifting`
    c comes from the number of image `patches` that the transformer sees (None: as at `max_image_seq_len`). The last
    level, s = 1, where eps says nothing of x0, is put halfway to its neighbour.
    """
    if config.get("invert_sigmas") or config.get("shift_terminal"):
        raise UserError("flow schedules with invert_sigmas or shift_terminal are not supported: use another model")
    steps = int(config.get("num_train_timesteps", 1000))
    shift = _dynamic_shift(config, patches) if config.get("use_dynamic_shifting") else _static_shift(config)
    u = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    s = shift * u / (1 + (shift - 1) * u)
    s[-1] = (1 + s[-2]) / 2
    bar = (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    return Noising(Schedule(bar), "flow_prediction", (steps * s).float())


def _static_shift(config: Mapping[str, Any]) -> float:
    return float(config.get("shift" if "FlowMatch" in str(config.get("_class_name")) else "flow_shift", 1.0))


def _dynamic_shift(config: Mapping[str, Any], patches: int | None) -> float:
    """FLUX's shift: its logarithm (or itself, "linear") is a straight line over the number of patches."""
    least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    mu = low + (high - low) * ((most if patches is None else patches) - least) / (most - least)
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else float(mu)


def to_eps(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: str) -> Tensor:
    """The noise prediction behind a network's `output` (B, C, h, w), in the dtype of x_t but at least float32.

    alpha and sigma broadcast against x_t. Every conversion is finite for alpha = 0 (zero terminal SNR) and sigma = 0.
    """
    if prediction_type not in TO_EPS:
        raise unknown("prediction type", prediction_type, TO_EPS)
    dtype = torch.promote_types(x_t.dtype, torch.float32)
    output, x_t, alpha, sigma = (value.to(dtype) for value in (output, x_t, alpha, sigma))
    return TO_EPS[prediction_type](output, x_t, alpha, sigma)


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler config: betas by name, or given, with zero terminal SNR if asked."""
    name = str(config.get("_class_name", "?"))
    steps = int(config.get("num_train_timesteps", 1000))
    if config.get("trained_betas") is not None:
        schedule = _from_betas(torch.tensor(config["trained_betas"], dtype=torch.float64))
    elif config.get("beta_schedule") == "squaredcos_cap_v2":
        schedule = cosine(steps)
    elif config.get("beta_schedule") in ("linear", "scaled_linear") and {"beta_start", "beta_end"} <= config.keys():
        start, end = float(config["beta_start"]), float(config["beta_end"])
        if config["beta_schedule"] == "scaled_linear":
            schedule = scaled_linear(steps, start, end)
        else:
            schedule = _from_betas(torch.linspace(start, end, steps, dtype=torch.float64))
    else:
        raise UserError(
            f"the scheduler {name} with beta_schedule {config.get('beta_schedule')!r} is not supported: use a model "
            "with a linear, scaled_linear or squaredcos_cap_v2 schedule or with trained_betas"
        )
    return zero_terminal_snr(schedule) if config.get("rescale_betas_zero_snr") else schedule


def prediction_type_of(config: Mapping[str, Any]) -> str:
    """What the network predicts; diffusers' default is "epsilon"."""
    name = str(config.get("prediction_type") or "epsilon")
    if name not in TO_EPS:
        raise unknown("prediction type", name, TO_EPS)
    return name


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """sqrt(alpha bar) shifted and scaled so that the last one is 0 and the first is kept (Lin et al. 2023, alg. 1)."""
    root = schedule.alphas_cumprod.sqrt()
    return Schedule(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


def _from_betas(betas: Tensor) -> Schedule:
    return Schedule(torch.cumprod(1 - betas, 0))
