"""How rough and how metallic: constants by the words of a prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Finish:
    """glTF's metallic-roughness factors."""

    roughness: float
    metallic: float


PLAIN = Finish(0.9, 0.0)
FINISHES = {  # words: finish. The first word of a prompt that stands here decides.
    "gold golden brass bronze copper": Finish(0.3, 1.0),
    "silver chrome chromed": Finish(0.2, 1.0),
    "metal metallic steel iron aluminium aluminum tin titanium": Finish(0.4, 1.0),
    "rusty rusted": Finish(0.85, 0.6),
    "glass crystal diamond ice": Finish(0.08, 0.0),
    "ceramic porcelain glazed enamel": Finish(0.25, 0.0),
    "plastic vinyl lego lacquered glossy shiny polished": Finish(0.35, 0.0),
    "marble jade": Finish(0.3, 0.0),
    "wet slimy": Finish(0.2, 0.0),
    "wax leather": Finish(0.55, 0.0),
    "wood wooden oak bamboo": Finish(0.7, 0.0),
    "rubber": Finish(0.8, 0.0),
    "stone stony rock concrete brick clay terracotta paper cardboard": Finish(0.95, 0.0),
    "wool woollen woolen knitted cloth fabric felt plush fluffy furry velvet": Finish(1.0, 0.0),
}
NAMES = ("golden retriever", "golden eagle", "silver fox", "tin whistle")  # where such a word is only part of a name
WORDS = {word: finish for words, finish in FINISHES.items() for word in words.split()}


def finish_of(prompt: str, roughness: float | None = None, metallic: float | None = None) -> Finish:
    """The finish that the prompt's words name, or PLAIN; what is given goes before."""
    text = " ".join(re.findall(r"[^\W\d_]+", prompt.casefold()))
    for name in NAMES:
        text = text.replace(name, "")
    found = next((WORDS[word] for word in text.split() if word in WORDS), PLAIN)
    return Finish(found.roughness if roughness is None else roughness, found.metallic if metallic is None else metallic)
