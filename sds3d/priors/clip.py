"""The text encoder of Stable Diffusion: CLIP's hidden states of 77 tokens, padding included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.priors.embedding_file import spell_out
from sds3d.priors.prompt_end import count, warn_of_unseen


class ClipText:
    """Prompts -> token states. The networks were trained to attend to the padding, so every token counts as real.

    `alone`: the prior has no encoder that reads farther, so that what comes after the last token is lost to it.
    """

    def __init__(self, tokenizer: Any, model: Any, alone: bool = True) -> None:
        self.tokenizer, self.model, self.alone = tokenizer, model, alone
        self.max_tokens = min(int(tokenizer.model_max_length), int(model.config.max_position_embeddings))

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32 last hidden states and (B, T) bool mask, all True."""
        states = self._run(prompts).last_hidden_state.float()
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)

    def penultimate(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32 states before the last layer and its norm, and the prompt in one vector (B, P): projected
        where the model projects (CLIPTextModelWithProjection), else the state of its end."""
        output = self._run(prompts, output_hidden_states=True)
        pooled = output.text_embeds if "text_embeds" in output else output.pooler_output
        return output.hidden_states[-2].float(), pooled.float()

    def _run(self, prompts: list[str], **options: bool) -> Any:
        prompts = [spell_out(prompt, self.tokenizer) for prompt in prompts]
        if self.alone:
            warn_of_unseen(((p, count(p, self.tokenizer)) for p in prompts), self.max_tokens)
        encoded = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        masked = getattr(self.model.config, "use_attention_mask", False)
        device = self.model.device
        mask = encoded.attention_mask.to(device) if masked else None
        return self.model(encoded.input_ids.to(device), attention_mask=mask, **options)
