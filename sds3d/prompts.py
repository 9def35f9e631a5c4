"""Prompts: cleaned text, words for views, folder names, lists."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from sds3d.config import data_folder
from sds3d.errors import UserError, unknown

SLUG_LENGTH = 40
VIEWS = ("front", "side", "back", "overhead")


def clean(prompt: str) -> str:
    """The prompt in one line, NFC, without control characters; UserError if nothing is left."""
    text = unicodedata.normalize("NFC", prompt)
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    text = " ".join(text.split())
    if not text:
        raise UserError('the prompt is empty: say what to make, as in sds3d generate "a red chair"')
    return text


def view_prompt(prompt: str, view: str) -> str:
    """DreamFusion's view-dependent prompt: "a corgi, side view"."""
    return f"{prompt}, {view} view"


def slug(prompt: str) -> str:
    """A folder name of at most SLUG_LENGTH of [a-z0-9-] from any text: accents dropped, other scripts left out."""
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    if len(words) > SLUG_LENGTH:
        words = words[: SLUG_LENGTH + 1].rpartition("-")[0] or words[:SLUG_LENGTH]
    return words or "prompt"


def list_names() -> list[str]:
    """The lists that come with sds3d."""
    return sorted(path.stem for path in data_folder("prompts").glob("*.txt"))


def load_list(name: str) -> list[str]:
    """One prompt a line from prompts/NAME.txt or from a file; blank lines and # comments are left out."""
    path = Path(name) if name.endswith(".txt") else data_folder("prompts") / f"{name}.txt"
    if not path.is_file():
        raise unknown("prompt list", name, list_names())
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save it as such, one prompt a line") from None
    prompts = [clean(line) for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise UserError(f"{path} holds no prompt: write one a line")
    return prompts
