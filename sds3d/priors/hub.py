"""Models of the Hugging Face hub: found in the local cache, else downloaded, as safetensors only.

Nothing is asked of the network for a model that is in the cache, or with HF_HUB_OFFLINE=1. HF_HOME says where the cache
is, HF_ENDPOINT which hub, HF_TOKEN or `hf auth login` who asks.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sds3d.errors import UserError
from sds3d.priors.hub_errors import Unreachable, explain
from sds3d.priors.hub_files import INDEX, choose, components, whole
from sds3d.priors.hub_reference import Reference, cache_folder, page

T = TypeVar("T")
SILENCE: Callable[[str], None] = lambda line: None  # noqa: E731 - a default listener
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Plan:
    """What a download would fetch."""

    reference: Reference
    files: dict[str, int]  # path -> bytes
    missing: int  # bytes that are not in the cache yet
    licence: str

    @property
    def summary(self) -> str:
        size = f"{self.missing / 1e9:.1f} GB" if self.missing > 1e8 else f"{self.missing / 1e6:.1f} MB"
        return f"{self.reference}: {size} to fetch, {len(self.files)} files, licence {self.licence or 'not stated'}"


def offline() -> bool:
    """Whether the network must not be asked, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE as they are now."""
    return any(os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def cached(reference: Reference) -> Path | None:
    """Its folder (or file) in the local hub cache, if all of it is there. Asks nothing of the network."""
    from huggingface_hub import try_to_load_from_cache

    from sds3d.priors.folder import inspect

    found = try_to_load_from_cache(reference.repo, reference.file or INDEX, revision=reference.revision)
    if not isinstance(found, str):
        return None
    if reference.file:
        return Path(found)
    folder = Path(found).parent
    try:
        inspect(folder)
    except UserError:
        return None
    return folder if whole(folder) else None


def fetch(
    name: str, references: Sequence[Reference], variant: str | None = None, tell: Callable[[str], None] = SILENCE
) -> Path:
    """The folder (or file) of the first of `references` that is cached, else of the first that can be downloaded.

    `tell` gets a line before a download, and one for each mirror that did not answer. Raises UserError that says for
    each of them why not.
    """
    found = next((path for reference in references if (path := cached(reference))), None)
    if found is not None:
        return found
    if offline():
        where = "is no folder here, nor in" if "/" in name else "is not in"
        raise UserError(
            f"{name!r} {where} the local hub cache ({cache_folder()}), and offline mode is on: run sds3d download "
            f"{name} where there is a network, or leave out --offline and HF_HUB_OFFLINE"
        )

    def get(reference: Reference) -> Path:
        planned = plan(reference, variant)
        tell(planned.summary)
        return download(planned)

    return first(name, references, get, tell)


def first_plan(name: str, references: Sequence[Reference]) -> Plan:
    """What a download would fetch, of the first of `references` that has it; errors as in `fetch`."""
    return first(name, references, plan)


def first(
    name: str,
    references: Sequence[Reference],
    action: Callable[[Reference], T],
    tell: Callable[[str], None] = SILENCE,
) -> T:
    """`action` of the first reference for which it does not fail; UserError that says for each of them why not."""
    failures: list[UserError] = []
    for reference in references:
        try:
            return action(reference)
        except Unreachable:
            raise
        except UserError as error:
            failures.append(error)
            if len(references) > 1:
                tell(f"{error}")
    if len(failures) == 1:
        raise failures[0]
    raise UserError(
        f"{name!r} cannot be had from any of its {len(failures)} repositories: {'; '.join(map(str, failures))}"
    )


def plan(reference: Reference, variant: str | None = None) -> Plan:
    """What there is to download, after a look at the repository and at its model_index.json.

    Raises UserError for anything that is missing, gated, of another family or only there as pickles.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(reference.repo, revision=reference.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        if reference.file:
            if reference.file not in sizes:
                raise UserError(f"{reference.repo} has no file {reference.file}: look at {page(reference)}")
            files = {reference.file: sizes[reference.file]}
        else:
            _check_layout(reference, sizes)
            files = choose(reference.repo, parts(reference), sizes, variant)
    except Exception as error:
        raise explain(reference, error) from error
    missing = sum(
        size for path, size in files.items() if not _has(reference.repo, path, info.sha or reference.revision)
    )
    return Plan(reference, files, missing, _licence(info))


def download(planned: Plan) -> Path:
    """Fetch what is missing and return the folder (or file). Finished files are kept when it is interrupted; a
    connection that breaks is taken up again where it broke."""
    from huggingface_hub import hf_hub_download, snapshot_download

    reference = planned.reference
    _check_space(planned)
    try:
        if reference.file:
            return Path(hf_hub_download(reference.repo, reference.file, revision=reference.revision))
        wanted = [glob.escape(path) for path in planned.files]
        return Path(snapshot_download(reference.repo, revision=reference.revision, allow_patterns=wanted))
    except Exception as error:
        raise explain(reference, error) from error


def parts(reference: Reference) -> list[str]:
    """The components of the model that a prior is made of, by its model_index.json and its network's config, which are
    fetched. Raises UserError for a family that nobody here can use, before anything large is fetched."""
    from huggingface_hub import hf_hub_download

    from sds3d.priors.families import supported
    from sds3d.priors.folder import ESSENTIAL, NETWORKS, family_of, read_index

    def get(path: str) -> Path:
        return Path(hf_hub_download(reference.repo, path, revision=reference.revision))

    folder = get(INDEX).parent
    try:
        index = read_index(folder)
        network = next((name for name in NETWORKS if name in components(index)), None)
        if network:
            get(f"{network}/config.json")
        family = family_of(folder)
    except UserError as error:
        raise UserError(str(error).replace(str(folder), reference.repo)) from error
    for name in components(index):
        if tuple(index[name]) not in family.classes.get(name, ()) and (name in ESSENTIAL or name in family.classes):
            what = f"{reference.repo} ({index.get('_class_name', '?')}) has a {name} of class {index[name][1]}"
            raise UserError(f"{what}, which sds3d cannot use: it reads {supported()}")
    return [name for name in components(index) if name in family.classes]


def _check_layout(reference: Reference, sizes: dict[str, int]) -> None:
    if INDEX in sizes:
        return
    single = next((path for path in sizes if "/" not in path and path.endswith(".safetensors")), None)
    hint = f"give its single file, {page(reference)}/blob/{reference.revision}/{single}" if single else "choose another"
    raise UserError(f"{reference.repo} has no {INDEX}, so it is no text-to-image model in diffusers' layout: {hint}")


def _check_space(planned: Plan) -> None:
    """UserError before a download that cannot fit."""
    folder = cache_folder()
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free
    if planned.missing > free:
        raise UserError(
            f"{planned.reference} needs {planned.missing / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free: "
            "free some space, set HF_HOME to another folder, or try --variant fp16"
        )


def _has(repo: str, path: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, path, revision=revision), str)


def _licence(info: Any) -> str:
    card = getattr(info, "card_data", None)
    named = getattr(card, "license_name", None) or getattr(card, "license", None)
    return str(named or "")
