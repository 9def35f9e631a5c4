"""How the number of Gaussians changes: the default strategy's thresholds and resets, MCMC's relocation and noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from test_splat_scene import Fit, assert_in_step, scene_of, trained
from torch import Tensor

from sds3d.camera import orbit
from sds3d.errors import UserError
from sds3d.render.projection import rotation_matrices
from sds3d.render.splats import render_splats
from sds3d.scenes import mcmc
from sds3d.scenes.splats import SplatScene
from sds3d.scenes.splats_config import DefaultConfig, McmcConfig, SplatsConfig
from sds3d.scenes.strategy import adaptive, effective, raw, reset_opacities
from sds3d.streams import stream

BASE = SplatsConfig(count=400, cap=500)


@pytest.mark.parametrize(
    "bad",
    [
        {"absgrad": True, "strategy": "mcmc"},
        {"absgrad": True, "surfels": True},
        {"surfels": True, "backend": "numba"},
        {"penalty_normal": (0.0, 0.1)},
        {"sh": 4},
        {"box": (0.1, 0.0, 0.1)},
        {"mcmc": McmcConfig(dead=0.0)},
    ],
)
def test_options_that_would_do_nothing_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UserError, match="splats"):
        SplatsConfig(**bad)  # type: ignore[arg-type]


def test_surfels_say_that_they_need_cuda() -> None:
    with pytest.raises(UserError, match="splats.surfels needs gsplat on a CUDA device"):
        SplatScene.create(SplatsConfig(surfels=True), "cpu", stream(0, "init"))


def test_filter_and_its_inverse() -> None:
    scales = torch.tensor([[0.03, 0.1, 1.0]])
    torch.testing.assert_close(raw(effective(scales, 0.025), 0.025), scales)
    assert 0 < float(raw(torch.tensor(0.01), 0.025)) < 0.001


@pytest.mark.parametrize("n", [1, 2, 3, 10, 51])
@pytest.mark.parametrize("opacity", [0.02, 0.5, 0.95])
def test_relocation_keeps_what_is_seen(n: int, opacity: float) -> None:
    """n Gaussians in one place, drawn one over the other: their opacity in the middle is the old one's exactly, and the
    integral along a line through it is too (what eq. 9 is derived from), to 1e-5 of it; by quadrature."""
    scale = 0.07
    each, shrunk = mcmc.relocated(torch.tensor([opacity]), torch.full((1, 3), scale), torch.tensor([n]))
    assert 1 - (1 - each.double().item()) ** n == pytest.approx(opacity, rel=1e-5)
    x = torch.linspace(-10 * scale, 10 * scale, 20001, dtype=torch.float64)
    together = 1 - (1 - each.double() * torch.exp(-0.5 * (x / shrunk[0, 0]) ** 2)) ** n
    before = opacity * torch.exp(-0.5 * (x / scale) ** 2)
    assert torch.trapezoid(together, x).item() == pytest.approx(torch.trapezoid(before, x).item(), rel=1e-5)
    if n == 1:
        assert (shrunk == scale).all()
    assert shrunk[0, 0] <= scale * (1 + 1e-6)


def test_relocation_keeps_the_picture() -> None:
    """Four Gaussians in place of one, drawn by the renderer: the picture changes by less than a tenth of what it does
    with four of the old opacity, and the middle stays."""

    def alpha(count: int, opacity: float, scale: float) -> Tensor:
        return render_splats(
            torch.zeros(count, 3), torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1), torch.full((count, 3), scale),
            torch.full((count,), opacity), torch.ones(count, 3), orbit(1), 33, torch.zeros(1, 3),
        ).alpha  # fmt: skip

    each, shrunk = mcmc.relocated(torch.tensor([0.8]), torch.full((1, 3), 0.25), torch.tensor([4]))
    one, four, naive = alpha(1, 0.8, 0.25), alpha(4, each.item(), shrunk[0, 0].item()), alpha(4, 0.8, 0.25)
    assert four[0, 0, 16, 16].item() == pytest.approx(one[0, 0, 16, 16].item(), abs=1e-3)
    assert (four - one).abs().mean() < 0.1 * (naive - one).abs().mean()


def test_the_dead_move_to_the_living() -> None:
    """Their rows become those of living ones, whose opacity and size shrink; Adam forgets both; the number grows by its
    share up to the cap."""
    config = replace(BASE, strategy="mcmc", mcmc=McmcConfig(growth=0.05), smooth=0.0)
    scene = scene_of(config)
    with torch.no_grad():
        scene.params["opacities"][:30] = torch.tensor(0.01).logit()
        scene.params["opacities"][30:] = torch.tensor(0.5).logit()
    before = {name: p.detach().clone() for name, p in scene.params.items()}
    optimizers = trained(scene)
    mcmc.refine(scene.params, optimizers.by_name, scene.statistics, config, stream(0, "scene"))
    assert len(scene) == 420
    assert_in_step(scene, optimizers)
    opacities, scales = scene.params["opacities"].sigmoid(), scene.params["scales"].exp()
    assert opacities.min() > 0.05
    distance = (scene.params["means"][:, None] - before["means"][30:]).norm(dim=-1)
    source = distance.argmin(1)
    assert distance.min(1).values.max() == 0  # each sits on a living one
    copies = torch.bincount(source, minlength=370)
    assert int(copies.sum()) == 420
    alone = copies[source] == 1
    assert torch.equal(opacities[alone], torch.full_like(opacities[alone], 0.5).logit().sigmoid())
    assert (opacities[~alone] < 0.45).all() and (scales[~alone] < before["scales"].exp().max()).all()
    moments = optimizers.by_name["means"].state[scene.params["means"]]["exp_avg"]
    assert not moments[~alone].any() and moments[alone].any()
    for _ in range(9):
        mcmc.refine(scene.params, optimizers.by_name, scene.statistics, config, stream(0, "scene"))
    assert len(scene) == config.cap


def test_noise_has_the_shape_of_the_gaussian_and_spares_the_opaque() -> None:
    """Covariance of the moves is (rate Sigma)^2 (within 6 % of its norm from 20,000 draws); opacity 0.5 stays put."""
    config = replace(BASE, count=20_000, cap=20_000, smooth=0.0)
    scene = scene_of(config)
    quat, scale = torch.tensor([0.9, 0.3, -0.2, 0.1]), torch.tensor([0.3, 0.1, 0.05])
    with torch.no_grad():
        scene.params["means"].zero_()
        scene.params["quats"].copy_(quat)
        scene.params["scales"].copy_(scale.log())
        scene.params["opacities"].fill_(-9.0)
    optimizers = trained(scene)
    lr = optimizers.by_name["means"].param_groups[0]["lr"]
    scene.params["means"].data.zero_()
    mcmc.explore(scene.params, optimizers.by_name, config, stream(0, "scene"))
    moved = scene.params["means"].detach() / (config.mcmc.noise * lr * torch.sigmoid(torch.tensor(100 * 0.05)))
    rotation = rotation_matrices(quat)
    sigma = rotation @ torch.diag(scale**2) @ rotation.T
    covariance = moved.T @ moved / len(moved)
    assert (covariance - sigma @ sigma).norm() < 0.06 * (sigma @ sigma).norm()
    scene.params["means"].data.zero_()
    scene.params["opacities"].data.zero_()
    mcmc.explore(scene.params, optimizers.by_name, config, stream(0, "scene"))
    assert scene.params["means"].norm(dim=-1).max() < 1e-12


def test_mcmc_adds_its_regulariser() -> None:
    """lambda_o sum o + lambda_Sigma sum of mean scales (eq. 10), the first on top of the scene's own."""
    config = replace(
        BASE, strategy="mcmc", penalty_opacity=(0.0, 0.2), penalty_size=(0.0, 0.4), mcmc=McmcConfig(opacity=0.2)
    )
    scene = scene_of(config)
    frame = scene.render(orbit(1), 8, torch.zeros(1, 3))
    scales = scene.splats()["scales"]
    expected = 0.3 * 400 * config.opacity + 0.2 * float(scales.mean(-1).sum().detach())
    assert scene.regulariser(frame, 0.5).item() == pytest.approx(expected, rel=1e-5)
    plain = scene_of(replace(config, strategy="share")).regulariser(frame, 0.5).item()
    assert expected - plain == pytest.approx(0.2 * 400 * config.opacity, rel=1e-4)


@pytest.mark.parametrize("revised", [False, True])
def test_default_strategy_grows_beyond_its_threshold(revised: bool) -> None:
    config = replace(BASE, strategy="default", default=DefaultConfig(gradient=1.0, revised=revised), prune_scale=1.0)
    scene = scene_of(config)
    with torch.no_grad():
        scene.params["scales"][:] = math.log(0.1)
        scene.params["opacities"][:] = torch.tensor(0.6).logit()
    optimizers = trained(scene)
    pull = torch.full((400,), 0.9)
    pull[:25] = 1.1
    scene.statistics.rows.update(grad2d=2 * pull, count=torch.full((400,), 2.0))
    adaptive(scene.params, optimizers.by_name, scene.statistics, config, stream(0, "scene"))
    assert len(scene) == 425
    assert_in_step(scene, optimizers)
    halves = scene.params["opacities"][-50:].sigmoid()
    assert torch.allclose(halves, torch.tensor(1 - math.sqrt(0.4) if revised else 0.6), atol=1e-5)
    scene.statistics.rows.update(grad2d=torch.arange(425.0) + 2, count=torch.ones(425))
    adaptive(scene.params, optimizers.by_name, scene.statistics, config, stream(0, "scene"))
    assert len(scene) == config.cap


def test_default_threshold_does_not_depend_on_views_or_resolution() -> None:
    """The same scene seen at twice the size, and by each camera twice, is counted alike within 10 %: losses are sums
    over pixels of the mean over views, here with four times the pixels of a quarter of the weight."""
    counted = []
    for size, repeats in ((32, 1), (64, 1), (32, 2)):
        scene = scene_of(replace(BASE, strategy="default"))
        ring = orbit(3)
        cameras = ring[torch.arange(3).repeat(repeats)]
        frame = scene.render(cameras, size, torch.zeros(len(cameras), 3))
        ((frame.rgb - 0.3).square().sum() * (32 / size) ** 2 / len(cameras)).backward()
        scene.after_backward(0, 100, frame, {})
        counted.append(scene.statistics.mean())
    assert (counted[1] - counted[0]).norm() < 0.1 * counted[0].norm()
    assert (counted[2] - counted[0]).norm() < 1e-4 * counted[0].norm()


def test_reset_leaves_no_opacity_above_twice_the_limit() -> None:
    scene = scene_of(replace(BASE, opacity=0.7))
    with torch.no_grad():
        scene.params["opacities"][:5] = -6.0
    optimizers = trained(scene)
    reset_opacities(scene.params, optimizers.by_name, BASE)
    opacities = scene.params["opacities"].sigmoid()
    assert torch.allclose(opacities[5:], torch.tensor(0.1)) and (scene.params["opacities"][:5] == -6.0).all()
    assert_in_step(scene, optimizers)
    assert not optimizers.by_name["opacities"].state[scene.params["opacities"]]["exp_avg"].any()


@pytest.mark.parametrize("strategy", ["default", "mcmc"])
def test_each_strategy_resumes_to_the_same_bytes(strategy: Literal["default", "mcmc"]) -> None:
    config = SplatsConfig(
        count=200,
        cap=300,
        refine_every=5,
        strategy=strategy,
        sh=1,
        default=DefaultConfig(reset_every=0.3),
    )
    whole = Fit(config, 24).run(13)
    state = {k: v.clone() for k, v in whole.scene.state_dict().items()}
    moments = {k: v.clone() for k, v in whole.optimizers.state_dict().items()}
    whole.run(24)
    resumed = Fit(config, 24)
    resumed.scene.load_state_dict(state)
    resumed.optimizers = type(whole.optimizers)(resumed.scene.parameters())
    resumed.optimizers.load_state_dict(moments)
    resumed.step = 13
    resumed.run(24)
    assert all(torch.equal(p, resumed.scene.params[name]) for name, p in whole.scene.params.items())


@pytest.mark.parametrize(
    "config",
    [
        SplatsConfig(count=800, cap=1600, refine_every=25, strategy="mcmc", mcmc=McmcConfig(growth=0.2)),
        SplatsConfig(count=800, cap=1600, refine_every=25, strategy="default", default=DefaultConfig(gradient=0.2)),
        SplatsConfig(count=800, cap=1600, refine_every=25, absgrad=True),
    ],
    ids=["mcmc", "default", "absgrad"],
)
def test_each_strategy_fits_a_known_object(config: SplatsConfig) -> None:
    """A sphere and a box from 16 pictures: 22 dB in 120 steps, with more Gaussians than at the start."""
    fit = Fit(replace(config, clean_at=1.0), 120)
    sizes = []
    for step in range(1, 121):
        fit.run(step)
        sizes.append(len(fit.scene))
    assert max(sizes) > 900
    assert fit.psnr() > 22.0


def test_harmonics_come_in_by_degree_and_show_what_depends_on_the_view() -> None:
    """A ball that is red from the front and blue from behind: harmonics learn it, one colour for all sides cannot."""
    cameras = orbit(4, 0.0)
    front = torch.tensor([[0.9, 0.1, 0.1], [0.5, 0.1, 0.5], [0.1, 0.1, 0.9], [0.5, 0.1, 0.5]])
    errors = {}
    for sh in (0, 2):
        config = SplatsConfig(
            count=150, cap=150, radius=0.4, opacity=0.8, sh=sh, lr_sh=(5e-2, 1e-2), penalty_size=(0, 0)
        )
        scene = scene_of(config)
        adams = {g.name: torch.optim.Adam(g.params, lr=g.lr) for g in scene.parameters() if g.name in ("colors", "sh")}
        degrees = []
        for step in range(40):
            frame = scene.render(cameras, 16, torch.zeros(4, 3))
            seen = frame.alpha.detach() > 0.8
            loss = ((frame.rgb - front[:, :, None, None]).square() * seen).sum() / seen.sum()
            for adam in adams.values():
                adam.zero_grad()
            loss.backward()
            for adam in adams.values():
                adam.step()
            scene.progress = (step + 1) / 40
            degrees.append(scene.degree)
        errors[sh] = float(loss.detach())
    assert degrees[:9] == [0] * 9 and degrees[9] == 1 and degrees[19:] == [2] * 21
    assert errors[2] < 0.25 * errors[0]


def test_harmonics_render_as_the_file_format_says() -> None:
    """The colour of one opaque Gaussian from several sides is 0.5 + f_dc Y_0 + sum f_rest Y(d), cut at 0, with d from
    the camera to the Gaussian."""
    from gsplat.cuda._torch_impl import _spherical_harmonics

    scene = scene_of(SplatsConfig(count=1, cap=1, opacity=0.9, sh=3, sh_until=0.0))
    with torch.no_grad():
        scene.params["means"].zero_()
        scene.params["scales"].fill_(math.log(0.5))
        scene.params["opacities"].fill_(20.0)
        scene.params["sh"].copy_(0.3 * torch.randn(1, 15, 3, generator=stream(0, "sh")))
    cameras = orbit(5, 30.0)
    with torch.no_grad():
        middle = scene.render(cameras, 9, torch.zeros(5, 3)).rgb[:, :, 4, 4] / 0.999  # the highest alpha
    constant = (scene.splats()["colors"] - 0.5) / 0.28209479177387814
    stored = torch.cat([constant[:, None], scene.splats()["sh"]], 1).expand(5, 16, 3)
    expected = (_spherical_harmonics(3, cameras.forward, stored) + 0.5).clamp_min(0)
    torch.testing.assert_close(middle, expected.detach(), atol=2e-3, rtol=0)


def test_harmonics_of_another_degree_are_padded_or_cut() -> None:
    low, high = (scene_of(SplatsConfig(count=20, cap=20, sh=sh)) for sh in (1, 3))
    low.params["sh"].data.normal_(generator=stream(0, "sh"))
    high.load_state_dict(low.state_dict())
    assert torch.equal(high.params["sh"][:, :3], low.params["sh"]) and not high.params["sh"][:, 3:].any()
    plain = scene_of(SplatsConfig(count=20, cap=20))
    high.load_state_dict(plain.state_dict())
    assert high.params["sh"].shape == (20, 15, 3) and not high.params["sh"].any()
