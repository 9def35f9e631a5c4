"""Image-prompt Score Distillation on finite sets with an image kernel (OBJECTIVES O14)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from guidance_helpers import SHAPE, context, gradient
from torch import Tensor

from sds3d.camera import Cameras, fit_distance
from sds3d.errors import UserError
from sds3d.guidance import Call, Context, View, distill_gradient
from sds3d.guidance.base import iid_noise, q_sample
from sds3d.guidance.isd import ISD
from sds3d.priors.oracle import MixturePrior, finite_set
from sds3d.schedule import cosine

T, N = 500, 3
BAR = cosine().alphas_cumprod[T].item()
ALPHA, SIGMA = math.sqrt(BAR), math.sqrt(1 - BAR)


def images(seed: int, n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


A = images(0, 4)  # two of each label
LABELS = ("red", "blue", "red", "blue")
X = images(1, N)


def prior(bandwidth: float = 0.3) -> MixturePrior:
    return replace(finite_set(A, LABELS), image_bandwidth=bandwidth)


def asked(p: MixturePrior, reference: Tensor | None, azimuths: list[float] | None = None) -> Context:
    """A context with ISD's three conditions; with `azimuths`, seen by such cameras."""
    c = context(X, p)
    nothing, image = p.image(None), p.image(None if reference is None else p.decode(reference[None]))
    c.conds = {
        "image": replace(p.text(["red"]), image=image),
        "noimage": replace(p.text(["red"]), image=nothing),
        "nullimage": replace(p.text([""]), image=nothing),
    }
    if azimuths is not None:
        fov, blank = torch.full((N,), 40.0), torch.ones(N, 1, 2, 2)
        cameras = Cameras(torch.tensor(azimuths), torch.zeros(N), fov, fit_distance(fov))
        c.view = View(cameras, blank, blank)
    return c


def state() -> tuple[Tensor, Tensor]:
    """z and t of the step that `gradient` takes."""
    c = context(X, prior())
    t = torch.full((N,), T)
    return q_sample(X, t, iid_noise(c), cosine()).z, t


def e(name: str, c: Context) -> Tensor:
    """The prior's answer to one of the conditions at that state."""
    z, t = state()
    return c.prior.predict(z, t, c.conds[name].repeat(N))


def test_without_a_reference_the_prompt_controls_itself_away() -> None:
    """r = 0, s = 1, control "prompt": exactly 0. With s > 1 (s - 1) CSD remains, with control "null" s CSD."""
    c = asked(prior(), None)
    direction = e("noimage", c) - e("nullimage", c)
    assert direction.abs().max() > 0.1
    assert gradient(ISD(cfg=1.0), asked(prior(), None), T).abs().max() == 0
    uniform = gradient(ISD(cfg=4.0, weight="uniform"), asked(prior(), None), T)
    assert torch.allclose(uniform, 3 * direction, atol=1e-12)
    null = gradient(ISD(cfg=4.0, weight="uniform", control="null"), asked(prior(), None), T)
    assert torch.allclose(null, 4 * direction, atol=1e-12)


@pytest.mark.parametrize("control", ["prompt", "null"])
def test_formula_with_guidance_and_weight(control: str) -> None:
    c = asked(prior(), A[2])
    image, noimage, null = e("image", c), e("noimage", c), e("nullimage", c)
    assert (image - noimage).abs().max() > 0.01
    expected = null + 4 * (image - null) - (noimage if control == "prompt" else null)
    g = gradient(ISD(cfg=4.0, control=control), asked(prior(), A[2]), T)  # type: ignore[arg-type]
    assert torch.allclose(g, SIGMA**2 * expected, atol=1e-12)


def test_a_sharp_kernel_is_the_reference_itself_and_references_lead_to_their_own_images() -> None:
    """K -> delta at a_r: e(y, r) = (z - alpha a_r) / sigma, so that x moves from the mean of p(y) towards a_r."""
    sharp = prior(bandwidth=1e-3)
    z, _ = state()
    for r in (0, 2):
        c = asked(sharp, A[r])
        assert torch.allclose(e("image", c), (z - ALPHA * A[r]) / SIGMA, atol=1e-9)
        g = gradient(ISD(cfg=1.0, weight="lambda"), c, T)  # x0(no image) - a_r
        mean = (z - SIGMA * e("noimage", c)) / ALPHA
        assert torch.allclose(g, mean - A[r], atol=1e-9)
        x = X
        for _ in range(15):
            x = x - 0.3 * gradient(ISD(cfg=1.0, control="null", weight="lambda"), replace(asked(sharp, A[r]), x=x), 900)
        other = A[2 - r]
        assert ((x - A[r]).flatten(1).norm(dim=1) < (x - other).flatten(1).norm(dim=1)).all()


def test_the_adapter_fades_from_the_reference_view_to_the_one_behind_it() -> None:
    azimuths, expected = [30.0, 120.0, 210.0], torch.tensor([0.9, 0.55, 0.2]).double().view(-1, 1, 1, 1)
    c = asked(prior(), A[2], azimuths)
    image, noimage, null = e("image", c), e("noimage", c), e("nullimage", c)
    objective = ISD(cfg=4.0, weight="uniform", scale=0.9, scale_away=0.2, azimuth=30.0)
    toned = noimage + expected * (image - noimage)
    wanted = null + 4 * (toned - null) - noimage
    assert torch.allclose(gradient(objective, asked(prior(), A[2], azimuths), T), wanted, atol=1e-6)  # float32 angles
    off = ISD(cfg=4.0, weight="uniform", scale=0.0, scale_away=0.0)
    assert torch.allclose(gradient(off, asked(prior(), A[2], azimuths), T), 3 * (noimage - null), atol=1e-12)


def test_predictions_per_view() -> None:
    t = torch.full((N,), T)
    plain = ISD(control="null", scale_away=1.0)
    for objective, nfe in [(ISD(), 3), (plain, 2), (ISD(control="null"), 3), (ISD(cfg=1.0), 2)]:
        assert distill_gradient(objective, asked(prior(), A[2], [0.0, 90.0, 180.0]), t)[1].nfe == nfe
    assert ISD().needs() == {call.cond for call in ISD().calls(asked(prior(), None), {})}
    assert Call("noimage") not in plain.calls(asked(prior(), None), {})
    with pytest.raises(UserError, match="must not be negative"):
        ISD(scale_away=-0.1)
