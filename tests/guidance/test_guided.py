"""What acts on every classifier-free guidance: the standard-deviation rescale and the guidance interval."""

from __future__ import annotations

import pytest
import torch
from guidance_helpers import SHAPE, context, gaussians, gradient
from torch import Tensor

from sds3d.errors import UserError
from sds3d.guidance import GUIDANCE, SDS, VSD, Call, Distillation, distill_gradient, evaluate
from sds3d.guidance.base import State, iid_noise, q_sample


def images(n: int = 3) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def answers(t: Tensor) -> tuple[State, Tensor, Tensor]:
    """The state that a step at t (3,) builds, with the prior's e_pos and e_null there."""
    c = context(images(), gaussians())
    states = {"t": q_sample(c.x, t, iid_noise(c), c.prior.schedule)}
    e = evaluate([Call("pos"), Call("null")], states, c)
    return states["t"], e[Call("pos")], e[Call("null")]


def guided_part(objective: Distillation, t: Tensor) -> Tensor:
    """e^s of an SDS with weight 1: its gradient plus the noise."""
    g, _ = distill_gradient(objective, context(images(), gaussians()), t)
    return g + answers(t)[0].noise


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_rescale_in_velocity_units(share: float) -> None:
    """sigma_cfg / sigma_pos of v falls from r to 1 + (1 - share)(r - 1), and e^s keeps its direction in v."""
    t = torch.tensor([80, 500, 900])
    state, pos, null = answers(t)
    plain = null + 6 * (pos - null)
    v, v_pos, v_new = (
        (e - state.sigma * state.z) / state.alpha
        for e in (plain, pos, guided_part(SDS(cfg=6.0, weight="uniform", rescale=share), t))
    )
    r = v.flatten(1).std(1) / v_pos.flatten(1).std(1)
    assert ((r - 1).abs() > 0.05).all()  # there is something to rescale
    factor = (share / r + 1 - share).view(-1, 1, 1, 1)
    assert torch.allclose(v_new, factor * v, atol=1e-9)


def test_interval_is_per_view_and_includes_its_ends() -> None:
    t = torch.tensor([199, 200, 700])
    objective = SDS(cfg=6.0, weight="uniform", cfg_interval=(0.2, 0.7))
    _, pos, null = answers(t)
    e = guided_part(objective, t)
    assert torch.allclose(e[0], pos[0], atol=1e-12)
    assert torch.allclose(e[1:], (null + 6 * (pos - null))[1:], atol=1e-12)
    above = torch.tensor([701, 701, 701])
    assert torch.allclose(guided_part(objective, above), answers(above)[1], atol=1e-12)


def test_defaults_are_plain_guidance_and_options_reach_other_objectives() -> None:
    c = context(images(), gaussians(), critic=gaussians())
    c.conds["critic"] = c.conds["null"]  # then g = s w (e_pos - e_null)
    t = torch.tensor([300, 300, 300])
    state, pos, null = answers(t)
    plain = gradient(VSD(cfg=3.0), c, 300)
    assert torch.allclose(plain, 3 * state.sigma**2 * (pos - null), atol=1e-12)
    outside = VSD(cfg=3.0, cfg_interval=(0.5, 1.0))
    c = context(images(), gaussians(), critic=gaussians())
    c.conds["critic"] = c.conds["null"]
    assert torch.allclose(gradient(outside, c, 300), state.sigma**2 * (pos - null), atol=1e-12)


@pytest.mark.parametrize("options", [{"rescale": 1.1}, {"rescale": -0.1}, {"cfg_interval": (0.6, 0.5)}], ids=str)
def test_out_of_range(options: dict) -> None:
    with pytest.raises(UserError, match="rescale is a share .* cfg_interval two rising"):
        SDS(**options)


def test_every_guided_objective_heeds_them_and_the_others_say_so() -> None:
    for kind in GUIDANCE.values():
        if issubclass(kind, Distillation) and not hasattr(kind(), "cfg"):
            with pytest.raises(UserError, match="act on guidance of a scale cfg"):
                kind(rescale=0.5)
    x, t = images(), torch.tensor([300, 600, 900])
    for name in ("sds", "nfsd", "sjc", "self_sd", "headstudio_dsd", "asd", "ism"):
        kind, c = GUIDANCE[name], [context(x, gaussians()) for _ in range(2)]
        for each in c:
            each.conds["plain"] = each.conds["pos"]
        plain, changed = (distill_gradient(o, k, t)[0] for o, k in zip((kind(), kind(rescale=0.5)), c, strict=True))
        assert (plain - changed).abs().max() > 1e-3, name
