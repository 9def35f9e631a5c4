"""The text encoder of Stable Diffusion: CLIP's last hidden states of 77 tokens, padding included."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


class ClipText:
    """Prompts -> token states. The networks were trained to attend to the padding, so every token counts as real."""

    attends_padding = True

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer, self.model = tokenizer, model
        self.max_tokens = min(int(tokenizer.model_max_length), int(model.config.max_position_embeddings))

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32 states and (B, T) bool mask, all True."""
        long = [p for p in prompts if len(self.tokenizer(p, verbose=False).input_ids) > self.max_tokens]
        if long:
            warnings.warn(
                f"the prompt {long[0][:60]!r} has more than {self.max_tokens} tokens: the prior does not see its end",
                stacklevel=2,
            )
        encoded = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        masked = getattr(self.model.config, "use_attention_mask", False)
        device = self.model.device
        states = self.model(
            encoded.input_ids.to(device), attention_mask=encoded.attention_mask.to(device) if masked else None
        ).last_hidden_state.float()
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=device)
