"""GSD: the field's noise under SDS, and the loss that makes gradients agree (O28)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from edit_lab import Desk, close
from field_scenes import DOUBLE, ball, plane, seen
from guidance_helpers import cond
from torch import Tensor

from sds3d.camera import Cameras, fit_distance, orbit
from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE, View, distill_gradient
from sds3d.guidance.gsd import GSD, disagreement, pairs
from sds3d.guidance.surface import project, unproject
from sds3d.priors.oracle import gaussian

SIZE = 24
FIRST, SECOND = torch.tensor([0]), torch.tensor([1])


def cameras(*azimuths: float, elevation: float = 15.0) -> Cameras:
    fov = torch.full((len(azimuths),), 40.0)
    return Cameras(torch.tensor(azimuths), torch.full_like(fov, elevation), fov, fit_distance(fov))


def painted(view: View, shift: float = 0.0) -> Tensor:
    """A smooth vector field of the world, seen: (B, 3, SIZE, SIZE)."""
    x, y, _ = (4 * unproject(view.cameras, view.depth[:, 0]) + shift).unbind(-1)
    return torch.stack([x.sin(), x.cos(), y.sin()], 1)


def test_formula_and_cost_on_the_field() -> None:
    prior = gaussian(torch.full((1, 16, 16), 0.3, dtype=DOUBLE), 0.7)
    view = ball(orbit(2), 64)
    c = seen(view, 16, prior=prior)
    c.conds = {"pos": cond(1), "null": cond(0)}
    noise = GSD().field(seen(view, 16))
    t = torch.tensor([300, 700])
    g, stats = distill_gradient(GSD(cfg=1.0), c, t)
    a, b = prior.schedule.alpha_sigma(t, c.x)
    e = prior.predict(a * c.x + b * noise, t, cond(1, 2))
    assert close(g, b**2 * (e - noise)) and stats.nfe == 1
    published = GSD()
    assert (published.cfg, published.weight, GUIDANCE["gsd"]) == (100, "sds", GSD)


def test_formula_with_guidance_without_a_view() -> None:
    s = Desk(x_src=None).step(GSD(cfg=3.0))
    c = Desk(x_src=None).context()
    noise = GSD().field(c)
    a, b = c.prior.schedule.alpha_sigma(Desk().t, c.x)
    pos, null = (c.prior.predict(a * c.x + b * noise, Desk().t, c.conds[k].repeat(4)) for k in ("pos", "null"))
    assert close(s.g, b**2 * (null + 3 * (pos - null) - noise)) and s.nfe == 2
    assert GSD().geometry_loss(s.g, c) is None


def test_o28_identical_views_agree_and_opposite_gradients_do_not() -> None:
    view = ball(cameras(20.0, 20.0), SIZE)
    g = painted(view)
    assert disagreement(g, view, FIRST, SECOND).abs() < 1e-5
    turned = torch.cat([g[:1], -g[1:]])
    assert abs(disagreement(turned, view, FIRST, SECOND) - 2 / 2) < 1e-3  # 1 - cos = 2, by two views


def test_o28_a_plane_is_warped_by_its_homography() -> None:
    """H = K2 (R + t n^T / d) K1^-1 in the first camera's frame."""
    pair = cameras(-15.0, 20.0)
    view = plane(pair, SIZE)
    where, depth = project(pair[SECOND], unproject(pair[FIRST], view.depth[FIRST, 0]).flatten(1, 2))
    one, two = pair.world_to_camera().to(DOUBLE)
    relative = two @ torch.linalg.inv(one)
    normal = one[:3, :3] @ torch.tensor([0.2, 0.3, 1.0], dtype=DOUBLE)
    distance = normal @ one[:3, 3]  # n^T X = d on the plane, which holds the origin
    h = relative[:3, :3] + relative[:3, 3:] @ normal[None] / distance
    axis = (torch.arange(SIZE, dtype=DOUBLE) + 0.5) / SIZE * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    k = torch.diag(torch.stack([pair.focal(2)[0]] * 2 + [torch.tensor(1.0)]).to(DOUBLE))
    mapped = torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1) @ (k @ h @ torch.linalg.inv(k)).T
    assert torch.allclose(where[0], mapped[:, :2] / mapped[:, 2:], atol=1e-5) and (depth > 0).all()


def test_o28_one_field_of_the_world_agrees_and_a_wrong_depth_does_not() -> None:
    """Bilinear sampling of a smooth field costs 2e-3; moving the surface, the loss rises, with the right slope."""
    pair = cameras(-10.0, 10.0)
    view = plane(pair, SIZE)
    g = painted(view)

    def loss(offset: Tensor) -> Tensor:
        return disagreement(g, View(pair, view.alpha, view.depth + offset), FIRST, SECOND)

    right, near = loss(torch.zeros((), dtype=DOUBLE)), loss(torch.tensor(-0.2, dtype=DOUBLE))
    assert right < 2e-3 < 1e-2 < near
    offset = torch.tensor(-0.2, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(offset), offset)
    numeric = (loss(offset.detach() + 1e-4) - loss(offset.detach() - 1e-4)) / 2e-4
    assert slope < 0 and torch.allclose(slope, numeric, rtol=0.05)


def test_o28_the_loss_reaches_the_depth_alone() -> None:
    pair = cameras(-10.0, 10.0)
    at = plane(pair, SIZE)
    view = View(pair, at.alpha.requires_grad_(), at.depth.requires_grad_())
    loss = GSD(consistency=0.3).geometry_loss(painted(at, 0.2).detach(), seen(view, SIZE))
    assert loss is not None
    alpha, depth = torch.autograd.grad(loss, [view.alpha, view.depth], allow_unused=True)
    assert alpha is None and depth.abs().sum() > 0
    tenfold = GSD(consistency=3.0).geometry_loss(painted(at, 0.2).detach(), seen(view, SIZE))
    assert tenfold is not None and torch.allclose(tenfold, 10 * loss)


def test_what_the_other_view_does_not_see_is_left_out() -> None:
    """Half a turn apart nothing of a ball is seen twice: no loss, whatever the gradients."""
    view = ball(cameras(0.0, 180.0), SIZE)
    assert disagreement(torch.cat([painted(view)[:1], -painted(view)[1:]]), view, FIRST, SECOND) == 0


@pytest.mark.parametrize("bare", [0, 1])
def test_what_one_of_them_does_not_cover_is_left_out(bare: int) -> None:
    """Gradients are opposite on the left half only, where one of the two views is transparent."""
    view = plane(cameras(20.0, 20.0), SIZE)
    g, half = painted(view), SIZE // 2
    g[1, :, :, :half] *= -1
    assert disagreement(g, view, FIRST, SECOND) > 0.4
    view.alpha[bare, :, :, :half] = 0
    assert disagreement(g, view, FIRST, SECOND) < 1e-3


def test_pairs_are_nearest_views_within_the_angle() -> None:
    view = ball(cameras(0.0, 25.0, 90.0, 250.0, elevation=0.0), 8)
    first, second = pairs(view, 70.0)
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [1, 0, 1])
    assert GSD(angle=10.0).geometry_loss(torch.zeros(4, 1, 8, 8), seen(view, 8)) is None
    for options in ({"consistency": -1.0}, {"angle": 0.0}):
        with pytest.raises(UserError, match="gsd.consistency"):
            GSD(**options)


def test_views_that_cannot_be_compared_are_told() -> None:
    one = plane(cameras(0.0), SIZE)
    with pytest.raises(UserError, match="of 1 views none has another within 60"):
        GSD().geometry_loss(painted(one), seen(one, SIZE))
    four = plane(cameras(0.0, 90.0, 180.0, 270.0), SIZE)
    context = seen(four, SIZE, prior=SimpleNamespace(views_per_object=4))
    with pytest.raises(UserError, match="of 4 views none has another within 60"):
        GSD().geometry_loss(painted(four), context)
    GSD(angle=120.0).geometry_loss(painted(four), context)
    assert GSD(consistency=0.0).geometry_loss(painted(four), context) is None
