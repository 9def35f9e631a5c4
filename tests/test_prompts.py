"""Prompts: cleaning, folder names, words for views."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from sds3d.camera import Cameras, view_name
from sds3d.engine.view_words import nearest
from sds3d.errors import UserError
from sds3d.prompts import SLUG_LENGTH, VIEWS, clean, list_names, load_list, slug, view_prompt

PROMPTS = [
    "a red chair",
    "../../etc/passwd",
    "a/b\\c",
    'a "quoted" mug; rm -rf *',
    "🪑🪑🪑",
    "赤い椅子",
    "стул",
    "un café très brûlé",
    "x" * 10_000,
    "word " * 2_000,
    ".",
    "..",
    "-",
    "CON",
    "a\nb\tc",
    "\u202eabc",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_slug_is_a_safe_folder_name(prompt: str) -> None:
    name = slug(prompt)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= SLUG_LENGTH


def test_slugs_keep_the_words() -> None:
    assert slug("a red chair") == "a-red-chair"
    assert slug("Un café, s'il vous plaît!") == "un-cafe-s-il-vous-plait"
    assert slug("赤い椅子") == "prompt"
    assert slug("a very long prompt about a corgi that wears a golden crown").endswith("corgi-that")  # at a word's end


def test_clean_makes_one_line_and_refuses_nothing() -> None:
    assert clean("  a\tred\n chair \x00") == "a red chair"
    assert clean("cafe\u0301") == "café"  # NFC
    assert len(clean("y" * 10_000)) == 10_000
    for empty in ("", "  ", "\n\t", "\x00"):
        with pytest.raises(UserError, match="empty"):
            clean(empty)


def test_view_words_follow_the_camera() -> None:
    angles = ((0, 0), (90, 10), (180, 10), (-90, 0), (359, 0), (20, 80), (44, 60), (-46, 0), (134, 0), (-136, 61))
    names = [view_name(a, e) for a, e in angles]
    assert names == ["front", "side", "back", "side", "front", "overhead", "front", "side", "side", "overhead"]
    azimuth, elevation = torch.tensor(angles, dtype=torch.float32).T
    assert [VIEWS[i] for i in nearest(Cameras(azimuth, elevation, elevation, elevation))] == names
    assert view_prompt("a corgi", "back") == "a corgi, back view"


def test_every_list_has_prompts() -> None:
    assert "ten" in list_names() and len(load_list("ten")) == 10
    for name in list_names():
        prompts = load_list(name)
        assert prompts == [clean(p) for p in prompts] and len(set(prompts)) == len(prompts)
    with pytest.raises(UserError, match="did you mean 'ten'"):
        load_list("tne")


def test_lists_of_ones_own(tmp_path: Path) -> None:
    """As editors save them, and what cannot be one."""
    file = tmp_path / "mine.txt"
    file.write_text("\ufeffa chair\r\n# a table\r\n\r\n a café \r\n", encoding="utf-8", newline="")
    assert load_list(str(file)) == ["a chair", "a café"]
    file.write_bytes("a café".encode("latin1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        load_list(str(file))
    file.write_text("# nothing\n\n")
    with pytest.raises(UserError, match="holds no prompt"):
        load_list(str(file))
