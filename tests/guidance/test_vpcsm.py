"""Visual Prompt Classifier Score Matching in closed form on Gaussians (O9)."""

from __future__ import annotations

import torch
from guidance_helpers import ByCondition, cond, context
from path_helpers import STD, T, eps, images, ladder, noised, ratio, walk

from sds3d.guidance.base import Context, iid_noise
from sds3d.guidance.csm import CSM
from sds3d.guidance.step import distill_gradient
from sds3d.guidance.vpcsm import VPCSM
from sds3d.priors.oracle import gaussian

NAMES = ("image", "noimage", "nullimage")
MEANS = dict(zip(NAMES, images(3, seed=11), strict=True))


def pictured() -> Context:
    """A Gaussian of its own for each condition with image tokens."""
    prior = ByCondition([gaussian(MEANS[name], STD) for name in NAMES])
    c = context(images(), prior)
    c.conds = {name: cond(i) for i, name in enumerate(NAMES)}
    return c


def matched(objective: VPCSM) -> torch.Tensor:
    return distill_gradient(objective, pictured(), T)[0]


def test_view_by_view() -> None:
    x, g, other = images(), matched(VPCSM()), matched(VPCSM(cfg=3.0, image_cfg=2.0))
    noise = iid_noise(pictured())
    for i, t in enumerate(T.tolist()):
        z_t = walk(noised(x[i], 0, noise[i]), [*ladder(0, max(t - 100, 0), 200), t], MEANS["nullimage"])
        image, text, empty = (eps(z_t, t, MEANS[name]) for name in NAMES)
        assert torch.allclose(g[i], ratio(t) * 7.5 * (image - empty), atol=1e-8)  # equal scales
        assert torch.allclose(other[i], ratio(t) * (3 * (text - empty) + 2 * (image - text)), atol=1e-8)


def test_without_the_picture_it_is_csm() -> None:
    """CSM whose prompt is "noimage" and whose empty prompt is "nullimage"."""
    c = pictured()
    c.conds = {"pos": c.conds["noimage"], "null": c.conds["nullimage"]}
    assert torch.allclose(matched(VPCSM(image_cfg=0.0)), distill_gradient(CSM(), c, T)[0], atol=1e-12)


def test_conditions_and_predictions_per_view() -> None:
    """The path and three."""
    c = pictured()
    states = VPCSM().states(c, torch.full((3,), 500))
    assert {call.cond for call in VPCSM().calls(c, states)} == VPCSM().needs() == set(NAMES)
    assert distill_gradient(VPCSM(), pictured(), torch.full((3,), 500))[1].nfe == 2 + 1 + 3
