"""Views that grow during a run: small ones are cheap, and early on there is nothing fine to see."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sds3d.errors import UserError

Milestone = tuple[float, int]  # share of the run from which views have so many pixels a side


def parse_milestones(texts: Sequence[str]) -> tuple[Milestone, ...]:
    """("0:128", "0.5:512") -> ((0.0, 128), (0.5, 512)). UserError unless the shares rise from 0 and stay below 1."""
    try:
        found = tuple((float(share), int(pixels)) for share, _, pixels in (text.partition(":") for text in texts))
    except ValueError:
        raise _wrong(texts) from None
    rising = all(a < b for (a, _), (b, _) in pairwise(found))
    if found and (found[0][0] != 0 or found[-1][0] >= 1 or not rising or min(pixels for _, pixels in found) < 1):
        raise _wrong(texts)
    return found


def size_at(milestones: Sequence[Milestone], progress: float) -> int:
    """Pixels a side at `progress` in [0, 1]."""
    return [pixels for share, pixels in milestones if share <= progress][-1]


def _wrong(texts: Sequence[str]) -> UserError:
    given = ",".join(texts)
    return UserError(f"milestones are SHARE:PIXELS, rising from share 0, such as 0:128,0.5:512, not {given}")
