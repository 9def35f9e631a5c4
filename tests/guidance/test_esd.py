"""ESD: its mixture of the critic's predictions, cost, O5."""

from __future__ import annotations

import pytest
import torch
from objective_lab import Lab, called, close, combined, unrelated

from sds3d.errors import UserError
from sds3d.guidance import SDS, VSD
from sds3d.guidance.esd import ESD


def test_formula_and_cost() -> None:
    s = Lab().step(ESD(cfg=3.0, entropy=0.3))
    null, pos = s.e["null"], s.e["pos"]
    critic = 0.3 * s.e["critic_marg"] + 0.7 * s.e["critic"]
    assert close(s.g, s.state.sigma**2 * (null + 3 * (pos - null) - critic))
    assert s.cost == (2, 2)
    assert (ESD().cfg, ESD().entropy, ESD().weight) == (7.5, 0.5, "sds") and ESD.critic


def test_o5_without_entropy_it_is_vsd() -> None:
    lab = Lab()
    s = lab.step(ESD(entropy=0.0))
    assert torch.equal(s.g, lab.step(VSD()).g) and s.cost == (2, 1)
    assert called(ESD(entropy=0.0), s) == ["critic", "null", "pos"]


def test_all_entropy_is_the_critic_without_camera() -> None:
    s = Lab().step(ESD(cfg=1.0, entropy=1.0))
    assert close(s.g, s.state.sigma**2 * (s.e["pos"] - s.e["critic_marg"])) and s.cost == (1, 1)
    assert called(ESD(entropy=1.0), s) == ["critic_marg", "null", "pos"]
    assert ESD().needs() == {"pos", "null", "critic", "critic_marg"}


def test_a_critic_blind_to_the_camera_hides_the_entropy() -> None:
    s = Lab().step(ESD())
    e = unrelated(s)
    e["critic_marg"] = e["critic"]
    results = [combined(ESD(entropy=v), s, e) for v in (0.0, 0.4, 1.0)]
    assert close(results[1], results[0]) and close(results[2], results[0])


def test_o5_one_particle_a_view_and_no_entropy_is_sds() -> None:
    s = Lab().step(ESD())
    e = unrelated(s) | {"critic": s.n}
    assert close(combined(ESD(cfg=7.5, entropy=0.0), s, e), combined(SDS(cfg=7.5), s, e))
    assert not torch.allclose(combined(ESD(entropy=0.1), s, e), combined(SDS(cfg=7.5), s, e), atol=1e-2)


def test_entropy_is_a_share() -> None:
    for bad in (-0.1, 1.1):
        with pytest.raises(UserError, match="between 0 and 1"):
            ESD(entropy=bad)
