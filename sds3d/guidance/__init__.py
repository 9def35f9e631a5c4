"""Distillation objectives by name, and the step that turns one into a gradient."""

from __future__ import annotations

from sds3d.guidance.base import Call, Context, CriticLike, Distillation, Objective, State, View
from sds3d.guidance.csd import CSD
from sds3d.guidance.evaluate import evaluate
from sds3d.guidance.nfsd import NFSD
from sds3d.guidance.sds import SDS
from sds3d.guidance.step import Stats, distill_gradient, surrogate
from sds3d.guidance.vsd import VSD

GUIDANCE: dict[str, type[Distillation]] = {"sds": SDS, "vsd": VSD, "csd": CSD, "nfsd": NFSD}

__all__ = [
    "CSD",
    "GUIDANCE",
    "NFSD",
    "SDS",
    "VSD",
    "Call",
    "Context",
    "CriticLike",
    "Distillation",
    "Objective",
    "State",
    "Stats",
    "View",
    "distill_gradient",
    "evaluate",
    "surrogate",
]
