"""The text encoder T5, as several families use it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.priors.prompt_end import count, warn_of_unseen


class T5Text:
    """Prompts -> T5's last hidden states, padded to `max_tokens`; `masked`: the encoder does not attend to padding."""

    def __init__(self, tokenizer: Any, model: Any, max_tokens: int, masked: bool = True) -> None:
        self.tokenizer, self.model, self.max_tokens, self.masked = tokenizer, model, max_tokens, masked

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32 states and (B, T) bool mask, True where a token is real."""
        warn_of_unseen(((p, count(p, self.tokenizer)) for p in prompts), self.max_tokens)
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
