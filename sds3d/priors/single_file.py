"""A Stable Diffusion checkpoint in one .safetensors file, as web interfaces use them: SD 1.x, 2.x and XL; MVDream.

diffusers converts the weights. The sizes of these architectures and CLIP's tokenizer come with sds3d (`layouts`):
nothing is downloaded.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sds3d.config import read_yaml
from sds3d.errors import UserError
from sds3d.priors.clip_words import clip_tokenizer
from sds3d.priors.families import Family, mvdream, sd, sdxl
from sds3d.priors.mv_unet import CAMERA, as_class
from sds3d.priors.part import Part, first_line, read_json

LAYOUTS = Path(__file__).resolve().parent / "layouts"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
TEXT = "cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1."
# How the keys of a checkpoint's components begin, by layout.
PREFIXES: dict[str, dict[str, str]] = {
    "sd1": {"unet": UNET, "vae": VAE, "text_encoder": TEXT[0]},
    "sd2": {"unet": UNET, "vae": VAE, "text_encoder": TEXT[0]},
    "mvdream": {"unet": UNET, "vae": VAE, "text_encoder": TEXT[0]},
    "sdxl": {"unet": UNET, "vae": VAE, "text_encoder": TEXT[1], "text_encoder_2": TEXT[2]},
}
# A tensor that only this layout has, or those before it.
MARKS = {
    "mvdream": f"{UNET}{CAMERA}0.weight",
    "sdxl": "conditioner.embedders.1.model.ln_final.weight",
    "sd2": "cond_stage_model.model.ln_final.weight",
    "sd1": "cond_stage_model.transformer.text_model.final_layer_norm.weight",
}
# SD 2.x networks that predict v have a wide spread here (ComfyUI's rule).
SPREAD, WIDE = UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09
WAY_OUT = "give a model folder in diffusers' format, or a checkpoint of Stable Diffusion 1.x, 2.x or XL"
FAMILIES = {"sd1": sd.FAMILY, "sd2": sd.FAMILY, "mvdream": mvdream.FAMILY, "sdxl": sdxl.FAMILY}


@dataclass(frozen=True)
class Checkpoint:
    """The header of a checkpoint, and which layout it has."""

    file: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    layout: str  # a name in PREFIXES

    @property
    def configs(self) -> Path:
        return LAYOUTS / self.layout

    @property
    def family(self) -> Family:
        return FAMILIES[self.layout]


def open_checkpoint(file: Path) -> Checkpoint:
    """What the file holds, by its header alone; UserError in one line if it is no model that can be used."""
    if file.suffix.lower() != ".safetensors":
        raise UserError(
            f"{file} is not a .safetensors file: pickled weights can run code and are not loaded; {WAY_OUT}"
        )
    shapes, metadata = read_header(file)
    if UNET + "input_blocks.0.0.weight" not in shapes:
        raise UserError(f"{file} {_what_else(shapes)}")
    channels = shapes[UNET + "input_blocks.0.0.weight"][1]
    if channels != 4:
        raise UserError(
            f"{file} takes {channels} channels instead of 4: it is made for inpainting or editing; {WAY_OUT}"
        )
    layout = next((layout for layout, mark in MARKS.items() if mark in shapes), None)
    if layout is None:
        refiner = any(key.startswith("conditioner.") for key in shapes)
        raise UserError(f"{file} {'is a refiner' if refiner else 'holds no text encoder of those known'}: {WAY_OUT}")
    prompted = UNET + "label_emb.0.0.weight", UNET + "image_embed.latents"  # the second is ImageDream's
    if layout != "sdxl" and any(key in shapes for key in prompted):
        raise UserError(f"{file} wants more than text: it is made for image prompts or upscaling; {WAY_OUT}")
    if not any(key.startswith(VAE) for key in shapes):
        raise UserError(f"{file} holds no VAE: choose the version of this checkpoint that has its VAE inside")
    return Checkpoint(file, shapes, metadata, layout)


def read_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """(shapes by key, metadata) of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as tensors:
            names = list(tensors.keys())
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in names}, tensors.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is broken or cut short ({first_line(error)}): download or copy it again") from error


def inspect(file: Path) -> list[Part]:
    """The parts of the checkpoint, as `folder.inspect` has them for a folder; their `folder` holds the config alone."""
    found = open_checkpoint(file)
    index = read_json(found.configs / "model_index.json", found.configs)
    parts = []
    for name, classes in found.family.classes.items():
        library, cls = index[name]
        prefix = PREFIXES[found.layout].get(name)
        sizes = [math.prod(s) for key, s in found.shapes.items() if prefix and key.startswith(prefix)]
        parts.append(Part(name, cls, classes[library, cls], found.configs / name, None, sum(sizes)))
    return parts


def load_parts(file: Path, parts: Iterable[Part], dtypes: Mapping[str, torch.dtype | None]) -> dict[str, Any]:
    """The given parts of the checkpoint, as modules in eval mode, frozen, and tokenizers; float32 if not told."""
    found, loaded = open_checkpoint(file), {}
    for part in parts:
        if part.name.startswith("tokenizer"):
            loaded[part.name] = clip_tokenizer(part.folder / "tokenizer_config.json")
        else:
            weights = as_class(read_weights(file, PREFIXES[found.layout][part.name]))
            size = {"sample_size": 96} if part.name == "unet" and found.layout == "sd2" and predicts_v(found) else {}
            loaded[part.name] = _convert(part, weights, dtypes.get(part.name) or torch.float32, file, **size)
    return loaded


def read_configs(file: Path) -> dict[str, Any]:
    """ "index" and "scheduler" of `folder.load_components`."""
    found = open_checkpoint(file)
    scheduler = read_json(found.configs / "scheduler" / "scheduler_config.json", found.configs)
    scheduler["prediction_type"] = "v_prediction" if predicts_v(found) else "epsilon"
    scheduler["rescale_betas_zero_snr"] = "ztsnr" in found.shapes
    return {"index": read_json(found.configs / "model_index.json", found.configs), "scheduler": scheduler}


def read_weights(file: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose keys begin with `prefix`."""
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as tensors:
        return {key: tensors.get_tensor(key) for key in tensors.keys() if key.startswith(prefix)}  # noqa: SIM118


def _convert(part: Part, weights: dict[str, Any], dtype: torch.dtype, file: Path, **options: Any) -> Any:
    """One network with its share of the checkpoint's weights, by diffusers' conversion."""
    cls = getattr(importlib.import_module(part.module), part.cls)
    common: dict[str, Any] = {"config": str(part.folder.parent), "subfolder": part.name, "local_files_only": True}
    common["torch_dtype"] = dtype
    lacking = UserError(f"the {part.name} in {file} lacks tensors of the model: download or copy it again")
    try:
        with _quiet():
            if part.name.startswith("text_encoder"):
                from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

                model = create_diffusers_clip_model_from_ldm(cls, checkpoint=weights, **common)
            else:
                model = cls.from_single_file(weights, **common, **options)
    except NotImplementedError as error:  # a tensor that stayed on torch's meta device cannot be moved
        raise lacking from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot load {part.name} from {file}: {first_line(error)}") from error
    if any(parameter.is_meta for parameter in model.parameters()):
        raise lacking
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """diffusers tells of every tensor that it does not need."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def predicts_v(found: Checkpoint) -> bool:
    """Whether the network predicts v: by the .yaml beside the file, its metadata, a mark among its tensors (SDXL), or
    the spread of one of them (SD 2.x)."""
    beside = found.file.with_suffix(".yaml")
    if beside.is_file():
        return read_yaml(beside).get("model.params.parameterization") == "v"
    declared = found.metadata.get("modelspec.prediction_type")
    if declared:
        return declared.startswith("v")
    if found.layout == "sd2" and SPREAD in found.shapes:
        return bool(read_weights(found.file, SPREAD)[SPREAD].float().std(correction=0) > WIDE)
    return "v_pred" in found.shapes


def _what_else(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What a safetensors file is that holds no UNet of Stable Diffusion, and what to do with it."""
    if any(".lora_" in key or key.startswith(("lora_", "lycoris_")) for key in shapes):
        return "is a LoRA, not a model: give a model as the prior and this as --lora"
    if len(shapes) < 4:
        return "is no model; if it is a textual inversion, give a model as the prior and this as --textual-inversion"
    return f"is no checkpoint of Stable Diffusion: {WAY_OUT}"
