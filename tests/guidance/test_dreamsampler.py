"""DreamSampler in closed form on Gaussians, and as the reverse sampling of one image (O19)."""

from __future__ import annotations

import pytest
import torch
from guidance_helpers import context, gaussians
from path_helpers import MU, STD, T, eps, images, ladder, level, mixed, noised, ratio, walk

from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.guidance.base import Context, View
from sds3d.guidance.dreamsampler import DreamSampler
from sds3d.guidance.step import distill_gradient


def scene(x: torch.Tensor) -> Context:
    """Of a step whose x comes from cameras."""
    c = context(x, gaussians(STD))
    c.view = View(orbit(len(x)), torch.ones(len(x), 1, 2, 2), torch.ones(len(x), 1, 2, 2))
    return c


def expected(x: torch.Tensor, t: int, noise: torch.Tensor, gamma: float = 0.2) -> torch.Tensor:
    alpha, _ = level(t)
    return ratio(t) * (eps(noised(x, t, noise), t, mixed(alpha**2 * gamma)) - noise)


def inverted(x: torch.Tensor, t: int) -> torch.Tensor:
    alpha, sigma = level(t)
    return (walk(x, ladder(0, t, 100), MU["null"]) - alpha * x) / sigma


def test_published_defaults_view_by_view_on_a_scene() -> None:
    """Every step starts with an inversion: the views are new."""
    x, c = images(), scene(images())
    for _ in range(2):
        g, stats = distill_gradient(DreamSampler(), c, T)
        for i, t in enumerate(T.tolist()):
            assert torch.allclose(g[i], expected(x[i], t, inverted(x[i], t)), atol=1e-7)
        assert stats.nfe == 10 + 2


def test_one_image_goes_on_with_the_unguided_prediction_of_the_step_before() -> None:
    c, gamma = context(images(1), gaussians(STD)), 0.4
    noise = inverted(c.x[0], 700)
    for t, nfe in ((700, 7 + 2), (690, 2), (400, 2)):
        g, stats = distill_gradient(DreamSampler(gamma=gamma), c, torch.tensor([t]))
        assert torch.allclose(g[0], expected(c.x[0], t, noise, gamma), atol=1e-9)
        assert stats.nfe == nfe
        noise = eps(noised(c.x[0], t, noise), t, MU["null"])
        c.x = c.x - g


def round_trip(gamma: float, step: int) -> torch.Tensor:
    """The image after an inversion to t = 600 and reverse sampling down, from the first of `images`."""
    c = context(images(1), gaussians(STD))
    for t in range(600, 0, -step):
        c.x = c.x - distill_gradient(DreamSampler(gamma=gamma, step=step / 1000), c, torch.tensor([t]))[0]
    return c.x


def test_o19_without_guidance_the_image_comes_back() -> None:
    """The error of inversion and reconstruction is of first order in the steps."""
    errors = [(round_trip(0.0, step) - images(1)).abs().max().item() for step in (40, 20, 10)]
    assert errors[-1] < 0.1
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert coarse / fine == pytest.approx(2, abs=0.25)


def test_o19_guidance_raises_the_probability_of_the_prompt() -> None:
    """p(prompt | z) of two Gaussians of one width grows along mu_pos - mu_null: exactly where g points away from."""
    plain, moved = round_trip(0.0, 20), round_trip(0.2, 20)
    direction = MU["pos"] - MU["null"]
    shift = ((moved - plain) / direction).flatten()
    assert (shift > 0.05).all() and shift.std() < 1e-9


def test_user_mistakes() -> None:
    for wrong in (0.0, 1.5):
        with pytest.raises(UserError, match="step is a share of T"):
            DreamSampler(step=wrong)
