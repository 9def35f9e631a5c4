"""Mutations that provably change nothing, each with the reason: reviewed by hand, never to silence a weak test."""

from __future__ import annotations

EQUIVALENT: dict[str, dict[str, str]] = {  # objective -> change (Mutation.change) -> reason
    "dreamcatalyst": {"states['t'] -> states['src']": "tau and its shape: both states are at the same t"},
}
