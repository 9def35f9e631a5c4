"""DreamCatalyst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sds3d.guidance.base import Call, Context, State
from sds3d.guidance.dds import DDS


@dataclass(frozen=True, kw_only=True)
class DreamCatalyst(DDS):
    """g = (0.2 + 0.8 tau^(1/e)) (e_tgt - e_src) + 0.075 e^tau (x - x_src), with tau = t / T.

    e_tgt = e_null + s_i (e_i - e_null) + s (e_pos,i - e_i) on the render, e_src = e_null + s_i (e_i - e_null) on the
    source, one noise for both. Kim et al., "DreamCatalyst" (arXiv 2407.11394). Published: s = 7.5, s_i = 1.5, t linear
    from 0.9 to 0.2 (time.policy linear), InstructPix2Pix, where i is the source's image and a branch has 3 calls.
    Engine choice: a text-to-image prior is told the source by its prompt, so e_i is e_src and e_pos,i is e_pos; the
    source branch leaves out the call that it multiplies by zero: 5 calls.
    """

    source_cfg: float = 1.5
    identity: float = 0.075

    summary: ClassVar[str] = "edit a finished run: fidelity and editing weighed against each other along t"

    def calls(self, c: Context, states: Mapping[str, State]) -> list[Call]:
        return [Call("pos"), Call("null"), Call("src"), Call("null", "src"), Call("src", "src")]

    def combine(self, e: Mapping[Call, Tensor], states: Mapping[str, State], c: Context) -> Tensor:
        assert c.x_src is not None
        tau = (states["t"].t.to(c.x) / c.prior.schedule.steps).view_as(states["t"].alpha)
        kept = {at: e[Call("null", at)] + self.source_cfg * (e[Call("src", at)] - e[Call("null", at)]) for at in states}
        edit = kept["t"] + self.cfg * (e[Call("pos")] - e[Call("src")]) - kept["src"]
        return (0.2 + 0.8 * tau ** (1 / math.e)) * edit + self.identity * tau.exp() * (c.x - c.x_src)
