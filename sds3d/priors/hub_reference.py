"""Names of models on the Hugging Face hub, and where that hub and its cache are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sds3d.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+)/?(?:[?#].*)?")
FILE = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+)/(tree|blob|resolve)/([^/?#]+)/?([^?#]*)(?:[?#].*)?"
)


@dataclass(frozen=True)
class Reference:
    """A repository of the hub, or one safetensors file in it."""

    repo: str
    file: str = ""
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}" if self.file else self.repo


def parse(name: str) -> Reference | None:
    """The repository that "owner/name" or a page of huggingface.co stands for; None if it is neither.

    Raises UserError for an address of something else.
    """
    if NAME.fullmatch(name):
        return Reference(name)
    if "://" not in name:
        return None
    page, file = PAGE.fullmatch(name), FILE.fullmatch(name)
    if page:
        return Reference(page[1])
    if file and (file[2] == "tree" and not file[4] or file[4].endswith(".safetensors")):
        return Reference(file[1], file[4], file[3])
    raise UserError(f"{name} is no model: give the page of one on huggingface.co, or of a .safetensors file there")


def page(reference: Reference) -> str:
    """The address of a model's page."""
    return f"{endpoint()}/{reference.repo}"


def endpoint() -> str:
    """The hub's address, as HF_ENDPOINT has it."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def cache_folder() -> Path:
    """Where downloads are kept, as HF_HOME or HF_HUB_CACHE has it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
