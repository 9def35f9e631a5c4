"""SD3, FLUX, PixArt and Sana on tiny random networks: what the prior says against diffusers' own pipelines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformer_pipelines import FAMILIES, VARIANTS, case
from transformer_references import FLOWS, their_eps

from sds3d.guidance import GUIDANCE, Context, distill_gradient
from sds3d.priors.base import Cond
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.streams import stream

PROMPT = "a red chair"


def steps(value: int, n: int = 2) -> torch.Tensor:
    return torch.full((n,), value)


@pytest.mark.parametrize("t", [250, 800])
@pytest.mark.parametrize("name", VARIANTS)
def test_eps_is_that_of_diffusers_pipeline_with_and_without_guidance(name: str, t: int) -> None:
    model = case(name)
    z, cond = model.noise(), model.prior.text([PROMPT, ""])
    pair = Cond.cat([cond.select(torch.tensor([i, i])) for i in (0, 1)])
    pos, null = model.prior.predict(z.repeat(2, 1, 1, 1), steps(t, 4), pair).chunk(2)
    assert pos.dtype == torch.float32 and (pos - null).abs().max() > 1e-3  # the prompt is heard
    torch.testing.assert_close(pos, their_eps(model, z, t, PROMPT), rtol=1e-5, atol=1e-5)
    theirs = their_eps(model, z, t, PROMPT, cfg=4.0)
    torch.testing.assert_close(null + 4 * (pos - null), theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_of_a_batch_has_its_own_time(name: str) -> None:
    prior, z = case(name).prior, case(name).noise(1)
    cond = prior.text([PROMPT])
    both = prior.predict(z.repeat(2, 1, 1, 1), torch.tensor([100, 900]), cond.repeat(2))
    apart = torch.cat([prior.predict(z, torch.tensor([t]), cond) for t in (100, 900)])
    torch.testing.assert_close(both, apart, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_sds_is_the_weighted_difference_to_the_noise(name: str) -> None:
    """g = sigma^2 (e - n), e of diffusers' pipeline at alpha x + sigma n with its guidance."""
    model = case(name)
    x, prior = model.noise(seed=1), model.prior
    conds = {"pos": prior.text([PROMPT]), "null": prior.text([""])}
    g, _ = distill_gradient(GUIDANCE["sds"](cfg=4.0), Context(x, conds, prior, stream(0, "noise")), steps(600))
    n = torch.randn(x.shape, generator=stream(0, "noise"))
    bar = prior.schedule.alphas_cumprod[600].float()
    eps = their_eps(model, bar.sqrt() * x + (1 - bar).sqrt() * n, 600, PROMPT, cfg=4.0)
    torch.testing.assert_close(g, (1 - bar) * (eps - n), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name.partition("-")[0] in FLOWS])
def test_a_flows_eps_leads_where_its_velocity_does(name: str) -> None:
    """e - n = (1 - s) (v - (n - x)): SDS on the eps is (1 - s) times RFDS on the network's own output (O26)."""
    model = case(name)
    prior, x, n, t = model.prior, model.noise(seed=1), model.noise(seed=2), torch.tensor([150, 850])
    bar = prior.schedule.alphas_cumprod[t].float().view(-1, 1, 1, 1)
    ratio = ((1 - bar) / bar).sqrt()
    s = ratio / (1 + ratio)
    cond = prior.text([PROMPT]).repeat(2)
    v = prior.family.forward(prior.network, (1 - s) * x + s * n, 1000 * s.flatten(), cond)
    eps = prior.predict(bar.sqrt() * x + (1 - bar).sqrt() * n, t, cond)
    torch.testing.assert_close(eps - n, (1 - s) * (v - (n - x)), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name.partition("-")[0] in FLOWS])
def test_a_perfect_flow_network_gives_the_perfect_eps(name: str) -> None:
    """Data N(m, c^2): v* = (z' - E[x0 | z']) / s at z' = (1 - s) x0 + s n must become eps* = sigma (z - alpha m) /
    (alpha^2 c^2 + sigma^2) (O26)."""
    noising, m, c = case(name).prior.noising, 0.3, 0.7
    z, t = case(name).noise(3).double(), torch.tensor([5, 400, 990])
    own, time = noising.inputs(z, t)
    s = time.double().view(-1, 1, 1, 1) / 1000
    x0 = m + (1 - s) * c**2 / ((1 - s) ** 2 * c**2 + s**2) * (own - (1 - s) * m)
    alpha, sigma = noising.schedule.alpha_sigma(t, z)
    expected = sigma * (z - alpha * m) / (alpha**2 * c**2 + sigma**2)
    torch.testing.assert_close(noising.eps((own - x0) / s, z, t), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_schedule_has_the_schedulers_levels(name: str) -> None:
    """sigma / alpha of all but the noisiest steps."""
    model = case(name)
    bar = model.prior.schedule.alphas_cumprod
    expected = noise_to_signal(model.family, model.pipeline.scheduler, patches=model.shape[1] * model.shape[2] // 4)
    torch.testing.assert_close(((1 - bar) / bar).sqrt()[:990], expected.double()[:990], rtol=2e-4, atol=1e-6)


def noise_to_signal(family: str, scheduler: Any, patches: int) -> torch.Tensor:
    """sigma / alpha as a scheduler of diffusers has it, from little noise to much."""
    if family == "pixart":
        return ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
    if family == "sana":
        scheduler.set_timesteps(999)
    else:
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        moving = {"mu": calculate_shift(patches)} if family == "flux" else {}
        scheduler.set_timesteps(sigmas=[i / 1000 for i in range(1000, 0, -1)], **moving)
    s = scheduler.sigmas[:-1].flip(0).double()
    return s / (1 - s)


@pytest.mark.parametrize("name", FAMILIES)
def test_encoding_is_the_pipelines_scaling_and_decoding_its_inverse(name: str) -> None:
    model = case(name)
    prior, vae = model.prior, model.pipeline.vae
    rgb = torch.rand(2, 3, prior.size, prior.size, generator=stream(0, "rgb"))
    encoded = vae.encode(rgb * 2 - 1)
    latent = encoded.latent if name == "sana" else encoded.latent_dist.mean
    shift = vae.config.get("shift_factor") or 0.0
    x = prior.encode(rgb)
    torch.testing.assert_close(x, (latent - shift) * vae.config.scaling_factor)
    torch.testing.assert_close(prior.decode(x), (vae.decode(latent).sample / 2 + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_pass_the_encoder(name: str) -> None:
    """Against central differences."""
    model = case(name)
    rgb = torch.rand(1, 3, model.prior.size, model.prior.size, generator=stream(1, "rgb")).requires_grad_()
    weight, direction = model.noise(1, seed=3), torch.randn(rgb.shape, generator=stream(2, "rgb"))
    (model.prior.encode(rgb) * weight).sum().backward()
    assert rgb.grad is not None
    with torch.no_grad():
        up, down = ((model.prior.encode(rgb + h * direction) * weight).sum() for h in (5e-4, -5e-4))
    torch.testing.assert_close((rgb.grad * direction).sum(), (up - down) / 1e-3, rtol=3e-2, atol=2e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_stays_near_float32(name: str) -> None:
    model = case(name)
    low = DiffusionPrior.load(model.folder, dtype=torch.bfloat16)
    z, t = model.noise(), torch.tensor([300, 700])
    eps = low.predict(z, t, low.text([PROMPT, ""]))
    assert eps.dtype == torch.float32
    assert (eps - model.prior.predict(z, t, model.prior.text([PROMPT, ""]))).abs().mean() < 0.1
