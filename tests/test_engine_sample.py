"""Sampling from a prior."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_helpers import ball_prior, disc
from torch import Tensor

from sds3d.bench.oracle import known_object
from sds3d.camera import orbit
from sds3d.engine.sample import imagine, sample
from sds3d.errors import UserError
from sds3d.guidance.paths import ddim_step
from sds3d.priors.oracle import finite_set, gaussian
from sds3d.priors.oracle_source import ViewsPrior
from sds3d.schedule import cosine
from sds3d.streams import stream

SCHEDULE = cosine()


def test_ddim_follows_the_closed_form_ode_of_a_gaussian() -> None:
    """OBJECTIVES 4.1 item 7: z_s = alpha_s mu + sqrt(v_s / v_t) (z_t - alpha_t mu)."""
    mean, std = torch.full((1, 2, 2), 0.3, dtype=torch.float64), 0.5
    prior = gaussian(mean, std)
    z = torch.randn(4, 1, 2, 2, generator=stream(0, "z"), dtype=torch.float64)
    levels = torch.linspace(900, 100, 801).long()
    current = z
    for a, b in zip(levels[:-1], levels[1:], strict=True):
        eps = prior.predict(current, a.expand(4), prior.text([""]).repeat(4))
        current = ddim_step(current, eps, a.expand(4), b.expand(4), SCHEDULE, 0.0, stream(0, "x"))
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (SCHEDULE.alpha_sigma(torch.tensor([t]), z) for t in (900, 100))
    v_t, v_s = (a**2 * std**2 + s**2 for a, s in ((alpha_t, sigma_t), (alpha_s, sigma_s)))
    exact = alpha_s * mean + (v_s / v_t).sqrt() * (z - alpha_t * mean)
    assert (current - exact).abs().max() < 5e-3  # first order in 800 steps


def test_ancestral_steps_keep_the_marginal() -> None:
    """From x_t ~ N(0, v_t) the step's result has variance v_s for any eta (to the step's discretisation)."""
    prior = gaussian(torch.zeros(1, 1, 1, dtype=torch.float64), 0.7)
    t, s = torch.tensor(500), torch.tensor(495)
    n = 40_000
    v = [float(a**2 * 0.49 + g**2) for a, g in (SCHEDULE.alpha_sigma(k[None], torch.zeros(1, 1)) for k in (t, s))]
    z = v[0] ** 0.5 * torch.randn(n, 1, 1, 1, generator=stream(1, "z"), dtype=torch.float64)
    eps = prior.predict(z, t.expand(n), prior.text([""]).repeat(n))
    for eta in (0.0, 0.5, 1.0):
        out = ddim_step(z, eps, t.expand(n), s.expand(n), SCHEDULE, eta, stream(2, "x"))
        assert abs(out.var() / v[1] - 1) < 0.03, eta  # 5 standard errors of a variance from 40,000 draws are 0.035


def test_samples_of_a_finite_set_are_its_members() -> None:
    prior = ball_prior()
    noise = torch.randn(6, 3, 16, 16, generator=stream(3, "n"))
    conds = prior.text(["a blue ball"]).repeat(6), prior.text([""]).repeat(6)
    for eta in (0.0, 1.0):
        x = sample(prior, *conds, noise, stream(4, "x"), steps=30, cfg=1.0, eta=eta)
        assert (x - disc((0.1, 0.1, 0.9))).abs().max() < 0.05
    free = sample(prior, conds[1], conds[1], noise, stream(4, "x"), steps=30, cfg=1.0)
    assert all(min((x - disc(c)).abs().max() for c in ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9))) < 0.05 for x in free)


def test_rows_share_their_noise_across_views_and_differ_between_rows() -> None:
    prior = gaussian(torch.zeros(3, 16, 16), 1.0)
    images = imagine(prior, "anything", views=3, rows=2, seed=5, steps=5, cfg=1.0)
    assert images.shape == (2, 3, 3, 16, 16)
    assert torch.equal(images[0, 0], images[0, 1]) and not torch.equal(images[0, 0], images[1, 0])
    assert torch.equal(images, imagine(prior, "anything", views=3, rows=2, seed=5, steps=5, cfg=1.0))


def test_the_camera_has_guidance_of_its_own() -> None:
    """One step from T - 1 by hand: e = e_null + s (e_cond - e_null) + w (e_cond - e_unseen)."""
    prior = ViewsPrior(known_object(), spread=0.3, size=16)
    noise = torch.randn(4, 3, 16, 16, generator=stream(6, "n"))
    asked, unseen = prior.text([""] * 4).with_background(torch.ones(4)), prior.text([""] * 4)
    unseen = unseen.with_background(torch.ones(4))
    cond = asked.with_camera(orbit(4).angles)
    t = torch.full((4,), prior.schedule.steps - 1)
    e_cond, e_unseen = prior.predict(noise, t, cond), prior.predict(noise, t, unseen)
    alpha, sigma = prior.schedule.alpha_sigma(t, noise)
    for scale, weight in ((1.0, 0.0), (1.0, 0.7), (2.0, 0.5)):
        e = e_unseen + scale * (e_cond - e_unseen) + weight * (e_cond - e_unseen)
        x = sample(prior, cond, unseen, noise, stream(7, "x"), 1, scale, lacking=[(unseen, weight)])
        torch.testing.assert_close(x, (noise - sigma * e) / alpha, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="takes no camera"):
        imagine(ball_prior(), "a blue ball", camera_cfg=0.5)


def test_a_picture_has_a_scale_of_its_own() -> None:
    """One step: x0 is linear in eps, so where no text is read it is x0(none) + a (x0(picture) - x0(none))."""
    red, blue = disc((0.9, 0.1, 0.1)), disc((0.1, 0.1, 0.9))
    prior = finite_set(torch.stack([red, blue]))
    blue = (blue + 1) / 2

    def drawn(**told: Any) -> Tensor:
        return imagine(prior, "a ball", 1, 1, seed=5, steps=1, cfg=1.0, **told)[0, 0]

    none = drawn()
    assert (none - blue).abs().max() > 0.1
    for scale in (0.0, 0.4, 1.0):
        seen = drawn(reference=blue[None], image_scale=scale)
        torch.testing.assert_close(seen, none + scale * (blue - none), atol=1e-3, rtol=0)
