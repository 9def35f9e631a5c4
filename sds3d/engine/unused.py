"""What a user sets and a run would not read: refused by name, with what would make it count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sds3d.config import flatten, to_dict
from sds3d.engine.settings import Settings
from sds3d.errors import UserError
from sds3d.scenes import SCENES

# Settings that are written down for a run and not chosen by a key.
FILLED = {"prompt": "give it as the first argument", "preset": "choose one with --preset"}
DIGESTS = ("_digest", "_digests")  # ends of the names of those that are taken from files
SHAPE = ("count", "radius", "box", "spread", "opacity", "init_opacity")  # of the splats at a run's beginning
MOVING = ("move.", "edge", "faces", "bending", "stretch", "lr_move", "lr_shapes")  # of an asset whose geometry moves


@dataclass(frozen=True)
class Rule:
    """Settings that count only `where` something holds of the run; `why` they do not elsewhere, and what to do."""

    keys: tuple[str, ...]  # whole keys, or groups that end in a dot
    where: Callable[[Settings], bool]
    why: str  # {guidance} is the run's

    def covers(self, key: str) -> bool:
        return any(key == name or name.endswith(".") and key.startswith(name) for name in self.keys)


# Those that an objective decides on: in a comparison each setting is for the objectives that read it.
OF_GUIDANCE: tuple[Rule, ...] = (
    Rule(
        ("negative",),
        lambda s: "neg" in s.objective.needs(),
        "guidance {guidance!r} has no negative prompt; add --guidance csd or nfsd",
    ),
    Rule(("critic.",), lambda s: s.objective.critic, "guidance {guidance!r} has no critic; add --guidance vsd"),
)
OF_RUN: tuple[Rule, ...] = (
    Rule(("region_mix",), lambda s: bool(s.region_masks), "there are no regions; give region_masks"),
    Rule(("source_prompt",), lambda s: bool(s.source), "no run is edited; give one with --source RUN"),
    Rule(("random_background",), lambda s: s.background != "white", "background is white"),
    Rule(("time.hi_end",), lambda s: s.time.policy in ("band", "two_stage"), "time.policy is not band or two_stage"),
    Rule(("time.lo_end",), lambda s: s.time.policy == "band", "time.policy is not band"),
    Rule(("time.knots", "time.levels"), lambda s: s.time.policy == "piecewise", "time.policy is not piecewise"),
    Rule(("splats.default.",), lambda s: _splats(s).strategy == "default", "splats.strategy is not default"),
    Rule(("splats.mcmc.",), lambda s: _splats(s).strategy == "mcmc", "splats.strategy is not mcmc"),
    Rule(tuple(f"splats.{key}" for key in SHAPE), lambda s: not s.source, "--source begins with that run's scene"),
    Rule(
        tuple(f"texture.{key}" for key in MOVING), lambda s: s.scene_options.distance > 0, "nothing moves; see refine"
    ),
    Rule(("splats.radius",), lambda s: _splats(s).init == "ball", "splats.init is not ball"),
    Rule(("splats.box",), lambda s: _splats(s).init == "box", "splats.init is not box"),
)
RULES = (*OF_GUIDANCE, *OF_RUN)


def refuse_filled(values: Mapping[str, Any]) -> None:
    """UserError for what cannot be chosen by a key."""
    for key in values:
        if not choosable(key):
            what = FILLED.get(key, "it is taken from the file's content; leave it out")
            raise UserError(f"--set {key} has no effect: {what}")


def choosable(key: str) -> bool:
    return key not in FILLED and not key.endswith(DIGESTS)


def refuse_idle(settings: Settings, mine: Mapping[str, Any], rules: Sequence[Rule] = RULES) -> None:
    """UserError when a key of `mine`, what the user chose, has no effect in a run of `settings`; the default chosen
    anew is no mistake."""
    for rule in rules:
        for key in mine:
            if rule.covers(key) and not rule.where(settings) and _moved(settings, key):
                raise UserError(f"{key} has no effect: {rule.why.format(guidance=settings.guidance)}")


def refuse_idle_in_all(runs: Sequence[Settings], mine: Mapping[str, Any]) -> None:
    """UserError when a key of `mine`, which all runs share, is of the kind that an objective reads, and none does."""
    for rule in OF_GUIDANCE:
        if runs and not any(rule.where(settings) for settings in runs):
            refuse_idle(runs[0], mine, (rule,))


def _moved(settings: Settings, key: str) -> bool:
    head, _, rest = key.partition(".")
    usual = flatten(to_dict(SCENES[head].config()))[rest] if head in SCENES else flatten(Settings().as_dict())[key]
    return bool(flatten(settings.as_dict())[key] != usual)


def _splats(settings: Settings) -> Any:
    """The options of the run's splats, of its last stage or an earlier one."""
    return settings.scene_options if settings.scene == "splats" else settings.stage_options["splats"]
