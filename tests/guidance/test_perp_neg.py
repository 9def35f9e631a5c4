"""Perp-Neg as an option of every guided objective (OBJECTIVES O22)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from guidance_helpers import CONDS, SHAPE, context, gradient
from torch import Tensor

from sds3d.camera import Cameras, fit_distance
from sds3d.guidance import CSD, SDS, Context, View, distill_gradient
from sds3d.guidance.perp_neg import NEGATIVES, repelled, view_weights
from sds3d.priors.oracle import MixturePrior
from sds3d.schedule import cosine


def random(seed: int, n: int = 3) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cameras(azimuths: list[float], elevation: float = 0.0) -> Cameras:
    n = len(azimuths)
    fov = torch.full((n,), 40.0)
    return Cameras(torch.tensor(azimuths), torch.full((n,), elevation), fov, fit_distance(fov))


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def test_projection_on_the_prompt_is_kept_and_parallel_negatives_do_nothing() -> None:
    delta, across = random(0), random(1)
    weights = {"a": torch.tensor([-2.0, -0.5, -1.0]).double().view(-1, 1, 1, 1)}
    out = repelled(delta, {"a": across}, weights)
    assert torch.allclose(dot(out, delta), dot(delta, delta), atol=1e-12)
    assert (dot(out - delta, across) < -0.1).all()  # away from the negative
    assert torch.allclose(repelled(delta, {"a": -3 * delta}, weights), delta, atol=1e-12)
    by_hand = across[0] - (across[0] * delta[0]).sum() / delta[0].square().sum() * delta[0]
    assert torch.allclose(out[0], delta[0] - 2 * by_hand, atol=1e-12)


def test_what_is_added_depends_on_the_direction_of_the_prompt_not_its_length() -> None:
    delta, across, weights = random(0), random(1), {"a": torch.full((3, 1, 1, 1), -1.0).double()}
    added = repelled(delta, {"a": across}, weights) - delta
    assert torch.allclose(repelled(5 * delta, {"a": across}, weights) - 5 * delta, added, atol=1e-12)
    nothing = torch.zeros_like(delta)
    assert torch.allclose(repelled(nothing, {"a": across}, weights), -across)  # no division by zero


@pytest.mark.parametrize(
    ("azimuth", "front", "side"),
    [
        (0.0, 0.0, 4 - 2.426),
        (45.0, 4 * math.exp(-0.25) - 2.426, 4 * math.exp(-0.25) - 2.426),
        (90.0, math.exp(-0.5) + 0.967, 0.0),
        (-90.0, math.exp(-0.5) + 0.967, 0.0),
        (135.0, math.exp(-0.25) + 0.967, math.exp(-0.25) - 0.606),
        (180.0, 1.967, 0.394),
        (300.0, 4 * math.exp(-1 / 6) - 2.426, 4 * math.exp(-1 / 3) - 2.426),
    ],
)
def test_published_weights_by_azimuth(azimuth: float, front: float, side: float) -> None:
    """-(a exp(-b r) + c): (4, .5, -2.426) between front and side, (1, .5, .967) and (1, .5, -.606) towards the back."""
    weights = view_weights(cameras([azimuth]))
    assert weights["view:front"].item() == pytest.approx(-front, abs=1e-3)
    assert weights["view:side"].item() == pytest.approx(-side, abs=1e-3)


def test_weights_are_continuous_and_nothing_is_wrong_from_above() -> None:
    near = view_weights(cameras([89.999, 90.001, -179.999, 179.999]))
    for w in near.values():
        assert w[0].item() == pytest.approx(w[1].item(), abs=2e-3)
        assert w[2].item() == pytest.approx(w[3].item(), abs=1e-4)
    assert all(bool((w == 0).all()) for w in view_weights(cameras([0.0, 180.0], elevation=70.0)).values())


NAMES = (*CONDS, *NEGATIVES)
MU = dict(zip(NAMES, random(3, len(NAMES)), strict=True))


def views(azimuths: list[float]) -> Context:
    """Equal Gaussians, one per condition: delta_a = k(t) (mu_null - mu_a) whatever the noise."""
    prior = MixturePrior(torch.stack(list(MU.values())), torch.full((len(NAMES),), 0.7).double(), labels=NAMES)
    n = len(azimuths)
    x = random(4, n)
    conds = {name: prior.text([name] * n) for name in NAMES}
    blank = torch.ones(n, 1, 2, 2)
    return replace(context(x, prior), conds=conds, view=View(cameras(azimuths), blank, blank))


def test_every_guided_objective_heeds_it() -> None:
    t, azimuths = 400, [30.0, 200.0]
    bar = cosine().alphas_cumprod[t].item()
    k = math.sqrt(bar * (1 - bar)) / (bar * 0.49 + 1 - bar)
    delta = {name: k * (MU["null"] - MU[name]) for name in NAMES}
    plain = gradient(SDS(cfg=5.0, weight="uniform"), views(azimuths), t)
    pushed = gradient(SDS(cfg=5.0, weight="uniform", perp_neg=0.5), views(azimuths), t)
    weights = view_weights(cameras(azimuths))
    expected = torch.zeros_like(plain)
    for name in NEGATIVES:
        across = delta[name] - (delta[name] * delta["pos"]).sum() / delta["pos"].square().sum() * delta["pos"]
        expected = expected + 5.0 * 0.5 * weights[name] * across
    assert torch.allclose(pushed - plain, expected, atol=1e-10)
    assert expected.abs().max() > 0.1


def test_cost_and_needs() -> None:
    objective, t = SDS(cfg=5.0, perp_neg=1.0), torch.tensor([400])
    assert objective.needs() == {"pos", "null", *NEGATIVES}
    assert distill_gradient(objective, views([0.0]), t)[1].nfe == 4
    assert distill_gradient(SDS(cfg=5.0), views([0.0]), t)[1].nfe == 2
    assert distill_gradient(SDS(cfg=1.0, perp_neg=1.0), views([0.0]), t)[1].nfe == 1  # no guidance, nothing to repel
    with pytest.raises(ValueError, match="needs Context.view"):
        gradient(objective, replace(views([0.0]), view=None), 400)
    assert CSD().needs() == {"pos", "null", "neg"}
