"""Distillation objectives by name, and the step that turns one into a gradient."""

from __future__ import annotations

from sds3d.guidance.asd import ASD
from sds3d.guidance.base import Call, Context, CriticLike, Distillation, Objective, State, View
from sds3d.guidance.bsd import BSD, BSDAuto
from sds3d.guidance.cds import CDS
from sds3d.guidance.cfd import CFD
from sds3d.guidance.csd import CSD
from sds3d.guidance.csm import CSM
from sds3d.guidance.dds import DDS
from sds3d.guidance.denoised_sd import DenoisedSD
from sds3d.guidance.diverse_sd import DiverseSD
from sds3d.guidance.domain_sd import DomainSD
from sds3d.guidance.dreamcatalyst import DreamCatalyst
from sds3d.guidance.dreamsampler import DreamSampler
from sds3d.guidance.esd import ESD
from sds3d.guidance.evaluate import evaluate
from sds3d.guidance.gsd import GSD
from sds3d.guidance.headstudio_dsd import HeadStudioDSD
from sds3d.guidance.invariant_sd import InvariantSD
from sds3d.guidance.isd import ISD
from sds3d.guidance.ism import ISM
from sds3d.guidance.lmc_sds import LMCSDS
from sds3d.guidance.mvdream_recon import MVDreamRecon
from sds3d.guidance.nfsd import NFSD
from sds3d.guidance.pds import PDS
from sds3d.guidance.rewardsds import RewardSDS, RewardVSD
from sds3d.guidance.rfds import RFDS
from sds3d.guidance.rfds_rev import RFDSRev
from sds3d.guidance.sdi import SDI
from sds3d.guidance.sds import SDS
from sds3d.guidance.self_sd import SelfSD
from sds3d.guidance.sjc import SJC
from sds3d.guidance.stable_ssd import StableSSD
from sds3d.guidance.stein_ssd import SteinSSD
from sds3d.guidance.step import Stats, distill_gradient, surrogate
from sds3d.guidance.tsm import TSM
from sds3d.guidance.uni_instruct import UniInstruct
from sds3d.guidance.vpcsm import VPCSM
from sds3d.guidance.vsd import VSD
from sds3d.guidance.wrapper import NamedWrapper

GUIDANCE: dict[str, type[Distillation] | type[NamedWrapper]] = {
    "sds": SDS,
    "vsd": VSD,
    "csd": CSD,
    "nfsd": NFSD,
    "sjc": SJC,
    # with another control variate, or split and balanced
    "stable_ssd": StableSSD,
    "stein_ssd": SteinSSD,
    "lmc_sds": LMCSDS,
    "mvdream_recon": MVDreamRecon,
    "self_sd": SelfSD,
    "bsd": BSD,
    "bsd_auto": BSDAuto,
    # with a critic
    "esd": ESD,
    "domain_sd": DomainSD,
    "uni_instruct": UniInstruct,
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
    # around another objective
    "rewardsds": RewardSDS,
    "rewardvsd": RewardVSD,
    # with noise that sticks to the object
    "cfd": CFD,
    "gsd": GSD,
    # for flow-matching priors, and any other through eps
    "rfds": RFDS,
    "rfds_rev": RFDSRev,
    # with a negative branch
    "denoised_sd": DenoisedSD,
    "headstudio_dsd": HeadStudioDSD,
    # editing a finished run
    "dds": DDS,
    "pds": PDS,
    "dreamcatalyst": DreamCatalyst,
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
