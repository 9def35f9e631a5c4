"""Where scores come from: the frozen diffusion models behind `Prior`, by name or by folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sds3d.errors import UserError, unknown
from sds3d.priors.aliases import PRIORS, Source

if TYPE_CHECKING:
    import torch

    from sds3d.priors.base import Prior
    from sds3d.priors.hub_reference import Reference

ORACLE = "oracle:"  # how the name of a closed-form prior begins


@dataclass(frozen=True)
class Listing:
    """A named prior as `sds3d list priors` shows it."""

    name: str
    summary: str
    available: bool  # without a download


def load_prior(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    checkpointing: bool = False,
    lora: Sequence[str] = (),
    textual_inversion: Sequence[str] = (),
    control: str = "",
    control_scale: float = 1.0,
    ip_adapter: str = "",
    image_encoder: str = "",
) -> Prior:
    """A prior by a name in PRIORS, by the path of a model folder in diffusers' format or of a single .safetensors
    file, by "owner/name" or the page of a model on huggingface.co, or "oracle:KIND:...".

    `dtype` None picks the precision for the device and the model's size; `checkpointing` trades time for memory in the
    backward pass through a VAE; `lora` (FILE or FILE:WEIGHT) and `textual_inversion` (FILE or FILE:WORD) change the
    model; `control` is the folder of a ControlNet to put around it, `ip_adapter` the file of an adapter for pictures,
    `image_encoder` the folder of its encoder ("": beside it). Raises UserError for anything unknown, missing, broken or
    unsupported.
    """
    name = str(name_or_path)
    if name.startswith(ORACLE):
        if lora or textual_inversion or control or ip_adapter:
            raise UserError(
                f"{name} is a closed form: leave --lora, --textual-inversion, --control and --ip-adapter out"
            )
        from sds3d.priors.oracle_source import load_oracle

        return load_oracle(name)
    from sds3d.priors.diffusion import DiffusionPrior

    folder = find_folder(name)
    label = folder.name if name not in PRIORS and Path(name).expanduser().exists() else name
    prior = DiffusionPrior.load(folder, device, dtype, checkpointing, label, lora, textual_inversion)
    return surrounded(prior, control, control_scale, ip_adapter, image_encoder)


def surrounded(
    prior: Prior, control: str = "", control_scale: float = 1.0, ip_adapter: str = "", image_encoder: str = ""
) -> Prior:
    """The prior with a ControlNet and an IP-Adapter around its network, where they are given; as for `load_prior`."""
    if ip_adapter:
        from sds3d.priors import ip_adapter as pictures

        pictures.attach(prior, ip_adapter, image_encoder)
    if control:
        from sds3d.priors.control import attach

        attach(prior, control, control_scale)
    return prior


def find_folder(name: str) -> Path:
    """The model folder (or single file) that `name` stands for, downloaded if it is on the hub and not here yet.

    A name in PRIORS wins over a folder of that name (write ./NAME), a folder over a repository of the hub.
    """
    source = PRIORS.get(name)
    if source is not None and source.folder is not None:
        if not (source.folder / "model_index.json").is_file():
            raise UserError(
                f"the weights of the prior {name!r} are missing from this installation: install sds3d again"
            )
        return source.folder
    path = Path(name).expanduser()
    if source is None and name and path.exists():
        return path
    if name and path.name != name and not references_of(name):
        return path
    return fetch_named(name, tell=lambda line: print(line, file=sys.stderr))


def fetch_named(name: str, variant: str | None = None, tell: Callable[[str], None] | None = None) -> Path:
    """The folder (or single file) of an alias or a repository of the hub, downloaded if it is not in the cache yet.

    `variant` is preferred for each component that comes in it; `tell` gets lines about what is fetched from where.
    """
    from sds3d.priors import hub

    references = references_of(name)
    if not references:
        if name.endswith(".safetensors"):
            raise UserError(f"there is no file {name}: give the path of a checkpoint or a name from sds3d list priors")
        raise unknown("prior", name, [*PRIORS, "oracle:KIND:...", "/path/to/folder", "owner/name"])
    return hub.fetch(name, references, variant, tell or hub.SILENCE)


def references_of(name: str) -> list[Reference]:
    """The repositories of the hub that `name` may be had from: those of an alias, or the one that it names."""
    from sds3d.priors.hub_reference import Reference, parse

    if name in PRIORS:
        return [Reference(repo) for repo in PRIORS[name].repos]
    reference = parse(name)
    return [] if reference is None else [reference]


def list_priors() -> list[Listing]:
    """Every named prior, and whether it is there; then the kinds of closed-form priors."""
    from sds3d.priors.oracle_source import KINDS

    named = [Listing(name, describe(source), available(name)) for name, source in PRIORS.items()]
    return named + [Listing(f"{ORACLE}{kind}:{form}", text, True) for kind, (form, text, _) in KINDS.items()]


def describe(source: Source) -> str:
    """The summary of a prior with its licence and the size of its download."""
    size = f"{source.gigabytes:.0f} GB" if source.gigabytes else ""
    return "; ".join(text for text in (source.summary, size, source.terms) if text)


def is_here(name: str) -> bool:
    """Whether `load_prior(name)` would need no download."""
    if name in PRIORS:
        return available(name)
    if Path(name).expanduser().exists():
        return True
    from sds3d.priors import hub

    references = references_of(name)
    return not references or any(hub.cached(reference) for reference in references)


def available(name: str) -> bool:
    """Whether the named prior can be loaded without a download."""
    source = PRIORS[name]
    if source.folder is not None:
        return (source.folder / "model_index.json").is_file()
    from sds3d.priors import hub

    return any(hub.cached(reference) for reference in references_of(name))
