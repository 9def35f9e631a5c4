"""Which floating-point type to compute a prior in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch

LARGE = 100_000_000  # parameters; below this, a GPU is fast enough in float32


def pick(device: torch.device, parameters: int) -> dict[str, torch.dtype]:
    """The fast type that is safe, by component, for a network with that many parameters.

    On CUDA the network and the text encoder take float16, whose three more bits matter for the small differences that
    guidance amplifies; the VAE takes bfloat16 where it can, since gradients pass it and must not over- or underflow.
    """
    network = vae = torch.float32
    if parameters >= LARGE and device.type == "cuda":
        network = torch.float16
        vae = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    elif device.type == "cpu" and native_bfloat16():
        network = vae = torch.bfloat16
    return {"unet": network, "text_encoder": network, "vae": vae}


def of_component(name: str, picked: Mapping[str, torch.dtype], float16: bool = True) -> torch.dtype:
    """What `pick` says for a component of any name; where `float16` is False, bfloat16 or float32 instead of it."""
    role = "vae" if name == "vae" else "text_encoder" if name.startswith("text_encoder") else "unet"
    if float16 or picked[role] != torch.float16:
        return picked[role]
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32


@cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets of this CPU as Linux names them; empty where they cannot be read."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware, which makes it about twice as fast as float32."""
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
