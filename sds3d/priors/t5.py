"""The text encoder T5, as several families use it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


class T5Text:
    """Prompts -> T5's last hidden states, padded to `max_tokens`; `masked`: the encoder does not attend to padding."""

    def __init__(self, tokenizer: Any, model: Any, max_tokens: int, masked: bool = True) -> None:
        self.tokenizer, self.model, self.max_tokens, self.masked = tokenizer, model, max_tokens, masked

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32 states and (B, T) bool mask, True where a token is real."""
        long = [p for p in prompts if len(self.tokenizer(p, verbose=False).input_ids) > self.max_tokens]
        if long:
            warnings.warn(
                f"the prompt {long[0][:60]!r} has more than {self.max_tokens} tokens: the prior does not see its end",
                stacklevel=3,
            )
        encoded = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            add_special_tokens=True,
            return_tensors="pt",
        ).to(self.model.device)
        mask = encoded.attention_mask if self.masked else None
        states = self.model(encoded.input_ids, attention_mask=mask).last_hidden_state
        return states.float(), encoded.attention_mask.to(torch.bool)
