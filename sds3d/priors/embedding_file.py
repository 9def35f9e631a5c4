"""Textual inversions: a new word for CLIP, of one or several vectors (Gal et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import digest
from sds3d.priors.part import Part, read_json
from sds3d.priors.single_file import read_header, read_weights

BOTH = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}  # keys of a file for SDXL's two encoders
NAMELESS = ("emb_params", *BOTH)  # keys that are no word


def word_in(file: Path) -> str:
    """The word that the file gives its vectors, or the file's name without its end."""
    keys = list(read_header(file)[0])
    return keys[0] if len(keys) == 1 and keys[0] not in NAMELESS else file.stem


@dataclass(frozen=True)
class Embedding:
    """The vectors (n, D) of a word, by text encoder."""

    word: str
    vectors: Mapping[str, Tensor]
    identity: str

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({*self.vectors, *(_tokenizer(name) for name in self.vectors)})

    @classmethod
    def open(cls, file: Path, word: str, parts: Sequence[Part]) -> Embedding:
        """From a file of diffusers (one key, the word), of web interfaces (`emb_params`) or for SDXL (`clip_l`,
        `clip_g`); UserError where it does not fit the model."""
        clips = [part for part in parts if part.name.startswith("text_encoder") and part.cls.startswith("CLIPText")]
        if not clips:
            raise UserError(
                "textual inversions change CLIP, which this prior does not have: leave --textual-inversion out"
            )
        weights = read_weights(file, "")
        if set(weights) == set(BOTH):
            vectors = {name: weights[key] for key, name in BOTH.items()}
        elif len(weights) == 1:
            vectors = {clips[0].name: next(iter(weights.values()))}
        else:
            raise UserError(f"{file} is no textual inversion: it holds {len(weights)} tensors, not one vector a word")
        vectors = {name: value.view(-1, value.shape[-1]) for name, value in vectors.items()}
        if set(vectors) != {part.name for part in clips} or len({len(v) for v in vectors.values()}) > 1:
            raise UserError(
                f"{file} is for {len(vectors)} text encoder(s) where this prior has {len(clips)}: "
                "use a textual inversion that was made for it"
            )
        for part in clips:
            width, given = (
                read_json(part.folder / "config.json", part.folder)["hidden_size"],
                vectors[part.name].shape[1],
            )
            if width != given:
                raise UserError(
                    f"{file} has vectors of {given} numbers where this prior's {part.name} has {width}: "
                    "use a textual inversion that was made for it"
                )
        return cls(word, vectors, f"{digest(file)}:{word}")

    def apply(self, components: Mapping[str, Any]) -> None:
        """New words at the end of the vocabulary: WORD, WORD_1, ... for as many vectors, as diffusers has them."""
        for name, vectors in self.vectors.items():
            if name in components:
                words = [self.word, *(f"{self.word}_{i}" for i in range(1, len(vectors)))]
                _teach(components[_tokenizer(name)], components[name], words, vectors, self.word)


def spell_out(prompt: str, tokenizer: Any) -> str:
    """The prompt with WORD replaced by "WORD WORD_1 ..." where a textual inversion has several vectors."""
    for word, words in getattr(tokenizer, "sds3d_words", {}).items():
        prompt = re.sub(re.escape(word), " ".join(words), prompt, flags=re.IGNORECASE)
    return prompt


def _teach(tokenizer: Any, model: Any, words: list[str], vectors: Tensor, name: str) -> None:
    if set(words) & set(tokenizer.get_vocab()):
        raise UserError(f"the word {name!r} has a meaning already: name another one as --textual-inversion FILE:WORD")
    tokenizer.add_tokens(words)
    ids = tokenizer.convert_tokens_to_ids(words)
    rows = max(max(ids) + 1, len(model.get_input_embeddings().weight))
    model.resize_token_embeddings(rows, mean_resizing=False)
    table = model.get_input_embeddings().weight
    table.data[ids] = vectors.to(table)
    tokenizer.sds3d_words = {**getattr(tokenizer, "sds3d_words", {}), name: words}


def _tokenizer(encoder: str) -> str:
    """The tokenizer of a text encoder: "text_encoder_2" -> "tokenizer_2"."""
    return encoder.replace("text_encoder", "tokenizer")
