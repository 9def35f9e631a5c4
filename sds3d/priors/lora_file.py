"""LoRAs from files, merged into the weights they change (Hu et al. 2021): no cost per step, and a critic can still be
attached. diffusers and peft read the formats (diffusers, kohya, peft)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.priors.families.base import Family
from sds3d.priors.part import Part, first_line, read_json
from sds3d.priors.single_file import read_header

SECOND = ("lora_B.weight", "up.weight")  # ends of one of a layer's two factors
NAME = "file"  # of the adapter, for as long as it is one


@dataclass(frozen=True)
class Lora:
    """A LoRA's tensors under diffusers' names, "unet.down_blocks....lora_A.weight"."""

    file: Path
    weight: float
    loader: Any  # diffusers' mixin for the family
    state: Mapping[str, Tensor]
    alphas: Mapping[str, float] | None
    metadata: Mapping[str, Any] | None
    parts: frozenset[str]
    identity: str

    @classmethod
    def open(cls, file: Path, weight: float, family: Family, parts: Sequence[Part]) -> Lora:
        """Read and converted; UserError where nothing of it belongs to the model."""
        if not family.lora:
            raise UserError(f"there are no LoRAs for {family.summary}: leave --lora out")
        keys = read_header(file)[0]
        if any("dora_scale" in key for key in keys):
            raise UserError(f"{file} is a DoRA, which cannot be read: use a LoRA")
        import diffusers.loaders

        loader = getattr(diffusers.loaders, family.lora)
        config = next(part.folder for part in parts if part.name == family.network)
        state, alphas, metadata = _convert(loader, file, read_json(config / "config.json", config))
        mine = {part.name for part in parts} & {key.split(".")[0] for key in state}
        if not mine:
            raise UserError(f"{file} changes nothing in this prior ({family.summary}): is it a LoRA for another model?")
        return cls(file, weight, loader, state, alphas, metadata, frozenset(mine), f"{digest(file)}:{weight:g}")

    def apply(self, components: Mapping[str, Any]) -> None:
        for name in sorted(self.parts & set(components)):
            with _mistakes_are_the_users(self.file, name):
                self._load(name, components[name])
            wanted = sum(key.startswith(name + ".") and key.endswith(SECOND) for key in self.state)
            changed = merge(components[name], self.weight)
            if changed == 0:
                raise UserError(f"{self.file} changes nothing in this prior's {name}: is it a LoRA for another model?")
            if changed < wanted:
                warnings.warn(
                    f"{self.file.name} fits {changed} layers of {name}, was made for {wanted}: is it for this model?",
                    stacklevel=2,
                )

    def _load(self, name: str, model: Any) -> None:
        common = {"adapter_name": NAME, "metadata": self.metadata}
        if name.startswith("text_encoder"):
            self.loader.load_lora_into_text_encoder(
                dict(self.state), self.alphas, text_encoder=model, prefix=name, **common
            )
        else:
            model.load_lora_adapter(dict(self.state), prefix=name, network_alphas=self.alphas, **common)


def merge(model: nn.Module, weight: float) -> int:
    """Add `weight` times the adapter to the layers that it changes and take it off; how many layers those are."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    for name, layer in layers.items():
        layer.scale_layer(weight)  # type: ignore[attr-defined]
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    vars(model).pop("peft_config", None)
    model._hf_peft_config_loaded = False  # type: ignore[assignment]
    return len(layers)


def _convert(
    loader: Any, file: Path, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, float] | None, dict[str, Any] | None]:
    """(tensors under diffusers' names, alphas, peft's metadata), from any format that diffusers knows."""
    from diffusers.configuration_utils import FrozenDict

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "return_lora_metadata": True}
    if hasattr(loader, "unet_name"):
        options["unet_config"] = FrozenDict({"layers_per_block": 2, **config})
    elif "Flux" in loader.__name__:
        options["return_alphas"] = True
    with _mistakes_are_the_users(file, "it"):
        state, *alphas, metadata = loader.lora_state_dict(str(file.parent), weight_name=file.name, **options)
    if not all("lora" in key for key in state):
        raise UserError(f"{file} is not a LoRA that can be read: give one in diffusers', kohya's or peft's format")
    return state, (alphas[0] if alphas else None), metadata


@contextmanager
def _mistakes_are_the_users(file: Path, what: str) -> Iterator[None]:
    """diffusers' and peft's errors in one line, and their remarks left out."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    except UserError:
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, OSError, IndexError) as error:
        raise UserError(f"{file} does not fit {what} ({first_line(error)}): is it a LoRA for another model?") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
