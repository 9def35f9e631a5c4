"""Distillation objectives by name, and the step that turns one into a gradient."""

from __future__ import annotations

from sds3d.guidance.asd import ASD
from sds3d.guidance.base import Call, Context, CriticLike, Distillation, Objective, State, View
from sds3d.guidance.cds import CDS
from sds3d.guidance.csd import CSD
from sds3d.guidance.csm import CSM
from sds3d.guidance.diverse_sd import DiverseSD
from sds3d.guidance.dreamsampler import DreamSampler
from sds3d.guidance.evaluate import evaluate
from sds3d.guidance.invariant_sd import InvariantSD
from sds3d.guidance.isd import ISD
from sds3d.guidance.ism import ISM
from sds3d.guidance.nfsd import NFSD
from sds3d.guidance.sdi import SDI
from sds3d.guidance.sds import SDS
from sds3d.guidance.step import Stats, distill_gradient, surrogate
from sds3d.guidance.tsm import TSM
from sds3d.guidance.vpcsm import VPCSM
from sds3d.guidance.vsd import VSD

GUIDANCE: dict[str, type[Distillation]] = {
    "sds": SDS,
    "vsd": VSD,
    "csd": CSD,
    "nfsd": NFSD,
    # at other noise levels or with structured noise
    "asd": ASD,
    "diverse_sd": DiverseSD,
    "sdi": SDI,
    # along a path
    "ism": ISM,
    "tsm": TSM,
    "csm": CSM,
    "vpcsm": VPCSM,
    "cds": CDS,
    "invariant_sd": InvariantSD,
    "dreamsampler": DreamSampler,
    # with an image prompt
    "isd": ISD,
}

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
