"""Families of diffusion models, by the class of the network that denoises."""

from __future__ import annotations

from sds3d.priors.families import deepfloyd, embedded, flux, mvdream, pixart, sana, sd, sd3, sdxl
from sds3d.priors.families.base import Family

# Class in model_index.json -> families, asked in this order whether a model is theirs.
FAMILIES: dict[str, tuple[Family, ...]] = {
    "EigenDenoiser": (embedded.FAMILY,),
    "UNet2DConditionModel": (sdxl.FAMILY, deepfloyd.FAMILY, mvdream.FAMILY, sd.FAMILY),
    "MultiViewUNetModel": (mvdream.FAMILY,),
    "SD3Transformer2DModel": (sd3.FAMILY,),
    "FluxTransformer2DModel": (flux.FAMILY,),
    "PixArtTransformer2DModel": (pixart.SIGMA, pixart.ALPHA),
    "Transformer2DModel": (pixart.SIGMA, pixart.ALPHA),
    "SanaTransformer2DModel": (sana.FAMILY,),
}


def supported() -> str:
    """All families in words."""
    names = list(dict.fromkeys(family.summary for group in FAMILIES.values() for family in group))
    return f"{', '.join(names[1:])} and {names[0]} models"
