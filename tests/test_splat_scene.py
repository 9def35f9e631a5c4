"""The Gaussian scene: initialisation, densification, pruning, surface, resume, and a fit from images."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sds3d.camera import Cameras, orbit
from sds3d.engine.optim import Optimizers
from sds3d.errors import UserError
from sds3d.render.projection import rotation_matrices
from sds3d.render.splats_field import SplatField
from sds3d.scenes import strategy
from sds3d.scenes.splats import SplatScene, SplatsConfig
from sds3d.scenes.strategy import LEAST, Statistics, clean, islands, refine
from sds3d.scenes.veil import before, unveil, visibility
from sds3d.streams import stream

SIZE = 48
SPHERE, RADIUS = torch.tensor([-0.25, 0.1, 0.0]), 0.45
BOX, HALF = torch.tensor([0.4, -0.2, 0.1]), 0.28
STILL = SplatsConfig(count=400, cap=500, grow=0.1, penalty_size=(0.0, 0.0))


def scene_of(config: SplatsConfig = STILL, seed: int = 0) -> SplatScene:
    return SplatScene.create(config, "cpu", stream(seed, "init"))


def sphere_and_box(cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) colours and (B, 1, H, W) coverage of a sphere coloured by its normals and a red box, by ray
    intersection."""
    origin, direction = cameras.rays(size)
    along = ((origin - SPHERE) * direction).sum(-1)
    within = along.square() - (origin - SPHERE).square().sum(-1) + RADIUS**2
    sphere = torch.where(within > 0, -along - within.clamp_min(0).sqrt(), math.inf)
    planes = torch.stack([(BOX + side * HALF - origin) / direction for side in (-1, 1)])
    enter, leave = planes.amin(0).amax(-1), planes.amax(0).amin(-1)
    box = torch.where(enter < leave, enter, math.inf)
    normal = (origin + sphere[..., None].nan_to_num(posinf=0.0) * direction - SPHERE) / RADIUS
    color = torch.where((sphere < box)[..., None], 0.5 + 0.4 * normal, torch.tensor([0.9, 0.2, 0.1]))
    hit = torch.minimum(sphere, box).isfinite()[..., None]

    def image(v: Tensor) -> Tensor:
        return v.view(len(cameras), size, size, -1).permute(0, 3, 1, 2)

    return image(color * hit), image(hit.float())


def sixteen_views() -> Cameras:
    low, high = orbit(8, 0.0), orbit(8, 35.0, start=22.5)
    return Cameras(
        *(torch.cat([getattr(c, f) for c in (low, high)]) for f in ("azimuth", "elevation", "fov", "distance"))
    )


class Fit:
    """Gaussians fitted to pictures of the sphere and the box, step by step."""

    def __init__(self, config: SplatsConfig, total: int) -> None:
        self.scene, self.total, self.step = scene_of(config), total, 0
        self.optimizers = Optimizers(self.scene.parameters())
        self.cameras = sixteen_views()
        self.color, self.mask = sphere_and_box(self.cameras, SIZE)

    def run(self, until: int) -> Fit:
        for step in range(self.step, until):
            chosen = torch.randperm(16, generator=stream(0, "camera", step))[:4]
            background = torch.rand(4, 3, generator=stream(0, "background", step))
            target = self.color[chosen] + background[:, :, None, None] * (1 - self.mask[chosen])
            frame = self.scene.render(self.cameras[chosen], SIZE, background)
            loss = 0.5 * (frame.rgb - target).square().sum() / 4
            loss = loss + self.scene.regulariser(frame, step / self.total)
            self.optimizers.zero_grad()
            loss.backward()
            self.scene.after_backward(step, self.total, frame, self.optimizers.by_name)
            self.optimizers.step(step / self.total)
            generator = stream(0, "scene", step)
            self.scene.after_step(step, self.total, frame, self.optimizers.by_name, generator)
        self.step = until
        return self

    @torch.no_grad()
    def psnr(self) -> float:
        frame = self.scene.render(self.cameras, SIZE, torch.ones(16, 3))
        return float(-10 * (frame.rgb - self.color - 1 + self.mask).square().mean().log10())


def test_no_gaussian_is_thinner_than_the_filter() -> None:
    scene = scene_of(SplatsConfig(smooth=0.03))
    with torch.no_grad():
        scene.params["scales"].fill_(math.log(1e-4))
    assert torch.allclose(scene.splats()["scales"], torch.tensor(0.03), atol=1e-5)


def test_starts_as_a_faint_grey_ball() -> None:
    config = SplatsConfig(count=2000, radius=0.5, opacity=0.2)
    splats = scene_of(config).splats()
    distance = splats["means"].norm(dim=-1)
    assert distance.max() <= 0.5 and abs(float((distance < 0.25).float().mean()) - 1 / 8) < 0.03  # uniform in volume
    assert torch.allclose(splats["opacities"], torch.tensor(0.2)) and (splats["colors"] == 0.5).all()
    unfiltered = (splats["scales"][0, 0] ** 2 - config.smooth**2).sqrt()
    assert torch.isclose(2000 * (unfiltered / config.spread) ** 3, torch.tensor(4 / 3 * math.pi * 0.5**3))
    again, other = scene_of(config).splats(), scene_of(config, seed=1).splats()
    assert torch.equal(splats["means"], again["means"]) and not torch.equal(splats["means"], other["means"])


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 9, "cap": 8}, {"opacity": 1.0}, {"backend": "cuda"}, {"refine_every": 0}]
)
def test_impossible_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match="splats"):
        SplatsConfig(**bad)  # type: ignore[arg-type]


def trained(scene: SplatScene) -> Optimizers:
    """Adam states that tell the rows apart: each holds its own row of the parameter."""
    optimizers = Optimizers(scene.parameters())
    for p in scene.params.values():
        p.grad = torch.zeros_like(p)
    optimizers.step(0.0)
    for name, optimizer in optimizers.by_name.items():
        optimizer.state[scene.params[name]]["exp_avg"].copy_(scene.params[name].detach())
    return optimizers


def assert_in_step(scene: SplatScene, optimizers: Optimizers) -> None:
    """Every optimiser holds the scene's Parameter, and a state of its shape."""
    for name, p in scene.params.items():
        optimizer = optimizers.by_name[name]
        assert optimizer.param_groups[0]["params"] == [p] and list(optimizer.state) == [p]
        assert optimizer.state[p]["exp_avg"].shape == p.shape == optimizer.state[p]["exp_avg_sq"].shape
    assert all(len(row) == len(scene) for row in scene.statistics.rows.values())


def test_the_strongest_gradients_grow() -> None:
    """Small ones are copied, large ones split into two of 1/1.6 the size; no more than the share, no more than the cap;
    the rest keep their rows and Adam's."""
    scene = scene_of()
    with torch.no_grad():
        scene.params["scales"][:200] = math.log(0.01)
        scene.params["scales"][200:] = math.log(0.1)
    optimizers = trained(scene)
    pull = torch.arange(400.0)
    pull[:10] = 1000.0
    scene.statistics.rows.update(grad2d=pull, count=torch.ones(400))
    before = {name: p.detach().clone() for name, p in scene.params.items()}
    refine(scene.params, optimizers.by_name, scene.statistics, SplatsConfig(count=400, grow=0.1), stream(0, "scene"))
    assert len(scene) == 440
    assert_in_step(scene, optimizers)
    untouched = [*range(10, 370)]  # 10 were copied, 370..399 split
    assert torch.equal(scene.params["means"][:370], before["means"][:370])
    moments = optimizers.by_name["means"].state[scene.params["means"]]["exp_avg"]
    assert torch.equal(moments[untouched], before["means"][untouched])
    assert torch.equal(scene.params["means"][370:380], before["means"][:10])
    assert torch.allclose(scene.params["scales"][380:].exp(), torch.tensor(0.1 / 1.6))
    middle = scene.params["means"][380:].view(2, 30, 3)
    assert (middle - before["means"][370:]).norm(dim=-1).max() < 5 * 0.1
    assert not scene.statistics.rows["grad2d"].any()

    scene.statistics.rows.update(grad2d=torch.ones(440), count=torch.ones(440))
    refine(
        scene.params,
        optimizers.by_name,
        scene.statistics,
        SplatsConfig(count=400, cap=445, grow=0.1),
        stream(0, "scene"),
    )
    assert len(scene) == 445


def test_from_a_share_of_the_run_on_opacities_are_pulled_to_one_and_haze_is_let_be() -> None:
    """The sum of 1 - o over those above 0.3, from `harden_at` on. d sigmoid = o (1 - o)."""
    scene = scene_of(replace(STILL, harden=0.5, harden_above=0.3, harden_at=0.6))
    opacities = torch.linspace(0.05, 0.95, 400)
    scene.params["opacities"].data = opacities.logit()
    frame = scene.render(orbit(1), 8, torch.zeros(1, 3))
    assert not scene.regulariser(frame, 0.59)
    loss = scene.regulariser(frame, 0.6)
    solid = opacities > 0.3
    assert loss.item() == pytest.approx(0.5 * (1 - opacities[solid]).sum().item(), rel=1e-5)
    (pull,) = torch.autograd.grad(loss, scene.params["opacities"])
    assert torch.allclose(pull, torch.where(solid, -0.5, 0.0) * opacities * (1 - opacities), atol=1e-6)


def test_gaussians_are_widened_less_and_less_on_the_screen() -> None:
    """Two discs a pixel and a half apart: what is between them covers more at first than at the end, by the closed form
    alpha = o exp(-d^2 / 2 (s^2 f^2 / z^2 + dilation)) of each."""
    camera, size = orbit(1, 0.0), 33
    pixel = float(camera.distance / camera.focal(size))
    for progress, dilation in ((0.0, 0.3), (0.5, 0.175), (1.0, 0.05)):
        scene = scene_of(SplatsConfig(count=2, cap=2, smooth=0.0))
        scene.params["means"].data = torch.tensor([[-0.75 * pixel, 0, 0], [0.75 * pixel, 0, 0]])
        scene.params["scales"].data = torch.full((2, 3), 0.4 * pixel).log()
        scene.params["opacities"].data = torch.full((2,), 0.6).logit()
        scene.progress = progress
        between = scene.render(camera, size, torch.zeros(1, 3)).alpha[0, 0, 16, 16].item()
        one = 0.6 * math.exp(-(0.75**2) / 2 / (0.4**2 + dilation))
        assert between == pytest.approx(1 - (1 - one) ** 2, abs=1e-4)  # a little aslant


def test_what_is_hidden_takes_the_colour_before_it() -> None:
    """An opaque red shell around a green core: the core's Gaussians are seen by nobody and turn red, the shell's stay
    what they are."""
    scene = scene_of(STILL)
    points = torch.nn.functional.normalize(scene.params["means"].data, dim=-1)
    core = torch.arange(400) % 4 == 0
    scene.params["means"].data = points * torch.where(core, 0.2, 0.25)[:, None]
    scene.params["opacities"].data = torch.full((400,), 0.98).logit()
    scene.params["scales"].data = torch.full((400, 3), 0.02).log()
    red, green = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.9, 0.1])
    scene.params["colors"].data = torch.where(core[:, None], green, red).logit()
    first = {name: p.detach().clone() for name, p in scene.params.items()}
    seen = visibility(scene, before(scene)[0])
    assert 5 * seen[core].median() < seen[~core].median()
    unveil(scene, 0.3)
    after = scene.params["colors"].detach().sigmoid()
    assert (after[core] - red).abs().amax(-1).median() < 0.1
    assert (after[~core] - red).abs().amax(-1).median() < 0.05
    assert all(torch.equal(p, first[name]) for name, p in scene.params.items() if name != "colors")


def test_what_is_before_a_gaussian_is_the_mean_of_the_pixels_it_takes_part_in() -> None:
    """Two Gaussians far apart: before each is its own colour alone, and nothing changes. Two in one place: what they
    blend to by their order is the colour of both's pixels, and with a great share both take it."""
    scene = scene_of(replace(STILL, count=2))
    scene.params["scales"].data = torch.full((2, 3), 0.05).log()
    scene.params["opacities"].data = torch.tensor([0.9, 0.9]).logit()
    colors = torch.tensor([[0.8, 0.2, 0.5], [0.1, 0.6, 0.5]])
    scene.params["colors"].data = colors.logit()
    scene.params["means"].data = torch.tensor([[0.0, 0.5, 0.0], [0.0, -0.5, 0.0]])
    assert torch.allclose(before(scene)[1], colors, atol=0.02)
    unveil(scene, 1.0)
    assert torch.allclose(scene.params["colors"].sigmoid(), colors, atol=0.02)
    scene.params["means"].data = torch.zeros(2, 3)
    unveil(scene, 1e3)
    first, second = scene.params["colors"].detach().sigmoid()
    assert (first - second).abs().max() < 0.1 < (colors[0] - colors[1]).abs().max()


def test_growth_draws_from_the_given_generator_only() -> None:
    scenes = []
    for _ in range(2):
        scene = scene_of()
        optimizers = trained(scene)
        scene.statistics.rows.update(grad2d=torch.arange(400.0), count=torch.ones(400))
        state = torch.get_rng_state()
        refine(scene.params, optimizers.by_name, scene.statistics, STILL, stream(0, "scene"))
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(1)
        scenes.append(scene)
    assert len(scenes[0]) > 400 and torch.equal(scenes[0].params["means"], scenes[1].params["means"])


def test_the_faint_the_huge_and_the_lost_go() -> None:
    scene = scene_of()
    with torch.no_grad():
        scene.params["opacities"][:50] = torch.tensor(0.02).logit()
        scene.params["scales"][50:60] = math.log(0.5)
        scene.params["means"][60:65] = 2.0
    kept = scene.params["means"][65:].detach().clone()
    optimizers = trained(scene)
    refine(scene.params, optimizers.by_name, scene.statistics, STILL, stream(0, "scene"))
    assert torch.equal(scene.params["means"], kept)
    assert_in_step(scene, optimizers)


def test_pruning_never_leaves_nothing() -> None:
    """When all are lost, the most opaque stay; a scene that is faint throughout is no haze."""
    scene = scene_of()
    with torch.no_grad():
        scene.params["opacities"].copy_(torch.linspace(-6, -5.9, 400))
    optimizers = trained(scene)
    clean(scene.params, optimizers.by_name, scene.statistics, STILL)
    assert len(scene) == 400
    with torch.no_grad():
        scene.params["means"].fill_(2.0)
    refine(scene.params, optimizers.by_name, scene.statistics, STILL, stream(0, "scene"))
    assert len(scene) == LEAST and torch.allclose(scene.params["opacities"].max(), torch.tensor(-5.9))
    assert_in_step(scene, optimizers)


def test_islands_go_and_thin_bridges_stay() -> None:
    """A speck far from a ball is an island; a big part, and one joined by a chain of needles, are not."""
    scene = scene_of(SplatsConfig(count=400, radius=0.3, opacity=0.5))
    with torch.no_grad():
        scene.params["scales"].fill_(math.log(0.02))
        scene.params["means"][:3] = torch.tensor([0.9, 0.0, 0.0])  # speck
        scene.params["means"][3:53] = torch.tensor([-0.9, 0.0, 0.0])  # a second part, an eighth of the whole
        scene.params["means"][53:55] = torch.tensor([[0.0, 0.55, 0.0], [0.0, 0.9, 0.0]])  # needles, end to end
        scene.params["scales"][53:55] = torch.tensor([0.005, 0.15, 0.005]).log()
        scene.params["quats"][53:55] = torch.tensor([1.0, 0, 0, 0])
    assert islands(scene.params, 0.02).nonzero().flatten().tolist() == [0, 1, 2]


def test_statistics_are_means_over_the_views_that_saw_it() -> None:
    statistics = Statistics.empty(2, torch.device("cpu"))
    gradient = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]])  # 2 views, 2 Gaussians
    radii = torch.tensor([[[2.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])
    statistics.add(gradient, radii)
    assert statistics.mean().tolist() == [3.0, 1.0]


def test_surface_is_the_sum_of_gaussians() -> None:
    """Against a direct sum: what a Gaussian adds below 1/255 is cut off, nothing else is missing."""
    g = stream(0, "field")
    n = 300
    means, quats = torch.randn(n, 3, generator=g) * 0.4, torch.randn(n, 4, generator=g)
    scales, opacities = torch.exp(torch.randn(n, 3, generator=g) * 0.5 - 2.5), torch.rand(n, generator=g)
    scales[0] = 50.0  # reaches everywhere
    colors = torch.rand(n, 3, generator=g)
    points = torch.randn(500, 3, generator=g) * 0.5
    field = SplatField(means, quats, scales, opacities, colors)
    local = torch.einsum("nji,pnj->pni", rotation_matrices(quats), points[:, None] - means) / scales
    weights = opacities * torch.exp(-0.5 * local.square().sum(-1))
    weights = torch.where(weights >= 1 / 255, weights, 0)
    near = ((opacities * torch.exp(-0.5 * local.square().sum(-1)) - 1 / 255).abs() < 1e-6).any(1)  # on the cut
    assert torch.allclose(field.density(points)[~near], weights.sum(1)[~near], atol=1e-5)
    expected = (weights @ colors) / weights.sum(1, keepdim=True)
    assert torch.allclose(field.color(points)[~near], expected[~near], atol=1e-4)


def test_surface_far_away_is_empty_and_takes_the_nearest_colour() -> None:
    means = torch.tensor([[0.0, 0, 0], [0.5, 0, 0]])
    quats, scales = torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1), torch.full((2, 3), 0.01)
    field = SplatField(means, quats, scales, torch.ones(2), torch.eye(3)[:2])
    points = torch.tensor([[9.0, 0, 0], [-9.0, 1, 0]])
    assert not field.density(points).any()
    assert torch.equal(field.color(points), torch.tensor([[0.0, 1, 0], [1.0, 0, 0]]))


def test_a_resumed_fit_gives_the_same_bytes() -> None:
    """Saved in the middle, after the number of Gaussians has changed, and loaded into a new scene: every parameter ends
    with the same bytes. The regulariser is on."""
    config = SplatsConfig(count=300, cap=500, refine_every=5, penalty_opacity=(0.1, 0.2), penalty_size=(0.1, 0.1))
    whole = Fit(config, 40).run(22)
    assert len(whole.scene) != 300
    state = {k: v.clone() for k, v in whole.scene.state_dict().items()}
    moments = {k: v.clone() for k, v in whole.optimizers.state_dict().items()}
    whole.run(40)
    resumed = Fit(config, 40)
    resumed.scene.load_state_dict(state)
    resumed.optimizers = Optimizers(resumed.scene.parameters())
    resumed.optimizers.load_state_dict(moments)
    resumed.step = 22
    resumed.run(40)
    assert len(resumed.scene) == len(whole.scene)
    for name, p in whole.scene.params.items():
        assert torch.equal(p, resumed.scene.params[name]), name


def test_fit_from_sixteen_views() -> None:
    """A sphere and a box from 16 pictures: 25 dB in 200 steps with densification and pruning. The density's greatest
    value along a ray tells object from air (IoU 0.9 with the true silhouettes), and the box is red."""
    fit = Fit(SplatsConfig(count=1200, cap=2400), 200).run(200)
    assert fit.psnr() > 25.0
    field = fit.scene.surface()
    assert 0.6 < field.bound <= strategy.LIMIT
    cameras = orbit(3, 20.0, start=10.0)  # none of the fitted views
    origin, direction = cameras.rays(SIZE)
    along = cameras.distance[0] + torch.linspace(-1, 1, 80)
    points = origin[:, :, None] + direction[:, :, None] * along[:, None]  # (3, SIZE^2, 80, 3)
    peak = field.density(points.view(-1, 3)).view(3, -1, 80).amax(-1) > 0.2
    truth = sphere_and_box(cameras, SIZE)[1].view(3, -1) > 0
    assert (peak & truth).sum() / (peak | truth).sum() > 0.9
    red, green, blue = field.color(BOX[None] + torch.tensor([[0.0, 0.0, 0.9 * HALF]]))[0]
    assert red > 0.6 and green < 0.45 and blue < 0.4
