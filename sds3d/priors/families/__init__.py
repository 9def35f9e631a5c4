"""Families of diffusion models, by the class of the network that denoises."""

from __future__ import annotations

from sds3d.priors.families import deepfloyd, embedded, sd, sdxl
from sds3d.priors.families.base import Family

# Class in model_index.json -> families, asked in this order whether a model is theirs.
FAMILIES: dict[str, tuple[Family, ...]] = {
    "EigenDenoiser": (embedded.FAMILY,),
    "UNet2DConditionModel": (sdxl.FAMILY, deepfloyd.FAMILY, sd.FAMILY),
}


def supported() -> str:
    """All families in words."""
    names = [family.summary for group in FAMILIES.values() for family in group]
    return f"{', '.join(names[1:])} and {names[0]} models"
