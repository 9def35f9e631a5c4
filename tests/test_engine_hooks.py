"""What an objective may do beside its gradient on x: a loss on the image, a loss on the geometry."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from engine_helpers import NetworkPrior, ball_prior, settings
from torch import Tensor

from sds3d.camera import orbit
from sds3d.engine.distill import Distiller, distill, prepare
from sds3d.errors import UserError
from sds3d.guidance import SDS, Context, State, distill_gradient
from sds3d.guidance.step import image_gradient, surrogate
from sds3d.priors.base import Prior
from sds3d.streams import stream

T = torch.tensor([100, 400, 700, 900])


def context(prior: Any) -> tuple[Context, Tensor]:
    rgb = torch.rand(4, 3, 16, 16, generator=stream(0, "rgb"), dtype=torch.float64)
    cond = prior.text(["red"]).repeat(4)
    return Context(prior.encode(rgb), {"pos": cond, "null": cond}, prior, stream(0, "noise")), rgb


@pytest.mark.parametrize("weight", ["sds", "lambda", "uniform"])
def test_the_image_twin_is_the_difference_to_the_decoded_prediction(weight: str) -> None:
    """w (alpha / sigma) (I - Dec(x0)), x0 being the prior's own for SDS."""
    prior = ball_prior()
    objective = SDS(cfg=1.0, weight=weight)
    c, rgb = context(prior)
    g, _ = distill_gradient(objective, c, T)
    noise = torch.randn(c.x.shape, generator=stream(0, "noise")).double()
    a, b = prior.schedule.alpha_sigma(T, c.x)
    z = a * c.x + b * noise
    x0 = (z - b * prior.predict(z, T, c.conds["pos"])) / a
    w = {"sds": b**2, "lambda": b / a, "uniform": torch.ones_like(b)}[weight]
    expected = w * a / b * (rgb - prior.decode(x0))
    assert torch.allclose(image_gradient(objective, c, g, T, rgb), expected, atol=1e-9)


def test_for_pixels_it_is_a_quarter_of_the_latent_gradient_taken_to_the_image() -> None:
    """x = 2 I - 1 gives one factor 2 in x - x0 and one in the chain rule; without clamping that is all."""
    prior = ball_prior()
    c, rgb = context(prior)
    g, _ = distill_gradient(SDS(cfg=1.0), c, T)
    twin = image_gradient(SDS(cfg=1.0), c, g, T, rgb)
    rgb.requires_grad_()
    (chained,) = torch.autograd.grad(len(rgb) * surrogate(prior.encode(rgb), g), rgb)
    assert torch.allclose(4 * twin, chained, atol=1e-9)


class Counting:
    """A prior that counts decodings."""

    def __init__(self, prior: Prior) -> None:
        self.prior, self.count = prior, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.prior, name)

    def decode(self, x: Tensor) -> Tensor:
        self.count["decode"] += 1
        return self.prior.decode(x)


def stepped(objective: Any, steps: int = 1, prior: Any = None, **options: Any) -> Distiller:
    run = prepare(settings(steps=20, **options), prior or ball_prior())
    run.objective = replace(run.objective, **objective) if isinstance(objective, dict) else objective
    for record in distill(run):
        assert not record.skipped
        if record.step == steps:
            return run
    raise AssertionError


def test_it_costs_a_decoding_only_where_it_is_on_and_then_moves_the_scene() -> None:
    for weight, decodings in ((0.0, 0), (2.0, 3)):
        prior = Counting(ball_prior())
        run = stepped({"image_weight": weight}, steps=3, prior=prior)
        assert prior.count["decode"] == decodings
        plain = stepped({}, steps=3)
        states = zip(run.scene.state_dict().values(), plain.scene.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in states) is (weight == 0)


def test_weights_are_not_negative() -> None:
    with pytest.raises(UserError, match="image_weight .* must not be negative"):
        SDS(image_weight=-1.0)


class Still(SDS):
    """No gradient on the image."""

    def post(self, g: Tensor, states: Any, c: Context) -> Tensor:
        return torch.zeros_like(g)


class Nearer(Still):
    """The surface is pulled towards the cameras."""

    def geometry_loss(self, g: Tensor, c: Context) -> Tensor:
        assert c.view is not None and not g.any()
        return 100 * c.view.depth[c.view.alpha > 0.5].mean()


@pytest.mark.parametrize("scene", ["splats", "grid"])
def test_a_loss_on_the_geometry_reaches_the_scene(scene: str) -> None:
    """The object swells towards all cameras: the depth falls more than without the loss, and the loss is recorded."""

    def depth(objective: Any) -> float:
        run = stepped(objective, steps=8, scene=scene, splats__refine_every=1000)
        (record,) = [r for r, _ in zip(distill(run), range(1), strict=False)]
        assert record.regulariser is not None and (record.regulariser > 100) is isinstance(objective, Nearer)
        with torch.no_grad():
            frame = run.scene.render(orbit(4), 16, torch.ones(4, 3))
        return float(frame.depth[frame.alpha > 0.5].mean())

    assert depth(Nearer(cfg=1.0)) < depth(Still(cfg=1.0)) - 0.02


def test_a_step_that_knows_how_many_came_before() -> None:
    seen: list[tuple[int, int]] = []

    class Watching(SDS):
        def states(self, c: Context, t: Tensor) -> dict[str, State]:
            seen.append((c.step, c.seed))
            return super().states(c, t)

    stepped(Watching(cfg=1.0), steps=3, prior=NetworkPrior(), seed=5)
    assert seen == [(0, 5), (1, 5), (2, 5)]
