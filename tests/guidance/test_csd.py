"""CSD: its formula, annealing, cost and O3."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, called, close, combined, images, unrelated

from sds3d.errors import UserError
from sds3d.guidance import CSD, distill_gradient
from sds3d.priors.oracle import MixturePrior


@pytest.mark.parametrize(("progress", "omega"), [(0.0, 0.2), (0.15, 0.4), (0.3, 0.6), (0.9, 0.6)])
def test_formula_and_annealing(progress: float, omega: float) -> None:
    s = Lab().step(CSD(negative_start=0.2, negative_end=0.6, anneal=0.3, weight="sds"), progress=progress)
    null = s.e["null"]
    assert close(s.g, s.state.sigma**2 * ((s.e["pos"] - null) - omega * (s.e["neg"] - null)))
    assert s.cost == (3, 0)


def test_published_defaults() -> None:
    """omega 0 -> 1 over the first half, w = 1; needless calls are left out at both ends."""
    lab = Lab()
    start, middle, late = (lab.step(CSD(), progress=p) for p in (0.0, 0.25, 0.75))
    assert close(start.g, start.e["pos"] - start.e["null"]) and start.cost == (2, 0)
    assert close(middle.g, middle.e["pos"] - 0.5 * middle.e["null"] - 0.5 * middle.e["neg"]) and middle.cost == (3, 0)
    assert close(late.g, late.e["pos"] - late.e["neg"]) and late.cost == (2, 0)
    assert called(CSD(), start) == ["null", "pos"] and called(CSD(), late) == ["neg", "pos"]
    assert CSD().needs() == {"pos", "null", "neg"}


def test_sum_of_the_coefficients_is_zero() -> None:
    s = Lab().step(CSD())
    e = unrelated(s)
    objective = CSD(negative_start=0.3, negative_end=0.3)
    assert close(combined(objective, s, {k: v + 2 for k, v in e.items()}), combined(objective, s, e))


def test_o3_a_step_raises_the_classifiers_log_probability() -> None:
    """g = -sigma grad log p(y | z), here by autograd of the mixture's own densities."""
    means, stds = images(4), torch.tensor([0.3, 0.5, 0.8, 0.4], dtype=torch.float64)
    prior = MixturePrior(means, stds, labels=("red", "blue") * 2)
    lab = Lab(prior=prior)
    c = lab.context()
    c.conds = {"pos": prior.text(["red"]), "null": prior.text([""])}
    s = Lab().step(CSD())
    z = s.state.z.requires_grad_()
    alpha, sigma = s.state.alpha.flatten(1), s.state.sigma.flatten(1)
    v = alpha**2 * stds**2 + sigma**2  # (B, K)
    gaps = z[:, None] - alpha[..., None, None, None] * means
    log = -gaps.square().flatten(2).sum(-1) / (2 * v) - z[0].numel() / 2 * v.log()
    posterior = log[:, ::2].logsumexp(1) - log.logsumexp(1)
    (slope,) = torch.autograd.grad(posterior.sum(), z)
    assert close(distill_gradient(CSD(negative_end=0.0), c, lab.t)[0], -s.state.sigma * slope)


def test_anneal_is_a_share_of_the_run() -> None:
    for bad in (0.0, 1.1):
        with pytest.raises(UserError, match="share of the run"):
            CSD(anneal=bad)
    CSD(anneal=1.0)
