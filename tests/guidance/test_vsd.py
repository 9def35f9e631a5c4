"""VSD: its formula, cost, O4 and O5."""

from __future__ import annotations

import pytest
from objective_lab import Lab, called, close, combined, images, unrelated

from sds3d.guidance import CSD, SDS, VSD, Context, distill_gradient
from sds3d.guidance.critic import OracleCritic
from sds3d.priors.oracle import MixturePrior, finite_set, gaussian


def test_formula_and_cost() -> None:
    s = Lab().step(VSD(cfg=3.0))
    null, pos = s.e["null"], s.e["pos"]
    assert close(s.g, s.state.sigma**2 * (null + 3 * (pos - null) - s.e["critic"]))
    assert s.cost == (2, 1)
    assert VSD().cfg == 7.5 and VSD().weight == "sds" and VSD.critic
    assert VSD().needs() == {"pos", "null", "critic"}


@pytest.mark.parametrize(("scale", "names"), [(1.0, ["critic", "pos"]), (7.5, ["critic", "null", "pos"])])
def test_calls(scale: float, names: list[str]) -> None:
    assert called(VSD(cfg=scale), Lab().step(VSD(cfg=scale))) == names


def test_o5_reduces_to_csd_and_sds() -> None:
    s = Lab().step(VSD())
    e = unrelated(s)
    csd = combined(CSD(negative_end=0.0), s, e)
    assert close(combined(VSD(cfg=7.5), s, e | {"critic": e["null"]}), 7.5 * csd)
    assert close(combined(VSD(cfg=7.5), s, e | {"critic": s.n}), combined(SDS(cfg=7.5), s, e))


def critic_step(prior: MixturePrior, critic: MixturePrior, lab: Lab) -> Context:
    c = lab.context()
    c.conds = {name: prior.text([""]) for name in ("pos", "null", "critic")}
    c.prior, c.critic = prior, OracleCritic(critic)
    return c


def test_o4_pulls_from_the_renders_to_the_prior() -> None:
    """g = w sigma [(z - alpha mu) / v(0.7) - (z - alpha m) / v(0.4)], zero when the renders are the prior's."""
    lab, (mu, m) = Lab(), images(2)
    s = lab.step(VSD())
    (z, alpha, sigma) = s.state.z, s.state.alpha, s.state.sigma
    pull = (z - alpha * mu) / (alpha**2 * 0.7**2 + sigma**2) - (z - alpha * m) / (alpha**2 * 0.4**2 + sigma**2)
    c = critic_step(gaussian(mu, 0.7), gaussian(m, 0.4), lab)
    assert close(distill_gradient(VSD(cfg=1.0), c, lab.t)[0], sigma**2 * sigma * pull)
    c = critic_step(gaussian(mu, 0.7), gaussian(mu, 0.7), lab)
    assert distill_gradient(VSD(cfg=1.0), c, lab.t)[0].abs().max() == 0


def test_a_perfect_critic_of_one_particle_is_the_noise() -> None:
    x, mu = images(1, seed=1), images(1)[0]
    lab = Lab(prior=gaussian(mu, 0.7), x=x.expand(4, *x.shape[1:]))
    g = distill_gradient(VSD(cfg=1.0), critic_step(lab.prior, finite_set(x), lab), lab.t)[0]
    assert close(g, lab.step(SDS(cfg=1.0)).g)
