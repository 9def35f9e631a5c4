"""Regions and masks around any objective (OBJECTIVES O21)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from guidance_helpers import context, gradient
from torch import Tensor

from sds3d.camera import Cameras, fit_distance
from sds3d.errors import UserError
from sds3d.guidance import NFSD, SDS, Call, Context, Distillation, View, distill_gradient
from sds3d.guidance.regions import Regions, coordinates, region_masks
from sds3d.priors.oracle import MixturePrior

NAMES = ("pos", "null", "neg", "region:0", "region:1", "region:2")
SIZE, T = 4, 500
UNIFORM = SDS(cfg=5.0, weight="uniform")


def images(seed: int, n: int) -> Tensor:
    return torch.randn(n, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PRIOR = MixturePrior(images(0, len(NAMES)), torch.full((len(NAMES),), 0.7).double(), labels=NAMES)


def cameras(azimuths: list[float], elevation: float = 0.0) -> Cameras:
    n = len(azimuths)
    fov = torch.full((n,), 40.0)
    return Cameras(torch.tensor(azimuths), torch.full((n,), elevation), fov, fit_distance(fov))


def asked(azimuths: tuple[float, ...] = (0.0, 90.0), alike: bool = False, size: int = 8) -> Context:
    """A context over empty views; `alike`: every region has the main prompt."""
    n = len(azimuths)
    conds = {name: PRIOR.text(["pos" if alike and name.startswith("region") else name] * n) for name in NAMES}
    empty = torch.zeros(n, 1, size, size)
    return replace(context(images(1, n), PRIOR), conds=conds, view=View(cameras(list(azimuths)), empty, empty))


def with_prompt(name: str, objective: Distillation = UNIFORM) -> Tensor:
    """The objective's own gradient with the prompt of one region."""
    c = asked()
    c.conds["pos"] = c.conds[name]
    return gradient(objective, c, T)


def test_one_region_everywhere_is_the_objective_itself() -> None:
    for objective in (UNIFORM, NFSD()):
        base = gradient(objective, asked(), T)
        assert torch.equal(gradient(Regions(objective, ("rest",), prompted=False), asked(), T), base)
        region = gradient(Regions(objective, ("rest",)), asked(), T)
        assert torch.equal(region, with_prompt("region:0", objective))
        assert not torch.allclose(region, base)


def test_each_region_follows_its_own_prompt_and_the_rest_is_exactly_zero() -> None:
    g = gradient(Regions(UNIFORM, ("u<0.25", "u>0.75 v<0.5")), asked(), T)
    first, second = with_prompt("region:0"), with_prompt("region:1")
    assert torch.allclose(g[..., 0], first[..., 0], atol=1e-12)
    assert torch.allclose(g[..., :2, 3], second[..., :2, 3], atol=1e-12)
    assert g[..., 1:3].abs().max() == 0 and g[..., 2:, 3].abs().max() == 0
    assert (first - second).abs().min(dim=0).values.max() > 0.1  # they are not the same prompt


def test_masked_pixels_are_zero_whatever_the_objective_does_to_its_gradient() -> None:
    class Blurred(SDS):
        def post(self, g: Tensor, states: object, c: object) -> Tensor:
            return g.mean((2, 3), keepdim=True).expand_as(g)

    g = gradient(Regions(Blurred(cfg=5.0), ("u<0.5",), prompted=False), asked(), T)
    assert g[..., 2:].abs().max() == 0 and g[..., :2].abs().min() > 0


def test_a_partition_with_equal_prompts_is_the_objective_in_sum_mode_and_its_share_in_mean_mode() -> None:
    """Overlapping masks too: sum mode divides by how many there are, mean mode by the number of regions."""
    base = gradient(UNIFORM, asked(), T)
    parts = ("u<0.5", "u>0.5 v>0.3", "rest")
    assert torch.allclose(gradient(Regions(UNIFORM, parts), asked(alike=True), T), base, atol=1e-12)
    mean = Regions(UNIFORM, parts, mode="mean")
    assert torch.allclose(gradient(mean, asked(alike=True), T), base / 3, atol=1e-12)
    overlapping = ("u>0", "u>0.5")
    assert torch.allclose(gradient(Regions(UNIFORM, overlapping), asked(alike=True), T), base, atol=1e-12)
    doubled = gradient(Regions(UNIFORM, overlapping, mode="mean"), asked(alike=True), T)
    assert torch.allclose(doubled[..., :2], base[..., :2] / 2, atol=1e-12)
    assert torch.allclose(doubled[..., 2:], base[..., 2:], atol=1e-12)


def test_pixels_across_a_border_get_both_prompts_by_area() -> None:
    g = gradient(Regions(UNIFORM, ("u<0.375", "rest")), asked(), T)  # the second of four columns is cut in half
    mixed = (with_prompt("region:0") + with_prompt("region:1")) / 2
    assert torch.allclose(g[..., 1], mixed[..., 1], atol=1e-12)


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (75.0, 20.0), (200.0, -40.0)])
def test_surface_points_lie_where_the_object_is(azimuth: float, elevation: float) -> None:
    """Depth of the plane y = 0.3 z - 0.2 x along each ray's view axis gives back points of that plane."""
    view = cameras([azimuth], elevation)
    normal = torch.tensor([0.2, 1.0, -0.3])
    origin, direction = view.rays(6)
    distance = -(origin @ normal) / (direction @ normal)  # (1, 36)
    depth = distance * (direction * view.forward[:, None]).sum(-1)
    where = coordinates(View(view, torch.ones(1, 1, 6, 6), depth.view(1, 1, 6, 6)))
    assert torch.allclose(torch.einsum("bchw,c->bhw", where[:, :3], normal), torch.zeros(1, 6, 6), atol=1e-4)
    assert torch.allclose(where[0, 3, 2], torch.arange(6) / 6 + 1 / 12) and (where[0, 4, 2] == 2.5 / 6).all()


def test_world_masks_follow_the_camera() -> None:
    """Azimuth grows towards +X: from the front x > 0 is the right half of the picture, from the back the left one,
    from the right the near side; y > 0 is the upper half from everywhere."""
    far = torch.ones(3, 1, 8, 8)
    ring = cameras([0.0, 180.0, 90.0])
    near = View(ring, far, (ring.distance - 0.5).view(-1, 1, 1, 1) * far)  # surfaces half a unit before the centre
    right, up = region_masks(("x>0", "y>0"), near, (2, 2))[:, :, 0]
    assert right[0].tolist() == [[0, 1], [0, 1]] and right[1].tolist() == [[1, 0], [1, 0]]
    assert right[2].min() == 1
    assert (up == torch.tensor([[1.0, 1.0], [0.0, 0.0]])).all()
    nothing = View(ring, 0 * far, 0 * far)  # uncovered: the plane through the origin, where x is about 0 from +X
    assert region_masks(("x>-0.1 x<0.1",), nothing, (2, 2))[0, 2].min() == 1


def test_cost_and_needs() -> None:
    objective = Regions(UNIFORM, ("y>0", "y<0", "rest"))
    _, stats = distill_gradient(objective, asked(), torch.tensor([T, T]))
    assert stats.nfe == 4  # K + 1: the null prediction is shared
    assert objective.needs() == {"pos", "null", "region:0", "region:1", "region:2"}
    assert Call("pos") not in objective.calls(asked(), {})
    assert objective.weight == "uniform" and not objective.critic


@pytest.mark.parametrize("mask", ["", "y=0.2", "y>up", "w>0", "y>0, x<0"])
def test_a_mask_that_cannot_be_read(mask: str) -> None:
    with pytest.raises(UserError, match="region_masks takes terms such as"):
        Regions(UNIFORM, (mask,))


def test_masks_without_prompts_and_without_a_camera() -> None:
    with pytest.raises(UserError, match="several region_masks want as many regions"):
        Regions(UNIFORM, ("y>0", "y<0"), prompted=False)
    with pytest.raises(ValueError, match="need Context.view"):
        gradient(Regions(UNIFORM, ("y>0",)), replace(asked(), view=None), T)
