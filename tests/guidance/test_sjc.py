"""SJC: SDS with weight 1 in variance-exploding coordinates, cost, O1."""

from __future__ import annotations

import math

import pytest
from objective_lab import Lab, called, close, images

from sds3d.guidance import SDS
from sds3d.guidance.sjc import SJC
from sds3d.priors.oracle import gaussian
from sds3d.schedule import cosine


def test_variance_reduced_is_sds_with_weight_one() -> None:
    s = Lab().step(SJC(cfg=3.0))
    null, pos = s.e["null"], s.e["pos"]
    assert close(s.g, null + 3 * (pos - null) - s.n)
    assert close(s.g, Lab().step(SDS(cfg=3.0, weight="uniform")).g)
    assert s.cost == (2, 0)


def test_raw_score_without_the_variance_reduction() -> None:
    s = Lab().step(SJC(cfg=3.0, variance_reduced=False))
    assert close(s.g, s.e["null"] + 3 * (s.e["pos"] - s.e["null"]))


def test_denoiser_of_the_perturbed_render() -> None:
    """g = (x - D(x + lambda n)) / lambda, D(z) = E[x | z] of N(mu, c^2): mu + c^2 / (c^2 + lambda^2) (z - mu)."""
    mu, c = images(1)[0], 0.7
    s = Lab(prior=gaussian(mu, c)).step(SJC(cfg=1.0))
    z = s.c.x + s.lam * s.n
    denoised = mu + c**2 / (c**2 + s.lam**2) * (z - mu)
    assert close(s.g, (s.c.x - denoised) / s.lam)


def test_published_defaults_and_calls() -> None:
    assert (SJC().cfg, SJC().weight, SJC().variance_reduced) == (101, "uniform", True)
    s = Lab().step(SJC(cfg=1.0))
    assert called(SJC(cfg=1.0), s) == ["pos"] and called(SJC(), s) == ["null", "pos"]


@pytest.mark.parametrize(("reduced", "t"), [(True, 100), (False, 100), (True, 800), (False, 800)])
def test_o1_both_forms_have_the_same_mean(reduced: bool, t: int) -> None:
    """k(t)(x - mu) on a Gaussian, within 5 standard errors of the known noise part b n."""
    mu, x, views, c = images(1)[0], images(1, seed=1), 4000, 0.7
    lab = Lab(prior=gaussian(mu, c), x=x.expand(views, *x.shape[1:]), t=Lab().t.new_full((views,), t))
    g = lab.step(SJC(cfg=1.0, variance_reduced=reduced)).g
    bar = cosine().alphas_cumprod[t].item()
    v = bar * c**2 + 1 - bar
    b = (1 - bar) / v - reduced
    assert (g.mean(0) - math.sqrt(bar * (1 - bar)) / v * (x[0] - mu)).abs().max() < 5 * abs(b) / math.sqrt(views)
    assert (g.var(0) - b**2).abs().max() < 5 * b**2 * math.sqrt(2 / views)
