"""What text encoders say of a prompt that is longer than they read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


def warn_of_unseen(lengths: Iterable[tuple[str, int]], most: int) -> None:
    """Warn of the first of the (prompt, tokens) that has more than `most` tokens, the last that the prior sees."""
    for prompt, tokens in lengths:
        if tokens > most:
            warnings.warn(
                f"the prompt {prompt[:60]!r} has more than {most} tokens: the prior does not see its end", stacklevel=4
            )
            return


def count(prompt: str, tokenizer: object) -> int:
    """Tokens of a prompt, marks included."""
    return len(tokenizer(prompt, verbose=False).input_ids)  # type: ignore[operator]
