"""Mutations that provably change nothing, each with the reason: reviewed by hand, never to silence a weak test."""

from __future__ import annotations

EQUIVALENT: dict[str, dict[str, str]] = {  # objective -> change (Mutation.change) -> reason
    "dreamcatalyst": {"states['t'] -> states['src']": "tau and its shape: both states are at the same t"},
    "paths": {
        "alpha_s * clean + (sigma_s ** 2 - spread ** 2).clamp(min=0).sqrt() * eps + spread * noise"
        " -> alpha_s * clean + (sigma_s ** 2 - spread ** 2).clamp(min=0).sqrt() * eps - spread * noise": (
            "fresh Gaussian noise has no sign"
        ),
    },
}
