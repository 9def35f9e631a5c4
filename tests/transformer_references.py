"""What diffusers' own pipelines of the transformer families compute: eps read off where one step of theirs arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformer_pipelines import Case


def flow_eps(x: Tensor, cleaned: Tensor, s: float) -> Tensor:
    """The noise in x = (1 - s) x0 + s n, from the x0 that an Euler step all the way to s = 0 arrives at."""
    return x + (1 - s) / s * (x - cleaned)


def sd3_eps(pipeline: Any, x: Tensor, u: float, prompt: str, cfg: float) -> tuple[Tensor, float]:
    (cleaned,) = pipeline(
        prompt, negative_prompt="", guidance_scale=cfg, height=16, width=16, **one_step(pipeline, x, u, len(x))
    )
    s = float(pipeline.scheduler.sigmas[0])
    return flow_eps(x, cleaned, s), s


def flux_eps(pipeline: Any, x: Tensor, u: float, prompt: str, cfg: float) -> tuple[Tensor, float]:
    packed = pipeline._pack_latents(x, *x.shape)
    options = one_step(pipeline, packed, u, len(x)) | {"guidance_scale": 1.0}
    (cleaned,) = pipeline(prompt, negative_prompt="", true_cfg_scale=cfg, height=16, width=16, **options)
    s = float(pipeline.scheduler.sigmas[0])
    return flow_eps(x, pipeline._unpack_latents(cleaned, 16, 16, 2), s), s


def sana_eps(pipeline: Any, x: Tensor, u: float, prompt: str, cfg: float) -> tuple[Tensor, float]:
    """With an Euler scheduler of the same shift: DPMSolver's truncates times to whole numbers."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    solver, pipeline.scheduler = pipeline.scheduler, FlowMatchEulerDiscreteScheduler(shift=3.0)
    (cleaned,) = pipeline(
        prompt,
        guidance_scale=cfg,
        height=32,
        width=32,
        use_resolution_binning=False,
        **one_step(pipeline, x, u, len(x)),
    )
    s, pipeline.scheduler = float(pipeline.scheduler.sigmas[0]), solver
    return flow_eps(x, cleaned, s), s


def one_step(pipeline: Any, x: Tensor, u: float, count: int) -> dict[str, Any]:
    """Options for a single Euler step from the level u (before the scheduler's shift) to 0."""
    return {
        "latents": x,
        "sigmas": [u],
        "num_inference_steps": 1,
        "num_images_per_prompt": count,
        "output_type": "latent",
        "return_dict": False,
    }


def pixart_eps(pipeline: Any, x: Tensor, t: int, prompt: str, cfg: float) -> Tensor:
    """From the x0 that DDPM's step of the same betas is told."""
    from diffusers import DDPMScheduler

    solver, pipeline.scheduler = (
        pipeline.scheduler,
        DDPMScheduler.from_config(pipeline.scheduler.config, clip_sample=False),
    )
    size = 8 * x.shape[-1]
    (cleaned,) = pipeline(
        prompt,
        guidance_scale=cfg,
        height=size,
        width=size,
        timesteps=[t],
        num_inference_steps=1,
        latents=x,
        num_images_per_prompt=len(x),
        clean_caption=False,
        use_resolution_binning=False,
        output_type="latent",
        return_dict=False,
    )
    bar = pipeline.scheduler.alphas_cumprod[t]
    pipeline.scheduler = solver
    return (x - bar.sqrt() * cleaned) / (1 - bar).sqrt()


FLOWS: dict[str, Callable[..., tuple[Tensor, float]]] = {"sd3": sd3_eps, "flux": flux_eps, "sana": sana_eps}


def their_eps(model: Case, x_t: Tensor, t: int, prompt: str, cfg: float = 1.0) -> Tensor:
    """eps (B, C, h, w) of diffusers' own pipeline for the variance-preserving state x_t at step t of 1000."""
    if model.family == "pixart":
        return pixart_eps(model.pipeline, x_t, t, prompt, cfg)
    theirs, u = FLOWS[model.family], (t + 1) / 1000
    s = theirs(model.pipeline, x_t, u, prompt, 1.0)[1]  # the pipeline's own level
    return theirs(model.pipeline, x_t * ((1 - s) ** 2 + s**2) ** 0.5, u, prompt, cfg)[0]
