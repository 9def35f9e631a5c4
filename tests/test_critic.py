"""The LoRA critic: bitwise absent while off, learns the rendered distribution, resumes exactly, leaves no trace."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest
import torch
from guidance_helpers import context, gaussians
from torch import Tensor, nn

from sds3d.errors import UserError
from sds3d.guidance import VSD, distill_gradient
from sds3d.guidance.critic import CriticConfig, LoraCritic
from sds3d.guidance.lora import Adapter, target_layers
from sds3d.priors.base import Cond
from sds3d.priors.oracle import finite_set
from sds3d.schedule import Schedule, cosine
from sds3d.streams import stream

WIDTH = 16  # of a token state


class NetworkPrior:
    """A prior around a small random network that predicts eps."""

    def __init__(self, network: nn.Module, size: int, capabilities: frozenset[str] = frozenset({"lora"})) -> None:
        self.network, self.size, self.capabilities = network.eval().requires_grad_(False), size, capabilities
        self.schedule: Schedule = cosine()
        self.device, self.name = torch.device("cpu"), "tiny"
        self.seen: list[Cond] = []

    def encode(self, rgb: Tensor) -> Tensor:
        return rgb * 2 - 1

    def decode(self, x: Tensor) -> Tensor:
        return (x + 1) / 2

    def text(self, prompts: list[str]) -> Cond:
        tokens = [torch.randn(3, WIDTH, generator=stream(zlib.crc32(p.encode()), "text")) for p in prompts]
        return Cond(torch.stack(tokens), torch.ones(len(prompts), 3, dtype=torch.bool))

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        self.seen.append(cond)
        return self.network(x_t, t, encoder_hidden_states=cond.tokens, return_dict=False)[0]


def unet_prior(**options) -> NetworkPrior:
    """A UNet2DConditionModel of 20,000 random weights on 8x8 images."""
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DConditionModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=WIDTH,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
    return NetworkPrior(network, 8, **options)  # type: ignore[arg-type]


def batch(n: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 3, 8, 8, generator=stream(seed, "x")) * 2 - 1
    return x, torch.randint(1000, (n,), generator=stream(seed, "t"))


def view(prior: NetworkPrior, n: int = 4) -> Cond:
    angles = torch.tensor([[90.0 * i, 15.0, 40.0] for i in range(n)])
    return prior.text(["a chair"]).repeat(n).with_camera(angles)


def make(prior: NetworkPrior, seed: int = 0, **config) -> LoraCritic:
    return LoraCritic(prior, CriticConfig(**config), stream(seed, "critic-init"))


@pytest.fixture
def prior() -> Iterator[NetworkPrior]:
    yield unet_prior()


def test_prior_is_bitwise_unchanged_while_the_critic_is_off(prior: NetworkPrior) -> None:
    (x, t), cond = batch(), prior.text(["a chair"]).repeat(4)
    weights = {k: v.clone() for k, v in prior.network.state_dict().items()}
    before = prior.predict(x, t, cond)
    critic = make(prior, lr=1e-2)
    assert torch.equal(prior.predict(x, t, cond), before)
    assert torch.equal(critic.predict(x, t, cond), before)  # LoRA and the camera start at zero
    for step in range(3):
        critic.train_step(x, view(prior), stream(0, "critic", step))
    assert torch.equal(prior.predict(x, t, cond), before)
    assert not torch.allclose(critic.predict(x, t, cond), before, atol=1e-4)
    assert torch.equal(prior.predict(x, t, cond), before)
    critic.remove()
    after = prior.network.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(after[k], weights[k]) for k in weights)
    assert torch.equal(prior.predict(x, t, cond), before)


def test_attention_projections_are_adapted_and_nothing_else_trains(prior: NetworkPrior) -> None:
    targets = target_layers(prior.network)
    assert len(targets) == 32  # 4 transformers x (self + cross) x (q, k, v, out)
    critic = make(prior, rank=4)
    lora = critic.adapter.named_parameters()
    assert len(lora) == 2 * len(targets) and {p.dtype for p in lora.values()} == {torch.float32}
    with critic._adapted():
        trainable = {id(p) for p in prior.network.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in lora.values()}
    assert not any(p.requires_grad for p in prior.network.parameters())


def test_training_lowers_the_denoising_error(prior: NetworkPrior) -> None:
    """On one fixed draw of t and n, by more than a tenth in 20 updates."""
    x, cond, critic = batch(2)[0], view(prior, 2), make(prior, lr=3e-2)
    losses = [critic.train_step(x, cond, stream(0, "critic")) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_loss_is_the_mean_squared_error_of_eps(prior: NetworkPrior) -> None:
    x, cond = batch()[0], view(prior)
    generator = stream(3, "critic")
    t = torch.randint(1000, (4,), generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    alpha, sigma = prior.schedule.alpha_sigma(t, x)
    expected = (prior.predict(alpha * x + sigma * noise, t, cond) - noise).square().mean()
    assert make(prior).train_step(x, cond, stream(3, "critic")) == pytest.approx(expected.item(), rel=1e-5)


def train(critic: LoraCritic, prior: NetworkPrior, steps: range) -> None:
    for step in steps:
        critic.train_step(batch(seed=step)[0], view(prior), stream(0, "critic", step))


def test_resume_is_exact(prior: NetworkPrior) -> None:
    whole = make(prior, lr=1e-2)
    train(whole, prior, range(3))
    saved = {k: v.clone() for k, v in whole.state_dict().items()}
    train(whole, prior, range(3, 6))
    fresh = unet_prior()
    resumed = make(fresh, seed=99, lr=1e-2)
    resumed.load_state_dict(saved)
    assert resumed.state_dict().keys() == saved.keys()
    train(resumed, fresh, range(3, 6))
    a, b = whole.state_dict(), resumed.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert any(k.startswith("optimizer/") for k in a) and not torch.equal(a["camera.leave"], saved["camera.leave"])


def test_checkpoint_of_another_rank_or_network_is_refused(prior: NetworkPrior) -> None:
    state = make(prior, rank=4).state_dict()
    state.pop(next(iter(state)))
    with pytest.raises(ValueError, match="another network or configuration"):
        make(unet_prior(), rank=4).load_state_dict(state)
    with pytest.raises(ValueError, match="another network or configuration"):
        make(unet_prior(), rank=2).load_state_dict(make(unet_prior(), rank=4).state_dict())


def test_randomness_comes_from_the_generators_only(prior: NetworkPrior) -> None:
    state = torch.random.get_rng_state()
    a = make(prior, seed=1)
    torch.rand(5)
    b, c = make(unet_prior(), seed=1), make(unet_prior(), seed=2)
    torch.random.set_rng_state(state)
    d = unet_prior()
    train(make(d, seed=1), d, range(1))
    assert torch.equal(torch.random.get_rng_state(), state)
    values = [torch.cat([p.detach().flatten() for p in critic.parameters()]) for critic in (a, b, c)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


def test_camera_reaches_priors_without_one_through_the_tokens(prior: NetworkPrior) -> None:
    critic, (x, t) = make(prior, lr=1e-2), batch()
    train(critic, prior, range(3))
    assert all(cond.camera is None for cond in prior.seen)
    forgotten = view(prior).with_camera(torch.full((4, 3), float("nan")))
    unseen = critic.predict(x, t, view(prior).with_camera(None))
    assert torch.equal(critic.predict(x, t, forgotten), unseen)
    assert not torch.allclose(critic.predict(x, t, view(prior)), unseen, atol=1e-6)


def test_camera_goes_natively_to_priors_that_take_one_with_dropout() -> None:
    prior = unet_prior(capabilities=frozenset({"lora", "camera"}))
    critic = make(prior, camera_dropout=0.5)
    assert critic.camera is None
    train(critic, prior, range(8))
    dropped = torch.cat([cond.camera.isnan().all(1) for cond in prior.seen if cond.camera is not None])
    assert len(dropped) == 32 and 5 < dropped.sum() < 27
    critic.predict(*batch(), view(prior))
    assert torch.equal(prior.seen[-1].camera, view(prior).camera)  # type: ignore[arg-type]


def test_steps_per_iteration(prior: NetworkPrior) -> None:
    critic = make(prior, steps=3)
    train(critic, prior, range(2))
    steps = {v.item() for k, v in critic.state_dict().items() if k.endswith("/step")}
    assert steps == {6.0}


def test_non_finite_update_is_skipped(prior: NetworkPrior) -> None:
    critic = make(prior)
    before = [p.detach().clone() for p in critic.parameters()]
    critic.train_step(torch.full((2, 3, 8, 8), float("nan")), view(prior, 2), stream(0, "critic"))
    assert all(torch.equal(p, q) for p, q in zip(before, critic.parameters(), strict=True))


def test_adapters_of_a_half_precision_network_train_in_float32(prior: NetworkPrior) -> None:
    network, full = prior.network.bfloat16(), prior.predict

    def predict(x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        tokens = cond.tokens.bfloat16()
        return full(x_t.bfloat16(), t, Cond(tokens, cond.mask)).float()

    prior.predict = predict  # type: ignore[method-assign]
    before = prior.predict(*batch(), view(prior))
    critic = make(prior, lr=3e-2)
    losses = [critic.train_step(batch(2)[0], view(prior, 2), stream(0, "critic")) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    assert {p.dtype for p in critic.parameters()} == {torch.float32}
    assert torch.equal(prior.predict(*batch(), view(prior)), before)
    assert next(network.parameters()).dtype == torch.bfloat16


def test_vsd_with_the_lora_critic(prior: NetworkPrior) -> None:
    """Untrained, the critic is the prior: at cfg 1 with equal conditions the gradient is exactly zero."""
    x, t = batch()
    critic = make(prior, lr=1e-2)
    c = context(x, prior, critic=critic)
    c.conds = {"pos": view(prior), "null": prior.text([""]), "critic": view(prior)}
    g, stats = distill_gradient(VSD(cfg=1.0), c, t)
    assert g.abs().max() == 0 and (stats.nfe, stats.critic_nfe) == (1, 1)
    train(critic, prior, range(2))
    assert distill_gradient(VSD(cfg=1.0), c, t)[0].abs().max() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_critic_on_cuda_trains_and_is_absent_while_off(prior: NetworkPrior) -> None:
    prior.network.cuda()
    prior.device = torch.device("cuda")
    x, t = (v.cuda() for v in batch(2))
    cond = Cond(prior.text(["a chair"] * 2).tokens.cuda(), torch.ones(2, 3, dtype=torch.bool).cuda())
    cond = cond.with_camera(torch.tensor([[0.0, 15.0, 40.0]] * 2).cuda())
    before = prior.predict(x, t, cond)
    critic = make(prior, lr=3e-2)
    losses = [critic.train_step(x, cond, stream(0, "critic")) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(prior.predict(x, t, cond), before)


def test_priors_without_a_network_and_double_critics_are_refused(prior: NetworkPrior) -> None:
    with pytest.raises(UserError, match="has no network for a critic to adapt"):
        LoraCritic(gaussians(), CriticConfig(), stream(0, "critic-init"))  # type: ignore[arg-type]
    critic = make(prior)
    with pytest.raises(ValueError, match="already carries an adapter"):
        make(prior)
    critic.remove()
    make(prior)
    with pytest.raises(UserError, match="no linear layer"):
        Adapter(nn.Conv2d(3, 3, 1), 4, stream(0, "critic-init"))
    with pytest.raises(UserError, match="rank and steps"):
        CriticConfig(rank=0)


class Denoiser(nn.Module):
    """A small MLP from a noisy pair of numbers and the noise level to eps; lists its own layers to adapt."""

    lora_targets = ("enter", "inner", "leave")

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.leave = nn.Linear(2 + 12, 64), nn.Linear(64, 64), nn.Linear(64, 2)

    def forward(self, x: Tensor, t: Tensor, encoder_hidden_states: Tensor, return_dict: bool) -> tuple[Tensor]:
        phase = (t.float() / 1000)[:, None] * torch.pi * torch.arange(1, 7)
        h = torch.cat([x.flatten(1), phase.sin(), phase.cos()], 1)
        h = nn.functional.silu(self.enter(h))
        return (x + self.leave(nn.functional.silu(self.inner(h))).view_as(x),)


def test_o29_the_critic_converges_to_the_particle_oracle() -> None:
    """Denoising score matching on three particles ends at the closed form of OBJECTIVES 4.1 item 5."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = NetworkPrior(Denoiser(), 1)
    particles = torch.tensor([[1.0, 0.5], [-1.0, 0.7], [0.2, -1.0]]).view(3, 1, 1, 2)
    critic, cond = make(prior, rank=64), prior.text([""]).repeat(384)
    for step in range(500):
        critic.optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 500)
        critic.train_step(particles.repeat(128, 1, 1, 1), cond, stream(0, "critic", step))
    t = torch.randint(150, 1000, (384,), generator=stream(1, "t"))
    alpha, sigma = prior.schedule.alpha_sigma(t, particles)
    z = alpha * particles.repeat(128, 1, 1, 1) + sigma * torch.randn(384, 1, 1, 2, generator=stream(1, "n"))
    oracle = finite_set(particles).predict(z, t, cond)
    untrained = prior.predict(z, t, cond)
    assert (critic.predict(z, t, cond) - oracle).square().mean() < 1e-2
    assert (untrained - oracle).square().mean() > 0.1
