"""The loop: it fits what the prior wants, resumes bit by bit, and guards against non-finite numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_helpers import NetworkPrior, ball_prior, disc, settings
from torch import Tensor

from sds3d.camera import orbit
from sds3d.engine import distill as loop
from sds3d.engine.distill import distill, prepare
from sds3d.engine.meter import Meter
from sds3d.engine.milestones import parse_milestones
from sds3d.engine.record import PATIENCE, Record
from sds3d.engine.resolve import resolve
from sds3d.errors import UserError
from sds3d.priors import load_prior


def run(chosen: Any, prior: Any, steps: int | None = None) -> tuple[loop.Distiller, list[Record]]:
    made = prepare(chosen, prior)
    records = []
    for record in distill(made):
        records.append(record)
        if record.step == steps:
            break
    return made, records


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@torch.no_grad()
def distance(made: loop.Distiller, colour: tuple[float, float, float]) -> float:
    """RMS over four views between the scene and the disc of `colour`; the hard edge alone costs about 0.1."""
    seen = made.scene.render(orbit(4), 16, torch.ones(4, 3)).rgb
    return float((seen - (disc(colour) + 1) / 2).square().mean().sqrt())


@pytest.mark.parametrize("scene", ["splats", "grid"])
def test_the_loop_renders_what_the_prior_knows(scene: str) -> None:
    """A point-mass oracle says what every view must look like: the scene's views must come close to it."""
    chosen = settings(scene=scene, steps=120, guidance_weight=0.02, splats__refine_every=1000, sds__weight="lambda")
    before = distance(prepare(chosen, ball_prior()), (0.9, 0.1, 0.1))
    made, records = run(chosen, ball_prior())
    red, blue = distance(made, (0.9, 0.1, 0.1)), distance(made, (0.1, 0.1, 0.9))
    assert red < 0.14 and before > 0.25 and blue > 0.25, f"RMS {before:.3f} -> {red:.3f} to red, {blue:.3f} to blue"
    assert [r.step for r in records] == list(range(1, 121)) and not any(r.skipped for r in records)


@pytest.mark.parametrize(("scene", "guidance"), [("splats", "sds"), ("splats", "vsd"), ("grid", "sds")])
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(scene: str, guidance: str) -> None:
    chosen = settings(scene=scene, guidance=guidance, steps=9, splats__refine_during="0.2,0.9", grid__occupancy_every=2)
    whole, records = run(chosen, NetworkPrior())
    first, _ = run(chosen, NetworkPrior(), steps=4)
    state = {k: v.clone() for k, v in first.state_dict().items()}
    again = prepare(chosen, NetworkPrior())
    again.load_state_dict(state, 4)
    rest = list(distill(again))
    assert same(whole.state_dict(), again.state_dict())
    assert [(r.loss, r.critic_loss, r.stats) for r in rest] == [(r.loss, r.critic_loss, r.stats) for r in records[4:]]
    if scene == "splats":  # it refined in between, or the test says little
        assert len(whole.scene) != 150  # type: ignore[arg-type]
    assert any(k.startswith("critic.") for k in state) == (guidance == "vsd")
    assert any("exp_avg_sq" in k for k in state)


def test_another_seed_is_another_run() -> None:
    a, b = (run(settings(steps=2, seed=seed), ball_prior())[0].state_dict() for seed in (0, 1))
    assert not same(a, b)


def test_closing_takes_the_critic_off_the_prior() -> None:
    prior = NetworkPrior()
    before = dict(prior.network.state_dict())
    made, _ = run(settings(guidance="vsd", steps=2), prior)
    assert prior.network.state_dict().keys() != before.keys()
    made.close()
    assert same(prior.network.state_dict(), before)


class Sick(NetworkPrior):
    """Not finite at the steps given (counted in calls)."""

    def __init__(self, when: set[int]) -> None:
        super().__init__()
        self.when, self.calls = when, 0

    def predict(self, x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        self.calls += 1
        eps = super().predict(x_t, t, cond)
        return eps * float("nan") if self.calls - 1 in self.when else eps


def test_a_step_that_is_not_finite_leaves_the_scene_alone() -> None:
    chosen = settings(steps=4)
    made = prepare(chosen, Sick({1}))
    steps = distill(made)
    next(steps)
    before = {k: v.clone() for k, v in made.scene.state_dict().items()}
    record = next(steps)
    assert record.skipped and record.stats["nonfinite"] > 0
    assert same(made.scene.state_dict(), before)
    assert not next(steps).skipped and made.failures == 0 and not same(made.scene.state_dict(), before)


def test_what_the_host_is_told_late_is_decided_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA: Adams and the critic leave all as it was, down to their counts, and the scene's statistics stay
    finite."""
    monkeypatch.setattr(loop, "known", lambda skip: False)
    made = prepare(settings(steps=4, guidance="vsd"), Sick({3}))  # of three calls a step the fourth
    made_steps = distill(made)
    next(made_steps)
    before = {k: v.clone() for k, v in made.state_dict().items()}
    record = next(made_steps)
    assert record.skipped and record.critic_loss is None and made.failures == 1
    changed = {k for k, v in made.state_dict().items() if not torch.equal(v, before[k])}
    assert changed <= {"scene.progress", "scene.grad2d", "scene.count", "cache.gradient"}
    assert all(v.isfinite().all() for v in made.state_dict().values())
    assert not next(made_steps).skipped and made.failures == 0
    changed = {k.split(".")[0] for k, v in made.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"scene", "optim", "cache", "critic"}


def test_it_gives_up_after_many_such_steps_and_says_where() -> None:
    made = prepare(settings(steps=50), Sick(set(range(100))))
    with pytest.raises(UserError, match="prior's predictions were not finite 10 steps in a row.*speed.float32=true"):
        list(distill(made))
    assert made.step == PATIENCE - 1


def test_view_words_only_for_priors_without_a_camera() -> None:
    for camera, words in ((True, False), (False, True)):
        prior = NetworkPrior(camera)
        made = prepare(settings(steps=1), prior)
        assert any("side view" in text for text in prior.texts) is words
        conds = made.conditions.at(orbit(4), torch.ones(4, 3))
        assert (conds["pos"].camera is not None) is camera
        if words:  # tokens are the prompts' lengths; front, side, back, side
            lengths = [len(f"a red ball, {view} view") for view in ("front", "side", "back", "side")]
            assert conds["pos"].tokens.flatten().tolist() == lengths
        assert len(set(conds["null"].tokens.flatten().tolist())) == 1


def test_camera_guidance_hides_the_camera_from_null_alone() -> None:
    made = prepare(settings(steps=1, camera_guidance=True), NetworkPrior())
    conds = made.conditions.at(orbit(4), torch.ones(4, 3))
    assert conds["null"].camera is None and conds["pos"].camera is not None


def test_the_critic_reads_the_plain_prompt_and_the_camera() -> None:
    made = prepare(settings(steps=1, guidance="vsd"), NetworkPrior(camera=False))
    conds = made.conditions.at(orbit(4), torch.ones(4, 3))
    assert conds["critic"].tokens.flatten().tolist() == [len("a red ball")] * 4
    assert torch.equal(conds["critic"].camera, orbit(4).angles)  # type: ignore[arg-type]
    assert conds["pos"].camera is None


def test_backgrounds_follow_the_policy() -> None:
    chosen = settings(views=2000, random_background=0.25)
    white, grey, colour = (loop.draw_background(chosen, 3, policy) for policy in ("white", "grey", "random"))
    assert (white == 1).all()
    assert (grey[:, 0] == grey[:, 1]).all() and (colour[:, 0] != colour[:, 1]).any()
    for drawn in (grey, colour):  # binomial: 5 standard deviations of a share of 2000 views are 0.05
        assert abs((drawn < 1).any(-1).float().mean() - 0.25) < 0.05
    assert loop.background_policy(resolve("x", {}), NetworkPrior()) == "random"


def test_one_time_per_batch_or_per_view() -> None:
    for per, distinct in (("view", 4), ("batch", 1)):
        chosen = settings(time__per=per, time__policy="uniform")
        assert len(set(loop.draw_times(chosen, 0.5, 7).tolist())) == distinct


def test_the_meter_books_every_part() -> None:
    clock = iter([0.0, 1.0, 3.0, 6.0, 6.5])
    meter = Meter(torch.device("cpu"))
    meter._now = lambda: next(clock)  # type: ignore[method-assign]
    meter.start()
    meter.lap("rest")
    meter.lap("renderer")
    meter.lap("prior")
    read = meter.read()
    assert read == {"prior": 3000, "renderer": 2000, "optimiser": 0, "rest": 1500, "total": 6500}


def test_views_grow_at_milestones_after_the_largest_was_tried() -> None:
    made = prepare(settings(steps=4, milestones="0:16,0.5:32", **{"splats.unveil": 0.0}), load_prior("embedded"))
    drawn: list[int] = []
    render = made.scene.render

    def recording(cameras: Any, size: int, background: Tensor) -> Any:
        drawn.append(size)
        return render(cameras, size, background)

    made.scene.render = recording  # type: ignore[method-assign]
    list(distill(made))
    assert drawn == [32, 16, 16, 32, 32]


@pytest.mark.parametrize("texts", [("0.1:16",), ("0:16", "1:32"), ("0:32", "0.5:16", "0.4:8"), ("0:0",), ("half",)])
def test_milestones_that_make_no_sense_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="SHARE:PIXELS"):
        parse_milestones(texts)
