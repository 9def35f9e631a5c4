"""What a network was trained on: the schedule in a scheduler config, and what the output means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
