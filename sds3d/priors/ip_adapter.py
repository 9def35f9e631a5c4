"""IP-Adapters: a UNet that attends to a picture beside the text, through keys and values of its own.

Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models" (arXiv 2308.06721).
`Cond.image` holds what CLIP's vision model makes of the picture: its vector (B, 1, E), or for the plus and full
variants its patches' states (B, P, E). Conditions without a picture get the state "no image" that the adapter was
trained with: a vector of zeros, or the states of a grey picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.priors.base import Cond, Prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.families import sd, sdxl
from sds3d.priors.families.base import frozen
from sds3d.priors.folder import load_part, part_at, weights_of
from sds3d.priors.part import Part, first_line, read_json
from sds3d.priors.text_cache import give_back_memory

CLASS, MODULE = "CLIPVisionModelWithProjection", "transformers.models.clip.modeling_clip"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training pictures
GROUPS = ("image_proj", "ip_adapter")  # of a file's tensors


@dataclass(frozen=True)
class IpAdapter:
    """What a picture is to a UNet with an adapter; CLIP's vision model is loaded when there is one to read, and leaves
    memory again."""

    encoder: Part
    size: int  # of the pictures that the encoder sees
    width: int  # of its vector
    patches: bool  # whether the adapter reads the patches' states instead
    device: torch.device
    dtype: torch.dtype

    def __call__(self, network: Any, cond: Cond) -> Callable[..., Any]:
        """What to call in place of `network` under `cond`."""
        image = self.none.expand(len(cond), -1, -1) if cond.image is None else cond.image
        image = image[:, None] if self.patches else image  # (B, pictures, ...)

        def forward(x_t: Tensor, t: Tensor, **inputs: Any) -> Any:
            added = {**(inputs.pop("added_cond_kwargs", None) or {}), "image_embeds": [image.to(x_t.dtype)]}
            return network(x_t, t, added_cond_kwargs=added, **inputs)

        return forward

    def tokens(self, rgb: Tensor | None) -> Tensor:
        """As Prior.image."""
        return self.none if rgb is None else self._encode(clip_pixels(rgb, self.size))

    @cached_property
    def none(self) -> Tensor:
        if self.patches:
            return self._encode(torch.zeros(1, 3, self.size, self.size))
        return torch.zeros(1, 1, self.width, device=self.device)

    @torch.no_grad()
    def _encode(self, pixels: Tensor) -> Tensor:
        model = frozen(load_part(self.encoder, self.dtype), self.device)
        seen = model(pixels.to(self.device, self.dtype), output_hidden_states=self.patches)
        states: Tensor = seen.hidden_states[-2] if self.patches else seen.image_embeds[:, None]
        del model
        give_back_memory()
        return states.float()


def clip_pixels(rgb: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) sRGB in [0, 1] -> (B, 3, size, size) as CLIP sees pictures: eight bits, bicubic, whitened."""
    eight_bits = (rgb * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    small = [Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC) for one in eight_bits]
    pixels = torch.from_numpy(np.stack([np.asarray(one) for one in small])).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def attach(prior: Prior, file: str | Path, encoder: str | Path = "") -> None:
    """Give the prior's UNet the adapter in `file` and the prior "image" among its capabilities; `encoder` is the folder
    of CLIP's vision model, by default image_encoder beside the file. UserError where they do not fit."""
    if not isinstance(prior, DiffusionPrior) or prior.family not in (sd.FAMILY, sdxl.FAMILY):
        raise UserError(f"prior {prior.name!r} takes no IP-Adapter: use Stable Diffusion 1.x, 2.x or XL")
    file = Path(file).expanduser()
    state = read_adapter(file)
    home = Path(encoder).expanduser() if encoder else file.parent / "image_encoder"
    config = read_encoder(home)
    patches, wanted = wants(state["image_proj"], file)
    width = int(config.get("hidden_size", 768) if patches else config.get("projection_dim", 512))
    if width != wanted:
        raise UserError(f"{file} was made for an image encoder of width {wanted}, {home} has {width}: use its own")
    fits = {v.shape[1] for key, v in state["ip_adapter"].items() if key.endswith("to_k_ip.weight")}
    if fits != {prior.network.config.cross_attention_dim}:
        raise UserError(f"{file} is made for another model than {prior.name!r}: use an IP-Adapter made for it")
    try:
        prior.network._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{file} does not fit {prior.name!r} ({first_line(error)}): use one made for it") from error
    frozen(prior.network, prior.device)
    part = part_at("image_encoder", home, "transformers", CLASS, MODULE)
    size = int(config.get("image_size", 224))
    adapter = IpAdapter(part, size, width, patches, prior.device, prior.dtype)
    prior.around.insert(0, adapter)  # a ControlNet hears of no picture
    prior.encode_image = adapter.tokens
    prior.capabilities |= {"image"}


def anchored(file: str, encoder: str) -> dict[str, str]:
    """The settings of an IP-Adapter: its file and its encoder's folder, absolute, and what they are by content."""
    path = Path(file).expanduser().resolve()
    home = Path(encoder).expanduser().resolve() if encoder else path.parent / "image_encoder"
    check_file(path)
    read_encoder(home)
    files = [path, home / "config.json", *(home / name for name in weights_of(home, "transformers").files)]
    return {
        "ip_adapter": str(path),
        "image_encoder": str(home),
        "ip_adapter_digest": "-".join(digest(file) for file in files),
    }


def check(file: str, encoder: str, then: str) -> None:
    """UserError when the files are not what they were when their settings were made by `anchored`."""
    if anchored(file, encoder)["ip_adapter_digest"] != then:
        raise UserError(f"{file} or {encoder} is not what this run started with: start again with sds3d generate")


def check_file(file: Path) -> None:
    """UserError when there is no such file, or it is of another kind."""
    if not file.is_file() or file.suffix.lower() != ".safetensors":
        raise UserError(f"there is no IP-Adapter {file}: give a .safetensors file")


def read_adapter(file: Path) -> dict[str, dict[str, Tensor]]:
    """The file's tensors by group."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(file)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is broken or cut short ({first_line(error)}): download it again") from error
    state = {g: {k[len(g) + 1 :]: v for k, v in tensors.items() if k.startswith(g + ".")} for g in GROUPS}
    if not all(state.values()):
        raise UserError(f"{file} is not an IP-Adapter: it has no {' and '.join(GROUPS)} tensors")
    return state


def read_encoder(home: Path) -> dict[str, Any]:
    """Its config."""
    if not home.is_dir():
        raise UserError(
            f"there is no image encoder {home}: give the folder of the one that the IP-Adapter was made for"
        )
    config = read_json(home / "config.json", home)
    if CLASS not in config.get("architectures", []):
        raise UserError(f"{home} is not a {CLASS} of transformers: give the IP-Adapter's image encoder")
    return config


def wants(projection: dict[str, Tensor], file: Path) -> tuple[bool, int]:
    """(whether the adapter reads patches, width of what it reads)."""
    if "proj.weight" in projection:
        return False, projection["proj.weight"].shape[1]
    if "latents" in projection:
        return True, projection["proj_in.weight"].shape[1]
    if "proj.3.weight" in projection:
        return True, projection["proj.0.weight"].shape[0]
    raise UserError(f"{file} reads faces' identities, not pictures: use a plain, plus or full IP-Adapter")
