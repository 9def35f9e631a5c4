"""How good the probe itself is: its figures on renders of objects it never learnt from, over white."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.probe.album import Pictures
from sds3d.probe.angles import angular_error, janus
from sds3d.probe.augment import over, premultiplied
from sds3d.probe.judge import Probe, degrees, ranks
from sds3d.probe.model import Seen

CLEAR, DOUBTFUL = 20.0, 0.2  # a noun has a front to the probe: median error (degrees) and Janus rate at most these


def median(values: Tensor) -> float | None:
    return round(float(values.median()), 1) if len(values) else None


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def share(hits: Tensor) -> float | None:
    return rounded(float(hits.float().mean())) if len(hits) else None


class Measured:
    """The probe's answers to the ceiling pictures beside the truth; every method takes a mask over them."""

    def __init__(self, probe: Probe, pictures: Pictures) -> None:
        rows = pictures.rows(lambda look: look.ceiling)
        parts = [probe.see(_over_white(pictures, some)) for some in rows.split(512)]
        seen = Seen(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        self.noun = pictures.field(lambda k: probe.index[k.noun])[rows].long()
        cosines = seen.embedding @ probe.noun_vectors.cpu().T
        self.rank = ranks(cosines, self.noun, probe.rivals)
        self.score = cosines.gather(1, self.noun[:, None])[:, 0]
        self.hue, self.colour = seen.colour[:, :-1].argmax(-1), seen.colour.argmax(-1)
        self.named = pictures.field(lambda k: probe.colours.index(k.colour))[rows].long()
        self.azimuth, self.angle = degrees(seen.azimuth), pictures.azimuth[rows]
        self.error = angular_error(self.azimuth, self.angle)
        self.fronted = pictures.field(lambda k: k.fronted)[rows].bool()
        self.new = ~pictures.field(lambda k: k.seen)[rows].bool()
        self.shared = pictures.field(lambda k: k.shared)[rows].bool()
        self.generated = pictures.field(lambda k: k.generated)[rows].bool()

    def recall(self, mask: Tensor, k: int) -> float | None:
        """Mean over nouns of the share of pictures whose noun is among the k best."""
        present = self.noun[mask].unique()
        hits = (self.rank < k).float()
        means = [hits[mask & (self.noun == n)].mean() for n in present]
        return round(float(torch.stack(means).mean()), 4) if means else None

    def figures(self, mask: Tensor) -> dict[str, Any]:
        """All figures over the pictures of a mask."""
        plain, front = mask & (self.named < int(self.named.max())), mask & self.fronted
        return {
            "nouns": len(self.noun[mask].unique()), "images": int(mask.sum()),
            "r1": self.recall(mask, 1), "r5": self.recall(mask, 5),
            "colour": share((self.hue == self.named)[plain]),
            "colour_or_none": share((self.colour == self.named)[mask]),
            "azimuth": median(self.error[front]), "janus": rounded(janus(self.azimuth[front], self.angle[front])),
        }  # fmt: skip

    def has_front(self, noun: int, mask: Tensor) -> bool:
        """Whether the probe finds this noun's front on the pictures of a mask."""
        mine = mask & self.fronted & (self.noun == noun)
        if int(mine.sum()) < 4:
            return False
        mistaken = janus(self.azimuth[mine], self.angle[mine])
        return float(self.error[mine].median()) <= CLEAR and (mistaken or 0.0) <= DOUBTFUL


def measure(probe: Probe, pictures: Pictures) -> dict[str, Any]:
    """What goes into the probe's config: `ceiling`, `fronted` and `by_noun`.

    The ceiling's own figures are over pictures of objects that the probe never saw; azimuth and Janus are of nouns
    whose front it finds: chosen on every second picture, judged on the others. `groups` splits everything by objects,
    there with azimuth and Janus of all that have a front by their source's word.
    """
    m = Measured(probe, pictures)
    even, anywhere = torch.arange(len(m.noun)) % 2 == 0, torch.ones(len(m.noun), dtype=torch.bool)
    clear = torch.tensor([n for n in range(len(probe.nouns)) if m.has_front(n, even)], dtype=torch.long)
    judged = torch.isin(m.noun, clear) & m.fronted & ~even
    groups = {
        "new to the probe": m.new,
        "- generated, none of the prior's": m.new & m.generated,
        "- modelled, none of the prior's": m.new & ~m.generated & ~m.shared,
        "- modelled, the prior trains on it": m.new & m.shared,
        "other views of one it learnt": ~m.new,
        "all": anywhere,
    }
    ceiling = {
        **m.figures(m.new), "score": round(float(m.score[m.new].mean()), 4), "fronted_nouns": len(clear),
        "azimuth": median(m.error[judged]), "janus": rounded(janus(m.azimuth[judged], m.angle[judged])),
        "groups": {name: m.figures(mask) for name, mask in groups.items()},
    }  # fmt: skip
    return {
        "ceiling": ceiling,
        "fronted": [noun for n, noun in enumerate(probe.nouns) if m.has_front(n, anywhere)],
        "by_noun": {noun: _noun_figures(m, n) for n, noun in enumerate(probe.nouns)},
    }


def _noun_figures(m: Measured, noun: int) -> dict[str, Any]:
    mine = m.noun == noun
    return {
        "r1": share((m.rank < 1)[mine]), "r5": share((m.rank < 5)[mine]),
        "azimuth": median(m.error[mine & m.fronted]), "images": int(mine.sum()), "new": bool((mine & m.new).any()),
    }  # fmt: skip


def _over_white(pictures: Pictures, rows: Tensor) -> Tensor:
    rgba = torch.from_numpy(pictures.rgba[rows.numpy()])
    return over(premultiplied(rgba), torch.ones(len(rows)))
