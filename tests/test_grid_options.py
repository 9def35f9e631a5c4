"""The grid scene beyond its defaults: levels that come in, empty space, normals, light, backgrounds, regularisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from test_grid_scene import KINDS, SMALL, adams, known_object, make, train
from torch import Tensor

from sds3d.camera import Cameras, orbit
from sds3d.errors import UserError
from sds3d.render.volume import ball_bounds, march, occupied
from sds3d.scenes import regularisers
from sds3d.scenes.backdrop import Backdrop
from sds3d.scenes.grid import BOUND, GridScene
from sds3d.scenes.grid_config import DenseConfig, GridConfig, ShadingConfig
from sds3d.scenes.shading import draw_light, lambert
from sds3d.streams import stream

BACKENDS = ["numba", "torch"]
LIT = ShadingConfig(share=(1.0, 1.0), after=0.0, textureless=0.0)


def ball(
    config: GridConfig = SMALL, radius: float = 0.5, color: tuple[float, float, float] = (0.8, 0.3, 0.2)
) -> GridScene:
    """A dense ball of one colour in a dense grid of density and colour."""
    scene = make(config)
    levels = scene.field.encoding.parameters()
    line = torch.linspace(-BOUND, BOUND, len(levels[-1]))
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    with torch.no_grad():
        levels[0].zero_()
        levels[-1][..., 0] = (40 * (radius - torch.stack([x, y, z]).norm(dim=0)) + 3).clamp(min=-12)
        levels[-1][..., 1:] = torch.tensor(color).logit()
    for i in range(8):
        scene._update_occupancy(stream(0, "occupancy", i))
    return scene


FINE = replace(
    SMALL, dense=DenseConfig(resolution=32, levels=2), occupancy=32, step=(0.02, 0.02), sparsity=(0, 0), entropy=(0, 0)
)


@pytest.mark.parametrize(
    "bad",
    [
        {"progressive": 1.5},
        {"first_levels": 0},
        {"background_share": -0.1},
        {"shading": ShadingConfig(textureless=2.0)},
        {"shading": ShadingConfig(distance=(0.0, 1.0))},
    ],
)
def test_impossible_options_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UserError, match="grid"):
        GridConfig(**bad)  # type: ignore[arg-type]


def test_variation_of_a_hash_grid_is_refused() -> None:
    with pytest.raises(UserError, match=r"grid.encoding=dense"):
        make(replace(KINDS["hash"], variation=(0.0, 1.0)))


@pytest.mark.parametrize("kind", ["direct", "features", "hash"])
def test_levels_come_in_one_after_the_other(kind: str) -> None:
    """With n levels, the first at once and the last at the given share of the run; the others are not even touched by
    gradients, and what is rendered is what their sum without them is."""
    config = replace(
        KINDS[kind], dense=replace(KINDS[kind].dense, resolution=32, levels=4), progressive=0.5, first_levels=1
    )
    scene = make(config)
    assert scene.field.encoding.count == 4
    cameras = orbit(4, elevation=20.0)
    target, _ = known_object(cameras, 12)
    optimizers, seen = adams(scene), []
    for step in range(12):
        seen.append(scene.field.encoding.active)
        before = [p.detach().clone() for p in scene.field.encoding.parameters()]
        train(scene, target, cameras, range(step, step + 1), optimizers, total=12)
        if kind != "hash":
            moved = [not torch.equal(b, p) for b, p in zip(before, scene.field.encoding.parameters(), strict=True)]
            assert moved == [i < seen[-1] for i in range(4)]
        else:
            used = sum(scene.field.encoding.sizes[: seen[-1]])  # type: ignore[attr-defined]
            assert torch.equal(before[0][:, used:], scene.field.encoding.parameters()[0][:, used:])
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("kind", ["features", "hash"])
def test_a_level_that_is_off_adds_nothing(kind: str) -> None:
    """Reads with m active levels are those of all levels with the entries of the finer ones set to 0."""
    encoding = make(KINDS[kind]).field.encoding
    points = torch.rand(100, 3, generator=stream(0, "points")) * 2 - 1
    for p in encoding.parameters():
        p.data.normal_(generator=stream(0, "entries"))
    encoding.active = 1
    some = encoding.encode(encoding.table(), points).detach()
    encoding.active = encoding.count
    with torch.no_grad():
        if kind == "hash":
            encoding.parameters()[0][:, encoding.sizes[0] :] = 0  # type: ignore[attr-defined]
        else:
            for p in encoding.parameters()[1:]:
                p.zero_()
    torch.testing.assert_close(some, encoding.encode(encoding.table(), points).detach(), atol=1e-5, rtol=0)


def test_progress_is_part_of_the_state() -> None:
    config = replace(SMALL, progressive=1.0, first_levels=1)
    scene, other = make(config), make(config, seed=3)
    scene.progress = 1.0
    other.load_state_dict(scene.state_dict())
    assert other.field.encoding.active == 2
    scene.progress = 0.5
    other.load_state_dict(scene.state_dict())
    assert other.field.encoding.active == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_space_is_skipped_and_the_picture_stays(backend: str) -> None:
    """Against a grid of occupied cells only: less than two in five of the samples are looked at. What is left out has
    an optical depth tau on each ray, which can change no pixel by more than 1 - exp(-tau): it never does, and tau is so
    small that pixels stay within 1/255."""
    scene = ball(replace(FINE, backend=backend))
    cameras, background = orbit(2, elevation=20.0), torch.full((2, 3), 0.5)
    counts, images = [], []
    cells, reach = scene.occupancy.cells, scene.occupancy.reach
    for full in (False, True):
        scene.occupancy.cells = torch.ones_like(cells) if full else cells
        frame = scene.render(cameras, 24, background)  # with gradients on, so that samples are counted
        assert frame.extra is not None
        counts.append(frame.extra["marched"])
        images.append(frame.rgb.detach())
    scene.occupancy.cells = cells
    wide = ball(replace(FINE, backend=backend))
    wide.occupancy.cells, wide.occupancy.reach = torch.ones_like(cells), BOUND
    frame = wide.render(cameras, 24, background)
    assert frame.extra is not None
    assert 2.5 * counts[0] < frame.extra["marched"]
    origins, directions = (v.reshape(-1, 3) for v in cameras.rays(24))
    near, far = ball_bounds(origins, directions, reach)
    phase = scene._phase(len(near))
    every = march(origins, directions, torch.ones_like(cells), BOUND, near, far, 0.02, phase, backend)
    with torch.no_grad():
        sigma = scene.field.density(scene.field.table(), every.points)
    left_out = sigma * 0.02 * ~occupied(cells, BOUND, every.points)
    tau = torch.zeros(len(near)).index_add(0, every.ray, left_out).view(2, 1, 24, 24)
    assert counts[1] == len(every)
    change = (images[0] - images[1]).abs().amax(1, keepdim=True)
    assert (change <= 1 - torch.exp(-tau) + 2e-4).all()  # what culling behind the opaque may add: 1e-4 on each side
    assert change.max() < 1 / 255


def sphere_normals(cameras: Cameras, size: int, radius: float) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) outward normals of a ball and where it is seen well inside of its outline."""
    origin, direction = cameras.rays(size)
    along = (origin * direction).sum(-1)
    within = along.square() - origin.square().sum(-1) + radius**2
    hit = origin + (-along - within.clamp_min(0).sqrt())[..., None] * direction
    shape = (len(cameras), size, size, -1)
    normals = torch.nn.functional.normalize(hit, dim=-1).view(shape).permute(0, 3, 1, 2)
    return normals, (within > 0.35 * radius**2).view(shape).permute(0, 3, 1, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_normals_of_a_ball(backend: str) -> None:
    """Unit, outward, within 8 degrees of the truth on a grid of 32 cells."""
    scene = ball(replace(FINE, normals=True, backend=backend))
    cameras = orbit(2, elevation=20.0)
    with torch.no_grad():
        frame = scene.render(cameras, 32, torch.ones(2, 3))
    truth, inside = sphere_normals(cameras, 32, 0.5)
    assert frame.normal is not None and frame.normal.shape == (2, 3, 32, 32)
    cosine = (frame.normal * truth).sum(1, keepdim=True)[inside]
    assert int(inside.sum()) > 100 and cosine.min() > math.cos(math.radians(8))
    torch.testing.assert_close(frame.normal.norm(dim=1)[frame.alpha[:, 0] > 0.5].min(), torch.tensor(1.0))
    with torch.no_grad():
        assert make(SMALL).render(cameras, 8, torch.ones(2, 3)).normal is None


def test_light_has_its_closed_form() -> None:
    """Ambient where the light is behind the surface, ambient + diffuse cos elsewhere."""
    normals = torch.tensor([[0.0, 1.0, 0.0]]).repeat(3, 1)
    points = torch.zeros(3, 3)
    places = torch.tensor([[0.0, 3.0, 0.0], [2.0, 2.0, 0.0], [1.0, -1.0, 0.0]])
    shade = lambert(normals, points, places, ShadingConfig(ambient=0.2, diffuse=0.6))
    torch.testing.assert_close(shade[:, 0], torch.tensor([0.8, 0.2 + 0.6 / math.sqrt(2), 0.2]))


def test_lights_are_drawn_by_their_shares() -> None:
    """Shares of lit and of white views, none before `after`, the distance between its bounds, mostly on the camera's
    side; another step draws another light."""
    config = ShadingConfig(share=(0.2, 0.8), after=0.25, textureless=0.25)
    ring = orbit(8)
    cameras = ring[torch.arange(4000) % 8]
    light = draw_light(config, 0.5, cameras, stream(0, "light"))
    assert light.on.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert light.white.float().mean().item() == pytest.approx(0.25, abs=0.04)
    share = light.position.norm(dim=-1) / cameras.distance
    assert share.min() >= 0.8 and share.max() <= 1.5 and share.max() - share.min() > 0.6
    assert (light.position * cameras.positions).sum(-1).gt(0).float().mean() > 0.9
    assert not draw_light(config, 0.2, cameras, stream(0, "light")).on.any()
    assert not torch.equal(light.position, draw_light(config, 0.5, cameras, stream(0, "light", 1)).position)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lit_ball_is_its_colour_times_the_light(backend: str) -> None:
    """Seen from the light's own side: the picture over black is albedo (ambient + diffuse n . l) with the ball's true
    normals, within 0.06 where it is seen well; white where textureless; as it is in pictures for looking at. Light
    pulls at the shape."""
    cameras, size = orbit(2, elevation=20.0), 32
    truth, inside = sphere_normals(cameras, size, 0.5)
    black = torch.zeros(2, 3)
    for white in (0.0, 1.0):
        scene = ball(replace(FINE, backend=backend, shading=replace(LIT, textureless=white, perturb=0.3)))
        frame = scene.render(cameras, size, black)
        light = draw_light(scene.config.shading, 0.0, cameras, stream(scene.seed, "light", 0))
        towards = torch.nn.functional.normalize(light.position[:, :, None, None] - 0.5 * truth, dim=1)
        shade = 0.1 + 0.9 * (truth * towards).sum(1, keepdim=True).clamp(min=0)
        albedo = torch.ones(3) if white else torch.tensor([0.8, 0.3, 0.2])
        expected = albedo[:, None, None] * shade
        assert ((frame.rgb - expected).abs() * inside).max() < 0.06
        levels = scene.field.encoding.parameters()
        frame.rgb.sum().backward()
        assert levels[-1].grad is not None and bool(levels[-1].grad[..., 1:].any()) == (white == 0)
        with torch.no_grad():
            plain = scene.render(cameras, size, black).rgb
        assert ((plain - torch.tensor([0.8, 0.3, 0.2])[:, None, None]).abs() * inside).max() < 0.02


def test_a_learned_background_is_smooth_and_learns() -> None:
    """It fits a sky that is blue above and brown below, from gradients of the pixels around the object."""
    backdrop = Backdrop()
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=stream(0, "sky")), dim=-1)
    assert (backdrop(directions) == 0.5).all()
    sky = torch.where(directions[:, 1:2] > 0, torch.tensor([0.3, 0.5, 0.9]), torch.tensor([0.5, 0.4, 0.2]))
    adam = torch.optim.Adam([backdrop.coefficients], lr=0.1)
    for _ in range(150):
        adam.zero_grad()
        loss = (backdrop(directions) - sky).square().mean()
        loss.backward()
        adam.step()
    assert loss.item() < 0.01


def test_the_learned_background_is_behind_and_in_training_only() -> None:
    scene = ball(replace(FINE, background="learned", background_share=1.0))
    assert scene.backdrop is not None
    with torch.no_grad():
        scene.backdrop.coefficients[0] = torch.tensor([3.0, 0.0, -3.0])  # an even orange
    cameras, white = orbit(2), torch.ones(2, 3)
    frame = scene.render(cameras, 16, white)
    corner = scene.backdrop(torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(frame.rgb[0, :, 0, 0], corner)
    frame.rgb[..., 0, 0].sum().backward()
    assert scene.backdrop.coefficients.grad is not None and scene.backdrop.coefficients.grad.any()
    with torch.no_grad():
        assert (scene.render(cameras, 16, white).rgb[..., 0, 0] == 1).all()
    assert [g.name for g in scene.parameters()] == ["encoding", "background"]
    other = make(replace(FINE, background="learned"), seed=4)
    other.load_state_dict(scene.state_dict())
    assert other.backdrop is not None and torch.equal(other.backdrop.coefficients, scene.backdrop.coefficients)


def test_a_share_of_the_views_has_the_learned_background() -> None:
    scene = make(replace(SMALL, background="learned", background_share=0.25))
    on = 0
    for step in range(200):
        scene.steps = step
        on += int(scene._on_backdrop(4).sum())
    assert on / 800 == pytest.approx(0.25, abs=0.05)


def test_opacity_and_orientation_have_their_closed_forms() -> None:
    """A weight goes in a straight line from its first value to its last; the mean of alpha^2; the penalty of one sample
    that faces away by 60 degrees is w / 4, of one that faces the camera 0."""
    scene = make(replace(SMALL, sparsity=(0, 0), entropy=(0, 0), opacity=(1.0, 3.0)))
    frame = scene.render(orbit(1), 8, torch.zeros(1, 3))
    assert scene.regulariser(frame, 0.25).item() == pytest.approx(1.5 * frame.alpha.square().mean().item(), rel=1e-5)
    direction = torch.tensor([[0.0, 0.0, 1.0]]).repeat(2, 1)
    normals = torch.tensor([[math.sqrt(0.75), 0.0, 0.5], [0.0, 0.0, -1.0]])
    value = regularisers.orientation(torch.tensor([0.8, 0.9]), normals, direction, 10)
    assert value.item() == pytest.approx(0.8 * 0.25 / 10, rel=1e-5)


def test_spread_is_the_deviation_of_depth_and_draws_fog_together() -> None:
    """Weights .3 at depth 1 and .1 at depth 2: mean 1.25, variance .1875. Fog that is pulled by it alone gets thinner
    along its rays, and no clearer."""
    value = regularisers.spread(torch.tensor([0.3 * 0.25**2 + 0.1 * 0.75**2]), torch.tensor([0.4]))
    assert value.item() == pytest.approx(0.4 * math.sqrt(0.1875), rel=1e-4)
    scene = ball(replace(FINE, spread=1.0, spread_from=0.0))
    with torch.no_grad():
        scene.field.encoding.parameters()[-1][..., 0] -= 2.0
    cameras, black, optimizers = orbit(4), torch.zeros(4, 3), adams(scene)

    def seen() -> tuple[Tensor, Tensor]:
        frame = scene.render(cameras, 24, black)
        return scene.regulariser(frame, 1.0), frame.alpha.mean().detach()

    first, alpha = seen()
    for _ in range(15):
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        seen()[0].backward()
        for optimizer in optimizers.values():
            optimizer.step()
    last, then = seen()
    assert first > 0 and last < 0.8 * first and then > 0.95 * alpha


def assert_slope(level: torch.nn.Parameter, loss: Callable[[], Tensor], step: float = 0.02) -> None:
    """The gradient of `loss` at the three entries of `level` where it is largest is that of central differences, within
    5 %."""
    level.grad = None
    loss().backward()
    assert level.grad is not None
    slope, entries = level.grad.flatten().clone(), level.detach().view(-1)
    for index in slope.abs().topk(3).indices.tolist():
        ends = []
        for side in (-1, 1):
            entries[index] += side * step
            ends.append(float(loss().detach()))
            entries[index] -= side * step
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(float(slope[index]), rel=0.05)


@pytest.mark.parametrize("name", ["sparsity", "opacity", "entropy", "variation"])
def test_gradients_of_regularisers(name: str) -> None:
    scene = ball(replace(FINE, **{name: (1.0, 1.0)}), radius=0.55)  # type: ignore[arg-type]
    cameras, black = orbit(1, elevation=20.0), torch.zeros(1, 3)
    level = scene.field.encoding.parameters()[-1]
    assert_slope(level, lambda: scene.regulariser(scene.render(cameras, 24, black), 0.5))


def test_gradient_of_orientation_goes_through_the_normals() -> None:
    """Of samples near a ball's surface, with weights held still, as they are in training."""
    scene = ball(FINE, radius=0.55)
    g = stream(0, "samples")
    points = 0.5 * torch.nn.functional.normalize(torch.randn(200, 3, generator=g), dim=-1)
    weights, directions = torch.rand(200, generator=g), torch.tensor([[0.0, 0.0, 1.0]]).repeat(200, 1)

    def loss() -> Tensor:
        normals = scene.field.normals(scene.field.table(), points, 1 / 16)
        return regularisers.orientation(weights, normals, directions, 50)

    assert_slope(scene.field.encoding.parameters()[-1], loss, 0.005)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_of_the_light(backend: str) -> None:
    scene = ball(replace(FINE, shading=LIT, backend=backend))
    cameras = orbit(1, elevation=20.0)
    weights = torch.rand(1, 3, 24, 24, generator=stream(0, "weights"))
    level = scene.field.encoding.parameters()[-1]
    assert_slope(level, lambda: (scene.render(cameras, 24, torch.zeros(1, 3)).rgb * weights).sum())


@pytest.mark.parametrize("kind", ["features", "hash"])
def test_everything_at_once_resumes_to_the_same_bytes(kind: str) -> None:
    config = replace(
        KINDS[kind], progressive=0.8, first_levels=1, shading=replace(LIT, share=(0.5, 0.5)), background="learned",
        orientation=(0.1, 0.2), normals=True,
    )  # fmt: skip
    cameras = orbit(4, elevation=20.0)
    target, _ = known_object(cameras, 12)
    whole = make(config)
    optimizers = adams(whole)
    train(whole, target, cameras, range(4), optimizers, total=8)
    resumed = make(config, seed=7)
    resumed.load_state_dict({k: v.clone() for k, v in whole.state_dict().items()})
    others = adams(resumed)
    for name, optimizer in others.items():
        optimizer.load_state_dict(deepcopy(optimizers[name].state_dict()))
    for scene, own in ((whole, optimizers), (resumed, others)):
        train(scene, target, cameras, range(4, 8), own, total=8)
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
