"""CLIP's own tokenizer from the byte-pair merges that come with sds3d (Radford et al. 2021; Sennrich et al. 2016)."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

MERGES = Path(__file__).resolve().parent / "layouts" / "clip_merges.txt.gz"
END = "</w>"


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """(token -> id, merges in their order): 256 bytes, the same at the end of a word, one token a merge, two marks."""
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")[:-1]
    symbols = byte_symbols()
    tokens = [*symbols, *(s + END for s in symbols), *("".join(m.split()) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, merges


def byte_symbols() -> list[str]:
    """A printable character for each byte, GPT-2's: the printable ones stand for themselves and come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(others)]


def clip_tokenizer(config: Path) -> Any:
    """A transformers CLIPTokenizer with the settings of the tokenizer_config.json `config`."""
    from transformers import CLIPTokenizer

    vocab, merges = vocabulary()
    with tempfile.TemporaryDirectory() as scratch:  # its constructor has another signature in every major version
        folder = Path(scratch)
        shutil.copy(config, folder / "tokenizer_config.json")
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
        return CLIPTokenizer.from_pretrained(scratch, local_files_only=True)
