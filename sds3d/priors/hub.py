"""Well-known models by hub id: found in the local cache, else downloaded, as safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sds3d.errors import UserError

FILES = [
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    *(f"{part}/config.json" for part in ("unet", "vae", "text_encoder")),
    *(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
    "text_encoder/model.safetensors",
]


def cached(repos: Sequence[str]) -> Path | None:
    """The first of `repos` whose files are all in the local hub cache."""
    from sds3d.priors.folder import inspect

    for repo in repos:
        folder = _snapshot(repo, offline=True)
        if folder is not None:
            try:
                inspect(folder)
            except UserError:
                continue
            return folder
    return None


def fetch(alias: str, repos: Sequence[str]) -> Path:
    """The folder of the first of `repos` that is cached or can be downloaded; UserError if none."""
    folder = cached(repos)
    if folder is None:
        folder = next((found for repo in repos if (found := _snapshot(repo, offline=False))), None)
    if folder is None:
        raise UserError(
            f"the prior {alias!r} is not in the local hub cache and cannot be downloaded now: where there is a network "
            f"run hf download {repos[0]} --local-dir FOLDER, then give --prior FOLDER"
        )
    return folder


def _snapshot(repo: str, offline: bool) -> Path | None:
    """The snapshot's folder, or None where there is none to be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=FILES, local_files_only=offline))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None
