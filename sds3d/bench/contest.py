"""Does it look like what was asked for? Fixed prompts and seeds, every contestant's pictures, one judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from sds3d.bench.contestants import SEEN, Contestant, ring
from sds3d.bench.scores import Verdict, joint_rank, recall, summarise
from sds3d.bench.shots import Album, Shot, key_of
from sds3d.bench.targets import Target
from sds3d.engine.interrupt import Flag, Interrupted
from sds3d.priors.base import Prior

if TYPE_CHECKING:
    from sds3d.probe.judge import Probe

FORMAT = 1


@dataclass(frozen=True)
class Unit:
    """One result to be made."""

    contestant: Contestant
    target: Target
    seed: int


@dataclass(frozen=True)
class Tick:
    """How far the making is."""

    done: int
    total: int
    label: str  # of the result just made or found
    reused: int  # results that were there already
    left: float | None  # seconds; None before the first result


@dataclass(frozen=True)
class Bench:
    """Everything that is compared, on everything it is compared by."""

    contestants: Sequence[Contestant]
    targets: Sequence[Target]
    seeds: int
    weights: str  # fingerprint of the prior's

    def units(self) -> list[Unit]:
        """Prompt by prompt, so that a bench that was stopped has compared something."""
        everything = product(range(self.seeds), self.targets, self.contestants)
        return [Unit(contestant, target, seed) for seed, target, contestant in everything]

    def key(self, unit: Unit) -> tuple[str, dict[str, Any]]:
        """(key in the album, what it stands for)."""
        from sds3d import __version__

        identity = unit.contestant.identity(unit.target.prompt, unit.seed)
        identity |= {"weights": self.weights, "sds3d": __version__}
        return key_of(identity), identity


def make(
    bench: Bench, prior: Callable[[], Prior], album: Album, stop: Flag, force: bool = False
) -> Iterator[tuple[Tick, Unit, Shot]]:
    """Every result of the bench, from the album where it has it (unless `force`), as each is there.

    The prior is called for when the first result has to be made. Raises Interrupted between two steps once a stop is
    asked for.
    """
    units = bench.units()
    clock = _Clock(units)
    reused = 0
    for done, unit in enumerate(units, 1):
        key, identity = bench.key(unit)
        shot = None if force else album.get(key)
        if shot is not None:
            reused += 1
        else:
            try:
                shot = unit.contestant.make(prior(), unit.target.prompt, unit.seed, stop)
            except Interrupted:
                raise Interrupted(
                    f"stopped with {done - 1} of {len(units)} results made; the same command goes on from there"
                ) from None
            album.put(key, shot, identity)
        clock.count(unit, shot)
        label = f"{unit.contestant.label}: {unit.target.prompt}"
        yield Tick(done, len(units), label, reused, clock.left()), unit, shot


class _Clock:
    """What is left to do, from what each contestant's results took so far."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.todo: dict[str, int] = {}
        self.took: dict[str, list[float]] = {}
        for unit in units:
            self.todo[unit.contestant.label] = self.todo.get(unit.contestant.label, 0) + 1

    def count(self, unit: Unit, shot: Shot) -> None:
        self.todo[unit.contestant.label] -= 1
        self.took.setdefault(unit.contestant.label, []).append(shot.seconds)

    def left(self) -> float | None:
        means = {label: sum(took) / len(took) for label, took in self.took.items()}
        if not means:
            return None
        usual = max(means.values())  # of a contestant that has not had its turn
        return sum(n * means.get(label, usual) for label, n in self.todo.items())


def judge(probe: Probe, unit: Unit, shot: Shot) -> Verdict:
    """What the probe sees in a result."""
    target, images = unit.target, shot.images
    ranks = joint_rank([probe.rank(images, noun) for noun in target.nouns])
    colours = None
    if target.colour in probe.colours:
        colours = (probe.hue(images) == probe.colours.index(target.colour)).tolist()
    return Verdict(
        prompt=target.prompt,
        group=target.group,
        seed=unit.seed,
        ranks=ranks.tolist(),
        colours=colours,
        azimuths=probe.azimuth(images).tolist() if target.faced else None,
        score=probe.score(images, target.prompt).mean().item(),
        embedding=probe.embed(images),
        seconds=shot.seconds,
        failed=shot.failed,
    )


def compare(bench: Bench, verdicts: dict[str, list[Verdict]], ceiling: dict[str, Any]) -> dict[str, Any]:
    """The report: a row of figures for every contestant, by list and over all, and what became of every prompt."""
    true = ring().azimuth.tolist()
    rows = []
    reference: dict[str, float] = {}  # R@5 of the 2D samples by list
    for contestant in bench.contestants:
        mine = verdicts[contestant.label]
        groups = list(dict.fromkeys(v.group for v in mine))
        for group in ["all", *groups] if len(groups) > 1 else ["all"]:
            some = [v for v in mine if group in ("all", v.group)]
            figures = {k: None if f is None else asdict(f) for k, f in summarise(some, true).items()}
            recognised = sum(0.0 if v.failed else recall(v.ranks, 5) for v in some) / len(some)
            reference.setdefault(group, recognised)  # the first contestant's
            rows.append(
                {
                    "label": contestant.label,
                    "guidance": contestant.guidance,
                    "scene": contestant.scene,
                    "list": group,
                    "results": len(some),
                    "failed": sum(v.failed is not None for v in some),
                    **figures,
                    "r5_of_2d": recognised / reference[group] if reference[group] else None,
                }
            )
    return {
        "format": FORMAT,
        "made": time.strftime("%Y-%m-%d"),
        "prompts": len(bench.targets),
        "seeds": bench.seeds,
        **SEEN,
        "weights": bench.weights,
        "ceiling": ceiling,
        "rows": rows,
        "by_prompt": {label: [_brief(v) for v in some] for label, some in verdicts.items()},
    }


def _brief(verdict: Verdict) -> dict[str, Any]:
    kept = ("prompt", "seed", "ranks", "colours", "score", "seconds", "failed")
    brief = {name: getattr(verdict, name) for name in kept}
    brief["azimuths"] = None if verdict.azimuths is None else [round(a) for a in verdict.azimuths]
    return brief | {"score": round(verdict.score, 4), "seconds": round(verdict.seconds, 2)}
