"""From what the judge saw to figures: pure functions of ranks, angles and embeddings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.probe.angles import angular_error, janus


@dataclass(frozen=True)
class Verdict:
    """What the judge says of the V views of one result."""

    prompt: str
    group: str
    seed: int
    ranks: list[int]  # of each view; 0 is best
    colours: list[bool] | None  # is it the colour asked for? None where none was
    azimuths: list[float] | None  # degrees that the judge reads; None where front and back are not to be told apart
    score: float  # image-text similarity, mean over the views
    embedding: Tensor  # (V, D)
    seconds: float
    failed: str | None = None  # why there is nothing to see


@dataclass(frozen=True)
class Figure:
    """A mean over prompts with its standard error."""

    value: float
    error: float | None  # None from fewer than two prompts
    prompts: int


Figures = dict[str, Figure | None]  # None: nothing to measure it on


def joint_rank(ranks: Sequence[Tensor]) -> Tensor:
    """(B,) rank of several nouns that are all to be seen, from each one's rank (B,): n nouns fill n places, so the
    worst of them is moved up by n - 1, and 0 means that they are the first n."""
    return (torch.stack(list(ranks)).amax(0) - (len(ranks) - 1)).clamp(min=0)


def recall(ranks: Iterable[int], k: int) -> float:
    """Share of the views whose noun is among the first k."""
    hits = [rank < k for rank in ranks]
    return sum(hits) / len(hits)


def diversity(embeddings: Tensor) -> float | None:
    """Mean cosine distance over pairs of seeds, view by view; (S, V, D) -> 0 for copies, None for one seed."""
    n = len(embeddings)
    if n < 2:
        return None
    unit = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    similar = torch.einsum("avd,bvd->ab", unit, unit) / unit.shape[1]
    return 1.0 - ((similar.sum() - similar.trace()) / (n * (n - 1))).item()


def summarise(verdicts: Sequence[Verdict], true: Sequence[float]) -> Figures:
    """Figures of one way of making things; `true` are the views' azimuths.

    Each is a mean over prompts of the mean over their seeds. Azimuth errors are medians over all views, because a
    mirrored guess is an outlier. Failed results count as not recognised and are left out of colours and angles.
    """
    seen = [v for v in verdicts if v.failed is None]
    truth = torch.tensor(list(true))
    angles = [angular_error(torch.tensor(v.azimuths), truth) for v in seen if v.azimuths]
    return {
        "r1": _over_prompts(verdicts, lambda v: 0.0 if v.failed else recall(v.ranks, 1)),
        "r5": _over_prompts(verdicts, lambda v: 0.0 if v.failed else recall(v.ranks, 5)),
        "colour": _over_prompts(seen, lambda v: None if v.colours is None else sum(v.colours) / len(v.colours)),
        "azimuth": _median(angles, len({v.prompt for v in seen if v.azimuths})),
        "janus": _over_prompts(seen, lambda v: None if v.azimuths is None else janus(torch.tensor(v.azimuths), truth)),
        "diversity": _spread(seen),
        "score": _over_prompts(seen, lambda v: v.score),
        "seconds": _over_prompts(verdicts, lambda v: v.seconds),
    }


def _over_prompts(verdicts: Iterable[Verdict], of: Callable[[Verdict], float | None]) -> Figure | None:
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        value = of(verdict)
        if value is not None:
            by_prompt[verdict.prompt].append(value)
    return mean([sum(values) / len(values) for values in by_prompt.values()])


def mean(values: Sequence[float]) -> Figure | None:
    """Mean and its standard error."""
    n = len(values)
    if not n:
        return None
    centre = sum(values) / n
    error = math.sqrt(sum((v - centre) ** 2 for v in values) / (n - 1) / n) if n > 1 else None
    return Figure(centre, error, n)


def _median(errors: list[Tensor], prompts: int) -> Figure | None:
    return Figure(torch.cat(errors).double().quantile(0.5).item(), None, prompts) if errors else None


def _spread(verdicts: Iterable[Verdict]) -> Figure | None:
    by_prompt: dict[str, list[Tensor]] = defaultdict(list)
    for verdict in verdicts:
        by_prompt[verdict.prompt].append(verdict.embedding)
    spreads = [diversity(torch.stack(views)) for views in by_prompt.values()]
    return mean([s for s in spreads if s is not None])
