"""Prompts on disk: encoders are loaded for new ones only, whatever else happens to the files."""

from __future__ import annotations

import gc
import os
import shutil
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_helpers import write_sd_folder

from sds3d.errors import UserError
from sds3d.priors import load_prior, text_cache
from sds3d.priors.base import Cond
from sds3d.priors.text_cache import StoredTexts, fingerprint, trim

CPU = torch.device("cpu")


class Encoder:
    """Counts what it is asked; a prompt's state is its length."""

    def __init__(self) -> None:
        self.loads, self.asked = 0, list[str]()

    def load(self) -> Callable[[list[str]], Cond]:
        self.loads += 1
        return self.encode

    def encode(self, prompts: list[str]) -> Cond:
        self.asked += prompts
        if len(prompts[0]) > 20:
            warnings.warn("too long", stacklevel=2)
        size = torch.tensor([[[float(len(p))]] for p in prompts])
        return Cond(size.half(), torch.ones(len(prompts), 1, dtype=torch.bool), pooled=size[:, 0] + 0.5)


def same(a: Cond, b: Cond) -> bool:
    mine, other = ({k: v for k, v in vars(c).items() if v is not None} for c in (a, b))
    return mine.keys() == other.keys() and all(v.dtype == other[k].dtype and v.equal(other[k]) for k, v in mine.items())


def test_a_prompt_is_encoded_once_for_all_runs(tmp_path: Path) -> None:
    first, second = Encoder(), Encoder()
    conds = StoredTexts("k", first.load, tmp_path)(["a", "bb", "a", ""])
    assert first.asked == ["a", "bb", ""] and first.loads == 1 and len(conds) == 4
    again = StoredTexts("k", second.load, tmp_path)(["", "a"])
    assert second.loads == 0 and same(again[0], conds[3]) and same(again[1], conds[0])
    third = Encoder()
    StoredTexts("k", third.load, tmp_path)(["a", "new"])
    assert third.asked == ["new"]


@pytest.mark.filterwarnings("ignore:too long")
@pytest.mark.parametrize("prompt", ["", "x" * 5000, "../../etc", "a\0b", "椅子 🪑", "\ud800"])
def test_any_prompt_makes_a_safe_name_of_its_own(prompt: str, tmp_path: Path) -> None:
    encoder = Encoder()
    texts = StoredTexts("k", encoder.load, tmp_path / "text")
    texts([prompt, "other"])
    texts([prompt])
    assert encoder.loads == 1 and len(list((tmp_path / "text").iterdir())) == 2


def test_another_encoder_is_another_entry(tmp_path: Path) -> None:
    StoredTexts("one", Encoder().load, tmp_path)(["a"])
    other = Encoder()
    StoredTexts("two", other.load, tmp_path)(["a"])
    assert other.loads == 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_cut, _flip, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"\0" * 400)])
def test_a_damaged_entry_is_made_anew(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    encoder = Encoder()
    texts = StoredTexts("k", encoder.load, tmp_path)
    (before,) = texts(["a"])
    damage(texts.path("a"))
    assert same(texts(["a"])[0], before) and encoder.loads == 2
    assert same(texts(["a"])[0], before) and encoder.loads == 2


def test_what_the_encoder_says_is_said_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match="too long"):
            StoredTexts("k", Encoder().load, tmp_path)(["long " * 9])


def test_a_folder_that_cannot_be_written_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="encoded anew each time: cannot write"):
        (cond,) = StoredTexts("k", Encoder().load, tmp_path / "file" / "text")(["abc"])
    assert cond.tokens.item() == 3


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    texts = StoredTexts("k", Encoder().load, tmp_path)
    texts(["a", "b", "c"])
    for age, prompt in enumerate("abc"):
        os.utime(texts.path(prompt), (1000 + age, 1000 + age))
    texts(["a"])  # used: now the youngest
    size = texts.path("a").stat().st_size
    trim(tmp_path, 2 * size)
    assert [texts.path(p).exists() for p in "abc"] == [True, False, True]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDS3D_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert text_cache.cache_folder() == Path("/a")
    monkeypatch.delenv("SDS3D_CACHE")
    assert text_cache.cache_folder() == Path("/b/sds3d")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert text_cache.cache_folder() == Path.home() / ".cache" / "sds3d"


def test_the_key_follows_the_files(tmp_path: Path) -> None:
    part = tmp_path / "text_encoder"
    part.mkdir()
    (part / "config.json").write_text("{}")
    big = part / "model.safetensors"
    big.write_bytes(b"\0" * (text_cache.WHOLE + 1))
    os.utime(big, (1000, 1000))

    def key(family: str = "sd", dtype: str = "torch.float32", device: torch.device = CPU) -> str:
        return fingerprint([family, dtype], [part], device)

    first = key()
    copied = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    assert fingerprint(["sd", "torch.float32"], [copied / "text_encoder"], CPU) == first  # wherever it lies
    assert len({first, key("sdxl"), key(dtype="torch.float16"), key(device=torch.device("meta"))}) == 4
    os.utime(big, (1001, 1001))
    assert key() != first
    os.utime(big, (1000, 1000))
    (part / "config.json").write_text("{ }")
    assert key() != first


# ---------------------------------------------------------------------------------------- a Stable Diffusion folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Weak references to the text encoders that were loaded, in a cache of the test's own."""
    monkeypatch.setenv("SDS3D_CACHE", str(tmp_path / "cache"))
    seen: list[Any] = []
    real = text_cache.load_parts

    def spy(*arguments: Any) -> dict[str, Any]:
        parts = real(*arguments)
        seen.append(weakref.ref(parts["text_encoder"]))
        return parts

    monkeypatch.setattr(text_cache, "load_parts", spy)
    return seen


def test_the_encoder_leaves_memory_and_is_not_loaded_again(folder: Path, loaded: list[Any]) -> None:
    prior = load_prior(folder, dtype=torch.float32)
    assert loaded == []  # not before there is a prompt
    cond = prior.text(["red", "", "red"])
    gc.collect()
    assert len(loaded) == 1 and loaded[0]() is None
    again = load_prior(folder, dtype=torch.float32).text(["red", "", "red"])
    assert len(loaded) == 1 and same(again, cond)
    assert load_prior(folder, dtype=torch.bfloat16).text(["red"]).tokens.shape == (1, 77, 32) and len(loaded) == 2


def test_a_run_loads_the_encoder_once(folder: Path, loaded: list[Any]) -> None:
    """All of a run's prompts go to the encoder together."""
    from sds3d.engine.conditions import Conditions

    Conditions(load_prior(folder, dtype=torch.float32), "red", "blue", ("pos", "neg", "null", "plain"))
    assert len(loaded) == 1
    Conditions(load_prior(folder, dtype=torch.float32), "red", "blue", ("pos", "null"))
    assert len(loaded) == 1


def test_broken_encoders_are_told_when_they_are_needed(folder: Path, tmp_path: Path, loaded: list[Any]) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "text_encoder" / "config.json").write_text('{"hidden_size": 8}')
    prior = load_prior(copy, dtype=torch.float32)
    with pytest.raises(UserError, match="text_encoder"):
        prior.text(["red"])
