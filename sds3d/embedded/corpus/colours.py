"""Which of the 11 basic colour words fit an image, by rules in hue, saturation and value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HUES = (
    (12, "red"),
    (38, "orange"),
    (68, "yellow"),
    (165, "green"),
    (255, "blue"),
    (300, "purple"),
    (342, "pink"),
    (361, "red"),
)


def hue_saturation_value(rgb: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """(N, 3) in [0, 1] -> hue in degrees, saturation, value, (N,) each."""
    r, g, b = rgb.T
    top, spread = rgb.max(1), rgb.max(1) - rgb.min(1)
    safe = np.maximum(spread, 1e-9)
    hue = np.where(top == r, (g - b) / safe % 6, np.where(top == g, (b - r) / safe + 2, (r - g) / safe + 4)) * 60
    return np.where(spread > 1e-6, hue, 0.0), spread / np.maximum(top, 1e-6), top


def colour_names(rgb: NDArray[np.float64]) -> NDArray[np.str_]:
    """(N, 3) sRGB in [0, 1] -> (N,) names of the 11 basic colours."""
    hue, saturation, value = hue_saturation_value(rgb)
    names = np.full(len(rgb), "gray", dtype="U6")
    chromatic = (saturation >= 0.18) & (value >= 0.16)
    names[~chromatic & (value < 0.22)] = "black"
    names[~chromatic & (value >= 0.78)] = "white"
    names[value < 0.13] = "black"
    low = 0
    for high, name in HUES:
        names[chromatic & (hue >= low) & (hue < high)] = name
        low = high
    dark_orange = (hue >= 8) & (hue < 50) & (value < 0.62)
    dark_red = ((hue < 8) | (hue > 342)) & (value < 0.42) & (saturation < 0.62)
    dull_orange = (hue >= 8) & (hue < 45) & (saturation < 0.55) & (value < 0.75)
    names[chromatic & (dark_orange | dark_red | dull_orange)] = "brown"
    names[chromatic & ((hue > 330) | (hue < 12)) & (saturation < 0.5) & (value > 0.7)] = "pink"
    names[chromatic & (hue >= 25) & (hue < 60) & (saturation < 0.30) & (value > 0.75)] = "white"
    return names


def dominant(images: NDArray[np.uint8]) -> list[tuple[str, float]]:
    """Colour words of the opaque pixels of (B, H, W, 4) unlit views with their shares, most frequent first."""
    pixels = images[images[..., 3] > 128][:, :3].astype(np.float64) / 255
    if not len(pixels):
        return []
    words, counts = np.unique(colour_names(pixels), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(str(words[i]), round(float(counts[i] / len(pixels)), 3)) for i in order]


def colour_phrase(shares: list[tuple[str, float]]) -> str | None:
    """ "red" if one colour has more than half, "red and white" if two share it, else None."""
    if shares and shares[0][1] > 0.5:
        return shares[0][0]
    if len(shares) > 1 and shares[0][1] > 0.3 and shares[1][1] > 0.25:
        return f"{shares[0][0]} and {shares[1][0]}"
    return None
