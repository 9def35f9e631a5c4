"""RewardSDS around any base (OBJECTIVES O23)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians, gradient
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import CSD, SDS, Context, Distillation, distill_gradient
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.isd import ISD
from sds3d.guidance.ism import ISM
from sds3d.guidance.rewardsds import RewardSDS, RewardVSD, finished, load_reward
from sds3d.priors.oracle import finite_set
from sds3d.schedule import cosine

B, T = 2, 500
BASE = SDS(cfg=3.0, weight="uniform")
HERE = "test_rewardsds"


def images(seed: int, n: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = images(1, B)


def alike(images: Tensor, prompt: str) -> Tensor:
    """Every image is as good as any other."""
    return torch.zeros(len(images))


def brightness(images: Tensor, prompt: str) -> Tensor:
    return images.flatten(1).mean(1) * (-1 if prompt == "dark" else 1)


def around(base: Any = BASE, **options: Any) -> RewardSDS:
    return RewardSDS(over=base, **{"reward": f"{HERE}:brightness", "steps": 3, **options})


def asked(seed: int = 0, **changes: Any) -> Context:
    return replace(context(X, gaussians(), seed=seed), **changes)


def in_turn(base: Distillation, count: int) -> Tensor:
    """(N, B, ...) the base's gradients for the noises that one step draws, one after the other."""
    c = asked()
    return torch.stack([gradient(base, c, T) for _ in range(count)])


@pytest.mark.parametrize("base", [BASE, CSD(), ISM()], ids=["sds", "csd", "ism"])
def test_one_noise_or_after_its_duration_is_the_base_itself(base: Distillation) -> None:
    assert torch.equal(gradient(around(base, count=1), asked(), T), gradient(base, asked(), T))
    for progress, alone in [(0.4, False), (0.5, True)]:
        g = gradient(around(base, count=3, duration=0.5), asked(progress=progress), T)
        assert torch.equal(g, gradient(base, asked(progress=progress), T)) == alone


@pytest.mark.parametrize("base", [BASE, CSD(), ISM()], ids=["sds", "csd", "ism"])
def test_equal_rewards_are_the_mean_over_the_noises(base: Distillation) -> None:
    g = gradient(around(base, count=3, strategy="weighted", reward=f"{HERE}:alike"), asked(), T)
    assert torch.allclose(g, in_turn(base, 3).mean(0), atol=1e-10)


def test_strategies() -> None:
    rewards = torch.tensor([[0.1, 5.0], [0.4, 2.0], [0.3, 1.0], [0.2, 3.0], [0.0, 4.0]])  # (N, B)
    best = around(count=5, strategy="best").factors(rewards)
    assert best.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0], [0, 0]]
    minmax = around(count=5, strategy="minmax").factors(rewards)
    expected = torch.tensor([[-0.05, 0.45], [0.45, -0.05], [0.45, -0.05], [0, 0], [-0.05, 0.45]])
    assert torch.allclose(minmax, expected)
    few = around(count=2, strategy="minmax").factors(rewards[:2])
    assert torch.allclose(few, torch.tensor([[-0.1, 0.9], [0.9, -0.1]]))
    weighted = around(count=5, strategy="weighted", temperature=0.5).factors(rewards)
    exponential = (2 * rewards).exp()
    assert torch.allclose(weighted, exponential / exponential.sum(0))


def test_each_view_weights_its_own_noises_by_the_images_found_from_them() -> None:
    """One DDIM step: the image is x0(e^s), decoded to [0, 1]; the reward reads the prompt."""
    c, rewards = asked(), []
    alpha, sigma = (v.item() for v in cosine().alpha_sigma(torch.tensor([T]), X))
    for _ in range(4):
        z = alpha * X + sigma * iid_noise(c)
        e = [c.prior.predict(z, torch.full((B,), T), c.conds[k].repeat(B)) for k in ("null", "pos")]
        x0 = (z - sigma * (e[0] + 4 * (e[1] - e[0]))) / alpha
        rewards.append(brightness(x0, ""))
    gs = in_turn(BASE, 4)
    for prompt, sign in [("light", 1), ("dark", -1)]:
        weights = (sign * 20 * torch.stack(rewards)).softmax(0).view(4, B, 1, 1, 1)
        assert weights.max() > 0.5
        objective = around(count=4, strategy="weighted", temperature=0.05, steps=1, cfg=4.0)
        assert torch.allclose(gradient(objective, asked(prompt=prompt), T), (weights * gs).sum(0), atol=1e-10)


def test_few_steps_follow_the_ode_of_a_gaussian() -> None:
    """alpha_0 x0 - alpha_0 mu = sqrt(v_0 / v_t) (z_t - alpha_t mu) up to the step size (OBJECTIVES 4.1 item 7)."""
    c = asked()
    mu, bar = c.prior.models[1].means[0], cosine().alphas_cumprod  # type: ignore[attr-defined]
    state = q_sample(X, torch.full((B,), T), iid_noise(c), cosine())
    v = [(bar[t] * 0.49 + 1 - bar[t]).item() for t in (0, T)]
    exact = mu + math.sqrt(v[0] / v[1]) * (state.z - bar[T].sqrt() * mu)
    errors = [(finished(c, [state, state], n, 1.0)[:B] - exact).abs().max().item() for n in (4, 20, 80)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2] and errors[2] < 0.03


@pytest.mark.parametrize("count", [2, 4])
def test_variance_falls_with_the_number_of_noises(count: int) -> None:
    """On N(mu, c^2 I) SDS has variance (alpha^2 c^2 / v)^2 per coordinate; the mean of N of them 1 / N of that."""
    n, t = 2000, 300
    c = replace(asked(), x=X[:1].expand(n, *SHAPE))
    base = SDS(cfg=1.0, weight="uniform")
    g = gradient(around(base, count=count, strategy="weighted", reward=f"{HERE}:alike", steps=1), c, t)
    bar = cosine().alphas_cumprod[t].item()
    variance = (bar * 0.49 / (bar * 0.49 + 1 - bar)) ** 2 / count
    assert (g.var(0) - variance).abs().max() < 5 * variance * math.sqrt(2 / n)


def test_a_reward_chooses_between_two_images() -> None:
    """Half way between a dark and a bright image plain SDS is as often drawn to either, RewardSDS to the better one."""
    prior = finite_set(torch.stack([torch.full(SHAPE, v, dtype=torch.float64) for v in (-1.0, 1.0)]))
    n = 200
    c = replace(
        asked(), x=torch.zeros(n, *SHAPE).double(), prior=prior, conds={k: prior.text([""]) for k in ("pos", "null")}
    )
    base = SDS(cfg=1.0, weight="lambda")  # g = x - x0
    plain = -gradient(base, replace(c, generator=asked().generator), 900).mean((1, 2, 3))
    chosen = -gradient(around(base, count=4, strategy="best"), replace(c, generator=asked().generator), 900).mean(
        (1, 2, 3)
    )
    assert plain.mean().abs() < 0.1 < 0.3 < chosen.mean()
    dark = replace(c, generator=asked().generator, prompt="dark")
    assert gradient(around(base, count=4, strategy="best"), dark, 900).mean() > 0.3


def test_cost_and_needs() -> None:
    objective, t = around(count=7, steps=15), torch.full((B,), T)
    _, stats = distill_gradient(objective, asked(), t)
    assert stats.nfe == 2 * 7 * (1 + 8)  # 15 steps from T are 8 from T / 2
    assert distill_gradient(around(count=1), asked(), t)[1].nfe == 2
    assert around(ISD()).needs() == {"pos", "null", "image", "noimage", "nullimage"}
    assert RewardVSD().critic and not RewardSDS().critic and RewardSDS(base="vsd").critic
    assert around(SDS(weight="alpha", clamp=0.5)).weight == "alpha"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count and steps of at least 1"),
        ({"temperature": 0.0}, "a positive temperature"),
        ({"duration": 1.1}, r"a duration in \[0, 1\]"),
        ({"reward": "module.function"}, "reward is 'probe' or package.module:function"),
        ({"base": "rewardvsd"}, "must be a plain one, not 'rewardvsd'"),
        ({"base": "sdss"}, "unknown guidance 'sdss': did you mean 'sds'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RewardSDS(**options)


@pytest.mark.parametrize("name", ["no_such_package:f", f"{HERE}:no_such_function"])
def test_a_reward_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match="cannot be loaded .*: give package.module:function"):
        load_reward(name)
