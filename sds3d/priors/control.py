"""ControlNets: a copy of the UNet's encoder that sees a picture of the geometry and corrects what the UNet computes.

Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models" (arXiv 2302.05543). The picture comes with
the condition (`Cond.control`), so prompt and null prompt see the same; a condition without one is left to the UNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.priors.base import Cond, Prior
from sds3d.priors.diffusion import DiffusionPrior
from sds3d.priors.families import sd, sdxl
from sds3d.priors.families.base import frozen
from sds3d.priors.folder import load_part, part_at, weights_of
from sds3d.priors.part import Part, read_json

CLASS, MODULE = "ControlNetModel", "diffusers.models.controlnets.controlnet"
# Settings by which a ControlNet is made for one UNet and not for another, where its config has them.
SHARED = (
    "in_channels",
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)


@dataclass(frozen=True)
class ControlNet:
    """A frozen ControlNetModel around a prior's UNet; `scale` multiplies its corrections."""

    model: Any
    scale: float

    def __call__(self, network: Any, cond: Cond) -> Any:
        """What to call in place of `network` under `cond`."""
        return network if cond.control is None else self._steered(network, cond.control)

    def _steered(self, network: Any, hint: Tensor) -> Callable[..., Any]:
        def forward(x_t: Tensor, t: Tensor, **inputs: Any) -> Any:
            picture = fitted(hint, x_t.shape[-1] * self.factor).to(x_t.dtype)
            down, mid = self.model(x_t, t, controlnet_cond=picture, conditioning_scale=self.scale, **inputs)
            return network(x_t, t, down_block_additional_residuals=down, mid_block_additional_residual=mid, **inputs)

        return forward

    @property
    def factor(self) -> int:
        """Pixels of the picture per latent."""
        return int(2 ** (len(self.model.config.conditioning_embedding_out_channels) - 1))


def fitted(hint: Tensor, size: int) -> Tensor:
    """(B, C, H, W) at size x size."""
    if hint.shape[-2:] == (size, size):
        return hint
    return F.interpolate(hint, (size, size), mode="bilinear", antialias=True)


def attach(prior: Prior, folder: str | Path, scale: float = 1.0) -> None:
    """Put the ControlNet in `folder` (diffusers' format, safetensors) around the prior's UNet; the prior's capabilities
    get "control". UserError where one of them does not fit the other."""
    if not isinstance(prior, DiffusionPrior) or prior.family not in (sd.FAMILY, sdxl.FAMILY):
        raise UserError(
            f"prior {prior.name!r} takes no ControlNet: use Stable Diffusion 1.x, 2.x or XL, or no --control"
        )
    part = _part(Path(folder).expanduser())
    _check_fit(prior, part.folder, read_json(part.folder / "config.json", part.folder))
    model = frozen(load_part(part, prior.dtype), prior.device)
    prior.around.append(ControlNet(model, scale))
    prior.capabilities |= {"control"}


def anchored(folder: str) -> dict[str, str]:
    """The settings of a ControlNet: its folder, absolute, and what it is by content."""
    home = Path(folder).expanduser().resolve()
    part = _part(home)
    files = [home / "config.json", *(home / name for name in weights_of(home, "").files)]
    return {"control": str(part.folder), "control_digest": "-".join(digest(file) for file in files)}


def check(folder: str, then: str) -> None:
    """UserError when the ControlNet is not what it was when its settings were made by `anchored`."""
    if anchored(folder)["control_digest"] != then:
        raise UserError(f"{folder} is not what this run started with: start again with sds3d generate")


def _part(home: Path) -> Part:
    if not home.is_dir():
        raise UserError(f"there is no ControlNet {home}: give the folder that holds its config.json")
    config = read_json(home / "config.json", home)
    if config.get("_class_name") != CLASS:
        raise UserError(f"{home} holds a {config.get('_class_name', 'model of a kind')}, not a {CLASS} of diffusers")
    return part_at("controlnet", home, "diffusers", CLASS, MODULE)


def _check_fit(prior: DiffusionPrior, home: Path, config: Mapping[str, Any]) -> None:
    if config.get("global_pool_conditions") or config.get("conditioning_channels", 3) != 3:
        raise UserError(f"{home} does not look at depth or normals (three channels): use such a ControlNet")
    theirs = prior.network.config
    for key in SHARED:
        if key in config and _plain(config[key]) != _plain(theirs.get(key)):
            raise UserError(
                f"{home} is made for another model than {prior.name!r} ({key} differs): use one made for it"
            )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
