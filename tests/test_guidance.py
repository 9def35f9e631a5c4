"""Objectives, evaluator and step: algebra between objectives (O5, O11), generic properties (O30), cost, clamps."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from guidance_helpers import CONDS, SHAPE, ByCondition, cond, context, gaussians, gradient, means
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import (
    CSD,
    GUIDANCE,
    NFSD,
    SDS,
    VSD,
    Call,
    Context,
    Distillation,
    State,
    distill_gradient,
    surrogate,
)
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.critic import OracleCritic
from sds3d.guidance.evaluate import evaluate
from sds3d.guidance.step import clip_pixels
from sds3d.priors.oracle import MixturePrior, finite_set, gaussian
from sds3d.schedule import cosine

OBJECTIVES = [SDS(cfg=7.5), SDS(cfg=1.0), VSD(cfg=7.5), CSD(), CSD(negative_start=0.3, negative_end=0.3), NFSD()]
CALLS = [Call(name) for name in CONDS]


def images(n: int = 3, seed: int = 5) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_predictions(seed: int = 0, t: int = 500) -> tuple[dict[Call, Tensor], dict[str, State], Context]:
    """Unrelated random tensors in place of the networks' answers."""
    c = context(images(), gaussians(), seed=seed)
    states = {"t": q_sample(c.x, torch.full((3,), t), iid_noise(c), c.prior.schedule)}
    g = torch.Generator().manual_seed(seed + 1)
    return {call: torch.randn(3, *SHAPE, generator=g, dtype=torch.float64) for call in CALLS}, states, c


def combined(objective: Distillation, e: dict[Call, Tensor], states: dict[str, State], c: Context) -> Tensor:
    return objective.combine({call: e[call] for call in objective.calls(c, states)}, states, c)


@pytest.fixture
def critic() -> OracleCritic:
    return OracleCritic(gaussian(means()["critic"], 0.7))


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-12, rtol=1e-12)


# O5 and O11: every objective in terms of the others, on random tensors


def test_o5_sds_is_guidance_times_csd_plus_a_noise_residual() -> None:
    e, states, c = random_predictions()
    csd = combined(CSD(negative_end=0.0), e, states, c)
    noise = states["t"].noise
    assert noise is not None
    assert close(combined(SDS(cfg=7.5), e, states, c), 7.5 * csd + e[Call("null")] - noise)
    assert close(combined(SDS(cfg=0.0), e, states, c), e[Call("null")] - noise)


def test_o5_vsd_with_the_null_prediction_or_the_noise_as_critic() -> None:
    e, states, c = random_predictions()
    csd = combined(CSD(negative_end=0.0), e, states, c)
    as_null = e | {Call("critic"): e[Call("null")]}
    assert close(combined(VSD(cfg=7.5), as_null, states, c), 7.5 * csd)
    noise = states["t"].noise
    assert noise is not None
    as_noise = e | {Call("critic"): noise}
    assert torch.equal(combined(VSD(cfg=7.5), as_noise, states, c), combined(SDS(cfg=7.5), e, states, c))


def test_o5_vsd_splits_into_classifier_and_variational_part() -> None:
    e, states, c = random_predictions()
    pos, null, critic = e[Call("pos")], e[Call("null")], e[Call("critic")]
    assert close(combined(VSD(cfg=7.5), e, states, c), 6.5 * (pos - null) + (pos - critic))


def test_csd_with_full_negative_is_the_prompt_pair_and_anneals_linearly() -> None:
    e, states, c = random_predictions()
    pos, null, neg = e[Call("pos")], e[Call("null")], e[Call("neg")]
    assert close(combined(CSD(negative_start=1.0), e, states, c), pos - neg)
    for progress, omega in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)]:
        c.progress = progress
        assert close(combined(CSD(anneal=0.5), e, states, c), (pos - null) - omega * (neg - null))


def test_o11_nfsd_reduces_to_csd() -> None:
    e, states, c = random_predictions()
    csd = combined(CSD(negative_end=0.0), e, states, c)
    objective = NFSD(cfg=7.5)
    assert close(combined(objective, e | {Call("neg"): e[Call("null")]}, states, c), 7.5 * csd)
    assert close(combined(objective, e | {Call("neg"): e[Call("pos")]}, states, c), 6.5 * csd)


@pytest.mark.parametrize(("t", "low"), [(0, True), (199, True), (200, False), (999, False)])
def test_o11_nfsd_branch_boundary(t: int, low: bool) -> None:
    e, states, c = random_predictions(t=t)
    pos, null, neg = e[Call("pos")], e[Call("null")], e[Call("neg")]
    expected = 7.5 * (pos - null) + (null if low else null - neg)
    assert close(combined(NFSD(cfg=7.5), e, states, c), expected)


def test_o11_nfsd_branches_per_view() -> None:
    x, t = images(), torch.tensor([100, 500, 150])
    c = context(x, gaussians())
    mixed, stats = distill_gradient(NFSD(), c, t)
    noise = iid_noise(context(x, gaussians()))
    assert stats.nfe == 3
    for i in range(3):
        one = context(x[i : i + 1], gaussians())
        state = {"t": q_sample(one.x, t[i : i + 1], noise[i : i + 1], cosine())}
        e = evaluate(NFSD().calls(one, state), state, one)
        assert close(mixed[i : i + 1], state["t"].sigma ** 2 * NFSD().combine(e, state, one))


def test_o11_nfsd_low_noise_branch_is_the_uncontrolled_score() -> None:
    """Gaussian prior, s = 0, t < 200: mean k(t)(x - mu), variance (sigma^2 / v)^2."""
    t, c, n = 150, 0.7, 40_000
    x, mu = images(1)[0], means()["null"]
    g = gradient(NFSD(cfg=0.0, weight="uniform"), context(x.expand(n, *SHAPE), gaussian(mu, c)), t)
    bar = cosine().alphas_cumprod[t].item()
    v = bar * c**2 + 1 - bar
    k, variance = math.sqrt(bar * (1 - bar)) / v, ((1 - bar) / v) ** 2
    assert (g.mean(0) - k * (x - mu)).abs().max() < 5 * math.sqrt(variance / n)
    assert (g.var(0) - variance).abs().max() < 5 * variance * math.sqrt(2 / n)


# O30: properties of any objective


@pytest.mark.parametrize(("t", "total"), [(500, 0.0), (100, 1.0)])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_o30_coefficients_sum_to_zero(objective: Distillation, t: int, total: float) -> None:
    """A common shift of all predictions and of the noise is invisible; NFSD at low noise is the exception (sum 1)."""
    e, states, c = random_predictions(t=t)
    shifted = {call: value + 3.0 for call, value in e.items()}
    noise = states["t"].noise
    assert noise is not None
    moved = {"t": dataclasses.replace(states["t"], noise=noise + 3.0)}
    expected = total if isinstance(objective, NFSD) else 0.0
    difference = combined(objective, shifted, moved, c) - combined(objective, e, states, c)
    assert torch.allclose(difference, torch.full_like(difference, 3.0 * expected), atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_o30_gradient_is_that_of_the_surrogate(objective: Distillation, critic: OracleCritic) -> None:
    x = images().requires_grad_()
    g = gradient(objective, context(x.detach(), gaussians(), critic=critic), 400)
    surrogate(x, g).backward()
    assert x.grad is not None and torch.allclose(x.grad, g / 3, atol=1e-12)
    assert surrogate(x, g).item() == pytest.approx(0.5 * g.square().sum().item() / 3)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_o30_one_batched_forward_equals_separate_calls(objective: Distillation, critic: OracleCritic) -> None:
    prior = gaussians()
    c = context(images(), prior, critic=critic)
    states = objective.states(c, torch.tensor([100, 400, 800]))
    calls = objective.calls(c, states)
    together = evaluate(calls, states, c)
    assert prior.forwards == [3 * sum(call.network == "prior" for call in calls)]
    for call in calls:
        assert close(together[call], evaluate([call], states, c)[call])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_o30_same_seed_same_bytes(objective: Distillation, critic: OracleCritic) -> None:
    runs = [gradient(objective, context(images(), gaussians(), critic=critic, seed=s), 300) for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    if not isinstance(objective, (CSD, NFSD, VSD)):  # on Gaussians of equal width the others do not see the noise
        assert not torch.allclose(runs[0], runs[2])


class Half(ByCondition):
    """The same prior as a network in half precision would answer."""

    def predict(self, x_t: Tensor, t: Tensor, cond: object) -> Tensor:
        return super().predict(x_t.half(), t, cond).half().float()  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_o30_low_precision_is_within_two_percent(objective: Distillation, dtype: torch.dtype) -> None:
    models, x = gaussians().models, images()
    exact = gradient(objective, context(x, gaussians(), critic=OracleCritic(models[3])), 500)
    prior = Half(models) if dtype == torch.float16 else ByCondition(models)
    c = context(x.float(), prior, critic=OracleCritic(models[3]))
    g = gradient(objective, c, 500)
    assert g.dtype == torch.float32
    assert (g - exact).norm() < 0.02 * exact.norm()


# cost


@pytest.mark.parametrize(
    ("objective", "progress", "t", "nfe"),
    [
        (SDS(), 0.0, 500, (2, 0)),
        (SDS(cfg=1.0), 0.0, 500, (1, 0)),
        (VSD(), 0.0, 500, (2, 1)),
        (CSD(), 0.2, 500, (3, 0)),
        (CSD(), 0.0, 500, (2, 0)),
        (CSD(), 0.5, 500, (2, 0)),
        (NFSD(), 0.0, 500, (3, 0)),
        (NFSD(), 0.0, 100, (2, 0)),
    ],
    ids=str,
)
def test_predictions_per_view(
    objective: Distillation, progress: float, t: int, nfe: tuple[int, int], critic: OracleCritic
) -> None:
    prior = gaussians()
    c = context(images(), prior, progress=progress, critic=critic)
    for _ in range(2):  # the count is per step
        stats = distill_gradient(objective, c, torch.full((3,), t))[1]  # type: ignore[arg-type]
        assert (stats.nfe, stats.critic_nfe) == nfe
    assert len(prior.forwards) == 2


@pytest.mark.parametrize("name", sorted(GUIDANCE))
def test_needs_names_exactly_what_the_calls_use(name: str) -> None:
    objective = GUIDANCE[name]()
    c = context(images(), gaussians())
    c.conds, c.x_src = {need: cond(0) for need in objective.needs()}, images(seed=6)
    used = set()
    for c.progress in (0.0, 0.2, 1.0):
        for t in (100, 500):
            states = objective.states(c, torch.full((3,), t))
            used |= {call.cond for call in objective.calls(c, states)}
    assert used == objective.needs()
    assert objective.critic == any(name.startswith("critic") for name in used)
    assert objective.summary and "\n" not in objective.summary


def test_evaluator_splits_what_cannot_share_a_batch() -> None:
    prior = gaussians()
    c = context(images(), prior)
    c.conds["pos"] = dataclasses.replace(c.conds["pos"], image=torch.zeros(1, 1, 1))
    states = SDS().states(c, torch.tensor([500, 500, 500]))
    evaluate([Call("pos"), Call("null"), Call("pos")], states, c)
    assert prior.forwards == [3, 3]
    assert c.nfe == {"prior": 2}


def test_missing_critic_is_named() -> None:
    with pytest.raises(ValueError, match="calls 'critic', but Context.critic is None"):
        gradient(VSD(), context(images(), gaussians()), 500)


# the step


def x0(c: Context, e: Tensor, t: int) -> Tensor:
    bar = c.prior.schedule.alphas_cumprod[t]
    noise = iid_noise(context(c.x, c.prior))
    z = bar.sqrt() * c.x + (1 - bar).sqrt() * noise
    return (z - (1 - bar).sqrt() * e) / bar.sqrt()


@pytest.mark.parametrize("t", [50, 500, 950])
def test_sds_is_the_denoising_residual(t: int) -> None:
    """O27: w (e - n) = (w / lambda)(x - x0); with weight lambda the target is the prior's x0, clamped on demand."""
    c = context(images(), gaussians())
    states = SDS().states(context(images(), gaussians()), torch.full((3,), t))
    e = evaluate([Call("pos"), Call("null")], states, context(images(), gaussians()))
    guided = e[Call("null")] + 6 * (e[Call("pos")] - e[Call("null")])
    target = x0(c, guided, t)
    assert torch.allclose(gradient(SDS(cfg=6.0, weight="lambda"), c, t), c.x - target, atol=1e-9)
    clamped = gradient(SDS(cfg=6.0, weight="lambda", clamp=0.8), context(c.x, c.prior), t)
    assert torch.allclose(clamped, c.x - target.clamp(-0.8, 0.8), atol=1e-9)
    assert (target.abs() > 0.8).any()


def test_clamp_keeps_the_weight() -> None:
    """The target is clamped in x0 units whatever w is."""
    x, prior = images(), gaussians()
    a = gradient(SDS(cfg=6.0, weight="lambda", clamp=0.8), context(x, prior), 600)
    b = gradient(SDS(cfg=6.0, weight="sds", clamp=0.8), context(x, prior), 600)
    bar = prior.schedule.alphas_cumprod[600]
    assert torch.allclose(b, a * (bar * (1 - bar)).sqrt(), atol=1e-12)  # sigma^2 / lambda = sigma alpha


def test_clip_limits_pixels_and_keeps_their_direction() -> None:
    g = images() * torch.tensor([0.01, 1.0, 100.0]).view(3, 1, 1, 1)
    clipped = clip_pixels(g, 0.5)
    assert clipped.abs().amax() <= 0.5 + 1e-12
    assert torch.allclose(torch.nn.functional.cosine_similarity(g, clipped, dim=1), g.new_ones(()), atol=1e-12)
    small = g.abs().amax(1) <= 0.5
    assert small.any() and torch.equal(clipped.movedim(1, -1)[small], g.movedim(1, -1)[small])
    assert torch.equal(clip_pixels(torch.zeros(1, 2, 2, 2), 0.5), torch.zeros(1, 2, 2, 2))
    assert close(gradient(SDS(clip=0.5), context(images(), gaussians()), 500).abs().amax(), torch.tensor(0.5).double())


class Faulty(ByCondition):
    def predict(self, x_t: Tensor, t: Tensor, cond: object) -> Tensor:
        eps = super().predict(x_t, t, cond)  # type: ignore[arg-type]
        eps[0, 0, 0, 0], eps[1, 1, 1, 1] = float("nan"), float("inf")
        return eps


@pytest.mark.parametrize("objective", [SDS(), SDS(clamp=5.0), SDS(clip=1.0)], ids=str)
def test_non_finite_gradients_are_counted_and_zeroed(objective: SDS) -> None:
    models, x = gaussians().models, images()
    g, stats = distill_gradient(objective, context(x, Faulty(models)), torch.full((3,), 500))
    assert stats.as_dict()["nonfinite"] == 2
    assert g[0, 0, 0, 0] == g[1, 1, 1, 1] == 0
    sound = gradient(objective, context(x, ByCondition(models)), 500)
    keep = torch.ones_like(g, dtype=torch.bool)
    keep[0, :, 0, 0] = keep[1, :, 1, 1] = False  # the clip scales the channels of a pixel together
    assert torch.equal(g[keep], sound[keep]) and g.isfinite().all()


def test_statistics_are_their_definitions() -> None:
    x, t = images(), torch.full((3,), 500)
    c = context(x, gaussians())
    states = SDS().states(context(x, gaussians()), t)
    e = evaluate([Call("pos"), Call("null")], states, context(x, gaussians()))
    first, stats = distill_gradient(SDS(), c, t)
    noise, null = states["t"].noise, e[Call("null")]
    assert noise is not None
    correlation = (null * noise).sum((1, 2, 3)) / noise.square().sum((1, 2, 3))
    expected = {
        "delta": (e[Call("pos")] - null).flatten(1).norm(dim=1).mean(),
        "residual": (null - noise).flatten(1).norm(dim=1).mean(),
        "correlation": correlation.mean(),
        "gradient": first.flatten(1).norm(dim=1).mean(),
    }
    values = stats.as_dict()
    for name, value in expected.items():
        assert values[name] == pytest.approx(value.item(), rel=1e-5)
    assert values["cosine"] is None and values["nonfinite"] == 0
    second, stats = distill_gradient(SDS(), c, t)
    cosine_similarity = (first * second).sum() / first.norm() / second.norm()
    assert stats.as_dict()["cosine"] == pytest.approx(cosine_similarity.item(), rel=1e-5)


def test_undefined_statistics_are_none() -> None:
    values = distill_gradient(SDS(cfg=1.0), context(images(), gaussians()), torch.full((3,), 500))[1].as_dict()
    assert values["delta"] is None and values["residual"] is None and values["correlation"] is not None


def test_step_does_not_track_gradients() -> None:
    x = images().requires_grad_()
    assert not distill_gradient(SDS(), context(x, gaussians()), torch.full((3,), 500))[0].requires_grad


def test_bad_settings_are_user_errors() -> None:
    with pytest.raises(UserError, match="unknown weight 'sdss': did you mean 'sds'"):
        SDS(weight="sdss")
    with pytest.raises(UserError, match="must not be negative"):
        SDS(clamp=-1.0)
    with pytest.raises(UserError, match="share of the run"):
        CSD(anneal=0.0)


def test_finite_set_batch_of_mixed_timesteps() -> None:
    """Weights, levels and states follow each view's own timestep."""
    x, prior = images(), finite_set(images(4, seed=9))
    t = torch.tensor([50, 500, 950])
    c = context(x, prior)
    g = distill_gradient(SDS(cfg=1.0), c, t)[0]
    noise = iid_noise(context(x, prior))
    for i in range(3):
        state = q_sample(x[i : i + 1], t[i : i + 1], noise[i : i + 1], prior.schedule)
        e = prior.predict(state.z, state.t, c.conds["pos"])
        assert close(g[i : i + 1], state.sigma**2 * (e - noise[i : i + 1]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_step_on_cuda_equals_cpu(objective: Distillation) -> None:
    """The noise is drawn on the CPU, so float64 gradients agree to rounding."""
    results = []
    for device in ("cpu", "cuda"):
        labels = ("pos", "neg", "critic", "pos")
        prior = MixturePrior(images(4, seed=9).to(device), torch.full((4,), 0.3, device=device), labels=labels)
        conds = {name: prior.text(["" if name == "null" else name]) for name in CONDS}
        c = Context(images().to(device), conds, prior, torch.Generator().manual_seed(0), critic=OracleCritic(prior))
        g, stats = distill_gradient(objective, c, torch.tensor([100, 500, 900], device=device))
        results.append((g.cpu(), stats.as_dict()))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-9)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)
