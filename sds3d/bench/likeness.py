"""What the probe sees in some views of each seed; without a probe, how much the seeds differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sds3d.errors import UserError

if TYPE_CHECKING:
    from sds3d.probe import Probe


@dataclass(frozen=True)
class Likeness:
    """Shares in [0, 1] over seeds and views. None: nothing to tell it by."""

    r1: float | None = None  # the prompt's noun is the probe's first
    r5: float | None = None  # or among its first five
    colour: float | None = None
    janus: float | None = None  # views from behind taken for the front
    diversity: float | None = None  # mean over pairs of seeds: cosine distance, or RMS of pixels without a probe
    judged_by: str = ""  # "probe", or "pixels" where there is none

    def cells(self) -> tuple[str, ...]:
        """R@1, R@5, colour, Janus, diversity."""
        shares = ("" if v is None else f"{v:.0%}" for v in (self.r1, self.r5, self.colour, self.janus))
        return (*shares, "" if self.diversity is None else f"{self.diversity:.3f}")


@cache
def probe() -> Probe | None:
    """The judge, or None where this installation has none."""
    from sds3d.probe import load_probe

    try:
        return load_probe()
    except UserError:
        return None


def look_at(prompt: str, views: Tensor, azimuths: Sequence[float]) -> Likeness:
    """Likeness of views (S, V, 3, H, W) of S seeds, the V cameras at `azimuths` degrees.

    A prompt in which the probe knows no noun is judged by pixels.
    """
    judge = probe()
    if judge is None:
        return Likeness(diversity=pixel_diversity(views), judged_by="pixels")
    from sds3d.bench.scores import diversity, joint_rank, recall
    from sds3d.bench.targets import Vocabulary, read
    from sds3d.probe.ceiling import janus

    try:
        target = read(prompt, "compare", Vocabulary(judge.nouns, judge.known, judge.fronted))
    except UserError:
        return Likeness(diversity=pixel_diversity(views), judged_by="pixels")
    images, truth = views.flatten(0, 1), torch.tensor(azimuths).repeat(len(views))
    ranks = joint_rank([judge.rank(images, noun) for noun in target.nouns]).tolist()
    colour = None
    if target.colour is not None and target.colour in judge.colours:
        colour = float((judge.colour(images) == judge.colours.index(target.colour)).double().mean())
    return Likeness(
        r1=recall(ranks, 1),
        r5=recall(ranks, 5),
        colour=colour,
        janus=janus(judge.azimuth(images), truth) if target.faced else None,
        diversity=diversity(judge.embed(images).unflatten(0, views.shape[:2])),
        judged_by="probe",
    )


def pixel_diversity(views: Tensor) -> float | None:
    """Root mean square difference between two seeds' same views, mean over the pairs; None for one seed."""
    n = len(views)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    if not pairs:
        return None
    return sum(float((views[i] - views[j]).square().mean().sqrt()) for i, j in pairs) / len(pairs)
