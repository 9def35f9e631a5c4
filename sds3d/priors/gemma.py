"""The text encoder of Sana: Gemma 2's last hidden states of the prompt, after an order to imagine it in detail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sds3d.priors.prompt_end import count, warn_of_unseen

MAX_TOKENS = 300  # that the network sees
# "Complex human instruction" (Sana, arXiv 2410.10629, section 2.3.2), in the wording that the models were trained with.
INSTRUCTION = "\n".join(
    [
        "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for "
        "image generation. Evaluate the level of detail in the user prompt:",
        "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial "
        "relationships to create vivid and concrete scenes.",
        "- If the prompt is already detailed, refine and enhance the existing details slightly without "
        "overcomplicating.",
        "Here are examples of how to transform or refine prompts:",
        "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping "
        "peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.",
        "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street "
        "lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass "
        "skyscrapers.",
        "Please generate only the enhanced description for the prompt below and avoid including any additional "
        "commentary or evaluations:",
        "User Prompt: ",
    ]
)


class GemmaText:
    """Prompts -> states of the first and the last tokens, after the instruction; the empty prompt has none."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer, self.model = tokenizer, model
        self.tokenizer.padding_side = "right"
        self.instruction_tokens = len(tokenizer(INSTRUCTION).input_ids)

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, 300, D) float32 states and (B, 300) bool mask, True where a token is real."""
        states, masks = zip(*(self._encode(prompt.lower().strip()) for prompt in prompts), strict=True)
        return torch.cat(states), torch.cat(masks)

    def _encode(self, prompt: str) -> tuple[Tensor, Tensor]:
        text, length = prompt, MAX_TOKENS
        if prompt:
            text, length = INSTRUCTION + prompt, self.instruction_tokens + MAX_TOKENS - 2
        warn_of_unseen([(prompt, MAX_TOKENS + count(text, self.tokenizer) - length)], MAX_TOKENS)
        encoded = self.tokenizer(
            [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(self.model.device)
        states = self.model(encoded.input_ids, attention_mask=encoded.attention_mask).last_hidden_state
        seen = [0, *range(-MAX_TOKENS + 1, 0)]
        return states[:, seen].float(), encoded.attention_mask[:, seen].to(torch.bool)
