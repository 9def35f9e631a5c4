"""Reading a model folder in diffusers' format: only weights in safetensors, only classes on a short list.

The path of a single file does wherever a folder is asked for (`single_file`).
No DiffusionPipeline is built: it would import and load parts (safety checker, image processor) that nobody asks for.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sds3d.errors import UserError
from sds3d.priors import single_file
from sds3d.priors.families import FAMILIES, Family, supported
from sds3d.priors.hub_files import Weights, prefer, weight_sets
from sds3d.priors.part import MINILM, Part, first_line, present, read_json

LIBRARIES = ("diffusers", "transformers", "sds3d")
NETWORKS = ("unet", "transformer")  # components that denoise, in the order in which they are looked for
# Components that a model cannot do without: in a folder whose family does not know them, they mean another layout.
ESSENTIAL = ("unet", "transformer", "prior", "vae", "text_encoder", "text_encoder_2", "text_encoder_3", "controlnet")
CONVERT = "python -c \"from {1} import {2} as P; P.from_pretrained('{0}').save_pretrained('{0}')\""


def load_components(
    folder: str | Path, dtypes: Mapping[str, torch.dtype] | None = None, leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """The components of a model folder that its family names ("unet", "text_encoder", ...), as modules in eval mode,
    frozen; "scheduler" as its config and "index" as model_index.json (dicts). `dtypes` by component, float32 if absent.
    Those to `leave_out` are checked but not loaded.

    Raises UserError, in one line, for anything missing, broken or of another layout.
    """
    folder = Path(folder).expanduser()
    parts = [part for part in inspect(folder) if part.name not in leave_out]
    return load_parts(folder, parts, dtypes or {}) | read_configs(folder)


def load_parts(folder: Path, parts: Iterable[Part], dtypes: Mapping[str, torch.dtype | None]) -> dict[str, Any]:
    """The given parts of the model, by name."""
    if folder.is_file():
        return single_file.load_parts(folder, parts, dtypes)
    return {part.name: load_part(part, dtypes.get(part.name)) for part in parts}


def read_configs(folder: Path) -> dict[str, Any]:
    """ "scheduler": its config, "index": model_index.json."""
    if folder.is_file():
        return single_file.read_configs(folder)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", folder)
    return {"scheduler": scheduler, "index": read_index(folder)}


def inspect(folder: Path) -> list[Part]:
    """The parts that `load_components` would load, after all checks that need no heavy import."""
    if folder.is_file():
        return single_file.inspect(folder)
    index, family = read_index(folder), family_of(folder)
    pairs = {name: pair for name in family.classes if (pair := _pair(index, name))}
    foreign = [name for name in ESSENTIAL if _pair(index, name) and name not in pairs]
    if foreign:
        raise _not_supported(folder, index, f"has {foreign[0]}")
    for needed in [name for name in (*family.classes, "scheduler") if name not in family.optional]:
        if not _pair(index, needed):
            raise UserError(f"{folder} has no {needed} in model_index.json: it is not a complete text-to-image model")
    read_json(folder / "scheduler" / "scheduler_config.json", folder)
    return [_part(folder, name, *pair, family.classes[name]) for name, pair in pairs.items()]


def family_of(folder: Path) -> Family:
    """The family of the model in the folder, by the class and the config of the network that denoises."""
    if folder.is_file():
        return single_file.open_checkpoint(folder).family
    index = read_index(folder)
    name = next((name for name in NETWORKS if _pair(index, name)), None)
    if name is None:
        raise _not_supported(folder, index, f"has no {' or '.join(NETWORKS)}")
    library, cls = index[name]
    families = [f for f in FAMILIES.get(cls, ()) if f.network == name and (library, cls) in f.classes[name]]
    if not families:
        _allowed(folder, name, library)
        raise _not_supported(folder, index, f"has a {name} of class {cls}")
    config = read_json(folder / name / "config.json", folder)
    for family in families:
        if family.matches(index, config):
            return family
    raise _not_supported(folder, index, f"has a {name} of a kind")


def _not_supported(folder: Path, index: Mapping[str, Any], what: str) -> UserError:
    pipeline = index.get("_class_name", "?")
    return UserError(f"{folder} ({pipeline}) {what}, which sds3d cannot use: it reads {supported()}")


def read_index(folder: Path) -> dict[str, Any]:
    """model_index.json of a folder that exists."""
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder}: give the folder that holds model_index.json")
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder} has no model_index.json: it is not a model folder in diffusers' format")
    return read_json(folder / "model_index.json", folder)


def load_part(part: Part, dtype: torch.dtype | None = None) -> Any:
    """Import the part's class and load it. No network access, no pickle, no code from the folder."""
    cls = getattr(importlib.import_module(part.module), part.cls)
    try:
        if part.module == MINILM:
            return cls.from_pretrained(part.folder)
        if part.name.startswith("tokenizer"):
            return cls.from_pretrained(str(part.folder), local_files_only=True)
        with _without_progress_bars(part.module):
            model, info = cls.from_pretrained(
                str(part.folder),
                local_files_only=True,
                use_safetensors=True,
                torch_dtype=dtype or torch.float32,
                variant=part.variant,
                output_loading_info=True,
            )
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot load {part.name} from {part.folder}: {first_line(error)}") from error
    if info["missing_keys"]:
        some = sorted(info["missing_keys"])
        raise UserError(f"the weights in {part.folder} lack {len(some)} of the model's tensors, for one {some[0]}")
    return model.eval().requires_grad_(False)


@contextmanager
def _without_progress_bars(module: str) -> Iterator[None]:
    """transformers draws a bar for every model it loads, diffusers for those in shards."""
    library = module.partition(".")[0]
    if library not in ("diffusers", "transformers"):
        yield
        return
    logging = importlib.import_module(f"{library}.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _allowed(folder: Path, name: str, library: str) -> None:
    """UserError unless the part comes from a library that may be imported."""
    if library.split(".")[0] not in LIBRARIES:
        raise UserError(
            f"{folder} wants its {name} from {library!r}; only {', '.join(LIBRARIES)} are allowed, "
            "since other code would be run unseen"
        )


def _part(folder: Path, name: str, library: str, cls: str, classes: Mapping[tuple[str, str], str]) -> Part:
    """The checked part `name` of the folder."""
    if (library, cls) not in classes:
        _allowed(folder, name, library)
        raise UserError(f"{folder} has a {name} of class {cls}, which sds3d cannot use: it reads {supported()}")
    module = classes[library, cls]
    home = folder / name
    if not home.is_dir():
        raise UserError(f"{folder} lacks the folder {name}, which model_index.json names: download the model again")
    if name.startswith("tokenizer"):
        _tokenizer_files(home, folder)
        return Part(name, cls, module, home)
    read_json(home / "config.json", folder)
    if library == MINILM:
        return Part(name, cls, module, home)
    return _network(name, cls, module, home, weights_of(home, CONVERT.format(folder, "diffusers", "DiffusionPipeline")))


def part_at(name: str, home: Path, library: str, cls: str, module: str) -> Part:
    """The checked part `name` whose config.json and weights lie in the folder `home`, of a model of its own."""
    return _network(name, cls, module, home, weights_of(home, CONVERT.format(home, library, cls)))


def _network(name: str, cls: str, module: str, home: Path, weights: Weights) -> Part:
    return Part(name, cls, module, home, weights.variant or None, sum(_count(home / file) for file in weights.files))


def _tokenizer_files(home: Path, folder: Path) -> None:
    """Without its files transformers makes an empty tokenizer."""
    if not any((home / file).is_file() for file in ("tokenizer.json", "spiece.model", "tokenizer.model")):
        for file in ("vocab.json", "merges.txt"):
            present(home / file, folder)


def weights_of(home: Path, convert: str) -> Weights:
    """The safetensors files to load, in full precision if they are there; UserError if there is no complete set, with
    the command to `convert` pickled ones."""
    names = [file.name for file in home.iterdir()]
    chosen = prefer(weight_sets(names), None)
    if chosen is not None:
        return chosen
    if any(name.endswith((".bin", ".ckpt")) for name in names) and not any("safetensors" in name for name in names):
        raise UserError(
            f"{home} holds only pickled weights, which can run code and are not loaded: if you trust them, convert "
            f"with {convert}"
        )
    missing = "not all shards of its" if any("-of-" in name for name in names) else "no"
    raise UserError(f"{home} holds {missing} weights (*.safetensors): download or copy the model again")


def _count(file: Path) -> int:
    """Numbers in a safetensors file, by its header; UserError if the file is broken or cut short."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as tensors:
            return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is broken or cut short ({first_line(error)}): download or copy it again") from error


def _pair(index: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """The [library, class] of a component, None if absent or null."""
    value = index.get(name)
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return value[0], value[1]
    return None
