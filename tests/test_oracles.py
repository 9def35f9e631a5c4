"""The closed-form priors are exact, and the objectives have on them the values that theory gives (OBJECTIVES O1-O4)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from guidance_helpers import SHAPE, context, gradient
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import CSD, SDS, VSD, distill_gradient
from sds3d.guidance.critic import OracleCritic
from sds3d.priors.base import Cond
from sds3d.priors.oracle import MixturePrior, finite_set, gaussian, point_mass
from sds3d.schedule import cosine

SCHEDULE = cosine()


def levels(t: int) -> tuple[float, float]:
    bar = SCHEDULE.alphas_cumprod[t].item()
    return math.sqrt(bar), math.sqrt(1 - bar)


def k(t: int, c: float) -> float:
    """sigma alpha / v: the slope of SDS on a Gaussian of standard deviation c."""
    alpha, sigma = levels(t)
    return sigma * alpha / (alpha**2 * c**2 + sigma**2)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labelled(stds: float | None = None) -> MixturePrior:
    """Six components, three of each label, uneven weights."""
    weights = torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0, 3.0], dtype=torch.float64)
    spread = torch.tensor([0.3, 0.5, 0.8, 0.4, 0.6, 0.2], dtype=torch.float64)
    spread = spread if stds is None else torch.full_like(spread, stds)
    return MixturePrior(images(6), spread, weights, labels=("red", "blue") * 3)


def log_density(prior: MixturePrior, z: Tensor, t: int, keep: list[int]) -> Tensor:
    """log sum_{k in keep} pi_k N(z; alpha a_k, v_k I) / sum pi, from the textbook definition."""
    alpha, sigma = levels(t)
    assert prior.weights is not None
    terms = []
    for i in keep:
        normal = torch.distributions.Normal(alpha * prior.means[i], math.sqrt((alpha * prior.stds[i]) ** 2 + sigma**2))
        terms.append(prior.weights[i].log() + normal.log_prob(z).flatten(1).sum(1))
    return torch.stack(terms).logsumexp(0)


def derivative(f, z: Tensor, h: float = 1e-3) -> Tensor:
    """Gradient of sum f over z by fourth-order central differences."""
    result = torch.zeros_like(z)
    for i in range(z[0].numel()):
        step = torch.zeros_like(z[0]).flatten()
        step[i] = h
        step = step.view_as(z[0])
        slope = (8 * (f(z + step) - f(z - step)) - (f(z + 2 * step) - f(z - 2 * step))) / (12 * h)
        result.flatten(1)[:, i] = slope
    return result


@pytest.mark.parametrize("t", [50, 400, 900])
@pytest.mark.parametrize(("prompt", "keep"), [("", range(6)), ("red", [0, 2, 4]), ("a blue chair", [1, 3, 5])])
def test_mixture_is_the_scaled_score(t: int, prompt: str, keep: list[int]) -> None:
    prior, z = labelled(), images(4, seed=1)
    eps = prior.predict(z, torch.full((4,), t), prior.text([prompt] * 4))
    score = derivative(lambda v: log_density(prior, v, t, list(keep)), z)
    assert torch.allclose(eps, -levels(t)[1] * score, atol=1e-8)


def test_point_mass_predicts_its_image_from_any_state() -> None:
    a, z, t = images(1)[0], images(3, seed=1), torch.tensor([5, 500, 990])
    prior = point_mass(a)
    alpha, sigma = SCHEDULE.alpha_sigma(t, z)
    x0 = (z - sigma * prior.predict(z, t, prior.text([""] * 3))) / alpha
    assert torch.allclose(x0, a.expand_as(x0), atol=1e-10)


def test_finite_set_is_the_softmax_of_distances() -> None:
    a, z, t = images(5), images(2, seed=1), torch.tensor([300, 800])
    prior = finite_set(a)
    alpha, sigma = SCHEDULE.alpha_sigma(t, z)
    logits = -(z[:, None] - alpha[:, None] * a).square().flatten(2).sum(-1) / (2 * sigma.view(-1, 1) ** 2)
    x0 = torch.einsum("bk,kchw->bchw", logits.softmax(-1), a)
    assert torch.allclose(prior.predict(z, t, prior.text([""] * 2)), (z - alpha * x0) / sigma, atol=1e-10)


def test_camera_selects_the_view_and_nan_forgets_it() -> None:
    a = images(4)
    views = torch.tensor([[0.0, 0.0], [90.0, 0.0], [180.0, 0.0], [270.0, 0.0]])
    prior = finite_set(a, views=views, bandwidth=10.0)
    assert prior.capabilities == {"camera", "image"}
    z, t = images(2, seed=1), torch.tensor([800, 800])
    plain = prior.text(["", ""])
    angles = torch.tensor([[-90.0, 0.0, 40.0], [float("nan")] * 3])
    seen = prior.predict(z, t, plain.with_camera(angles))
    alone = point_mass(a[3]).predict(z, t, plain)
    assert torch.allclose(seen[0], alone[0], atol=1e-6)
    assert torch.equal(seen[1], prior.predict(z, t, plain)[1])


def test_oracle_as_a_pixel_prior() -> None:
    prior = finite_set(images(2), labels=("red", "dark red"))
    rgb = torch.rand(1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(prior.decode(prior.encode(rgb)), rgb, atol=1e-6)
    assert prior.encode(torch.rand(1, 2, 8, 8)).shape == (1, 2, 2, 2)
    assert torch.equal(prior.text(["a dark red box"]).tokens, prior.text(["dark red"]).tokens)
    with pytest.raises(UserError, match="unknown label 'green': .*dark red, red"):
        prior.text(["green"])


def test_prediction_dtype() -> None:
    prior, t = gaussian(images(1)[0], 0.5), torch.tensor([500])
    for dtype, expected in [(torch.float16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2]:
        assert prior.predict(images(1).to(dtype), t, prior.text([""])).dtype == expected


@pytest.mark.parametrize("t", [100, 500, 900])
def test_o1_sds_mean_and_variance_on_a_gaussian(t: int) -> None:
    """E[e - n] = k(t)(x - mu), per-coordinate variance (alpha^2 c^2 / v)^2; 5 standard errors."""
    c, n = 0.7, 40_000
    mu, x = images(2)
    g = gradient(SDS(cfg=1.0, weight="uniform"), context(x.expand(n, *SHAPE), gaussian(mu, c)), t)
    alpha, sigma = levels(t)
    variance = (alpha**2 * c**2 / (alpha**2 * c**2 + sigma**2)) ** 2
    assert (g.mean(0) - k(t, c) * (x - mu)).abs().max() < 5 * math.sqrt(variance / n)
    assert (g.var(0) - variance).abs().max() < 5 * variance * math.sqrt(2 / n)


def test_o2_sds_on_a_point_mass_has_no_variance() -> None:
    a, x = images(2)
    for t in (20, 500, 980):
        alpha, sigma = levels(t)
        g = gradient(SDS(cfg=1.0, weight="uniform"), context(x.expand(16, *SHAPE), point_mass(a)), t)
        assert torch.allclose(g, (alpha / sigma * (x - a)).expand_as(g), atol=1e-9)


def test_o2_descent_converges_geometrically() -> None:
    a, x = images(2)
    x, objective, t = x[None], SDS(cfg=1.0), 500
    alpha, sigma = levels(t)
    distance = (x - a).norm()
    for step in range(40):
        x = x - gradient(objective, context(x, point_mass(a), seed=step), t)  # w g = sigma alpha (x - a)
        assert torch.allclose((x - a).norm(), distance * (1 - alpha * sigma), rtol=1e-6)
        distance = (x - a).norm()
    assert distance < 1e-10


@pytest.mark.parametrize("t", [200, 500, 800])
def test_o3_csd_is_the_gradient_of_the_implicit_classifier(t: int) -> None:
    """g = -w sigma grad_z log p(y | z), and a step along -g raises log p(y | z)."""
    prior, x = labelled(), images(3, seed=2)
    c = context(x, prior)
    c.conds = {"pos": prior.text(["red"]), "null": prior.text([""])}
    g = gradient(CSD(weight="uniform", negative_end=0.0), c, t)

    def posterior(z: Tensor) -> Tensor:
        return log_density(prior, z, t, [0, 2, 4]) - log_density(prior, z, t, list(range(6)))

    alpha, sigma = levels(t)
    z = alpha * x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(g, -sigma * derivative(posterior, z), atol=1e-8)
    assert (posterior(z - 1e-3 * g) > posterior(z)).all()


def test_o3_csd_vanishes_without_a_preference() -> None:
    prior = labelled()
    c = context(images(2, seed=2), prior)
    c.conds = {"pos": prior.text([""]), "null": prior.text([""])}
    assert gradient(CSD(negative_end=0.0), c, 500).abs().max() == 0


@pytest.mark.parametrize("t", [100, 600])
def test_o4_vsd_state_by_state(t: int) -> None:
    """g = w sigma [(z - alpha mu) / v(c) - (z - alpha m) / v(s)], and zero for every z when q = p."""
    (mu, m, x), c, s = images(3), 0.7, 0.4
    x = x.expand(5, *SHAPE)
    alpha, sigma = levels(t)
    z = alpha * x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    pull = (z - alpha * mu) / (alpha**2 * c**2 + sigma**2) - (z - alpha * m) / (alpha**2 * s**2 + sigma**2)
    objective = VSD(cfg=1.0)
    g = gradient(objective, context(x, gaussian(mu, c), critic=OracleCritic(gaussian(m, s))), t)
    assert torch.allclose(g, sigma**2 * sigma * pull, atol=1e-10)
    g = gradient(objective, context(x, gaussian(mu, c), critic=OracleCritic(gaussian(mu, c))), t)
    assert g.abs().max() == 0


def fit(objective: SDS | VSD, steps: int = 500) -> tuple[float, float]:
    """Mean and spread of x = m + s xi after descending the objective on N(0.5, 0.7^2) from N(-1, 1.5^2)."""
    prior = gaussian(torch.full((1, 1, 1), 0.5, dtype=torch.float64), 0.7)
    theta = torch.tensor([-1.0, 1.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    times = torch.linspace(0.05, 0.95, 128).mul(1000).long()
    for step in range(steps):
        xi = torch.randn(128, 1, 1, 1, generator=generator).double()
        critic = OracleCritic(gaussian(theta[0].view(1, 1, 1), theta[1].item()))
        c = context(theta[0] + theta[1] * xi, prior, critic=critic, seed=step)
        g, _ = distill_gradient(objective, c, times)
        theta = theta - 0.5 * torch.stack([g.mean(), (g * xi).mean()])
    return theta[0].item(), abs(theta[1].item())


def test_o4_vsd_recovers_the_distribution_and_sds_its_mode() -> None:
    assert fit(VSD(cfg=1.0)) == pytest.approx((0.5, 0.7), abs=1e-8)
    mean, spread = fit(SDS(cfg=1.0))
    assert mean == pytest.approx(0.5, abs=0.1) and spread < 0.1


def test_single_particle_critic_is_the_noise() -> None:
    """OBJECTIVES 4.1 item 5: VSD with a perfect single-particle critic is SDS."""
    mu, x = images(2)
    prior, x = gaussian(mu, 0.7), x[None]
    vsd = gradient(VSD(cfg=1.0), context(x, prior, critic=OracleCritic(finite_set(x))), 400)
    assert torch.allclose(vsd, gradient(SDS(cfg=1.0), context(x, prior), 400), atol=1e-12)


def test_cond_rows_choose_their_own_label() -> None:
    prior, z, t = labelled(0.3), images(2, seed=1), torch.tensor([400, 400])
    both = prior.predict(z, t, Cond.cat([prior.text(["red"]), prior.text(["blue"])]))
    assert torch.allclose(both[:1], prior.predict(z[:1], t[:1], prior.text(["red"])), atol=1e-12)
    assert torch.allclose(both[1:], prior.predict(z[1:], t[1:], prior.text(["blue"])), atol=1e-12)


def test_reference_image_selects_by_distance_and_none_forgets_it() -> None:
    """K(r, a) = exp(-mean((r - a)^2) / (2 b^2)) multiplies the weights; as b -> 0 only the reference remains."""
    a, z, t = images(3), images(2, seed=1), torch.tensor([700, 700])
    prior = MixturePrior(a, torch.full((3,), 0.2).double(), image_bandwidth=0.5)
    reference = prior.decode(a[:2] / 4)  # in gamut: decode clamps
    plain = prior.text(["", ""])
    asked = replace(plain, image=prior.image(reference))
    kernel = (-(a[None] - a[:2, None] / 4).flatten(2).square().mean(-1) / (2 * 0.5**2)).exp()  # (2, 3)
    for row in range(2):
        by_hand = MixturePrior(a, prior.stds, weights=kernel[row])
        expected = by_hand.predict(z[row : row + 1], t[:1], prior.text([""]))
        assert torch.allclose(prior.predict(z, t, asked)[row : row + 1], expected, atol=1e-10)
    nothing = replace(plain, image=prior.image(None).expand(2, -1, -1))
    assert torch.equal(prior.predict(z, t, nothing), prior.predict(z, t, plain))
    sharp = MixturePrior(a, prior.stds, image_bandwidth=0.01)
    one = sharp.predict(z, t, replace(plain, image=sharp.image(sharp.decode(a[2:])).expand(2, -1, -1)))
    nearest = int((a - sharp.encode(sharp.decode(a[2:]))).square().flatten(1).mean(1).argmin())
    assert torch.allclose(one, gaussian(a[nearest], 0.2).predict(z, t, plain), atol=1e-10)
