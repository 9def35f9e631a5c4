"""The model card of the embedded prior, written from its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sds3d.embedded.curve import continued
from sds3d.embedded.data import Corpus
from sds3d.embedded.stamp import differences

CARD = """---
license: cc-by-sa-4.0
pipeline_tag: text-to-3d
---
# The embedded prior of sds3d

A text-, camera- and background-conditioned diffusion model of objects at 64x64 pixels with {millions:.0f} M parameters,
small enough for a laptop CPU. It predicts x0 with a residual MLP in the corpus's eigen-image space and a small U-Net
for detail; text enters as MiniLM token states, the camera as azimuth, elevation and field of view, and a picture of the
object from another side, where there is one, as its whitened coefficients.

## What it was trained on
{images:,} renders (seed {seed}) of {objects:,} objects, {captions:,} captions; {heldout:,} of the renders show objects
that were held out{unheld}. Corpus hash
`{hash}`.
Every object's author and licence is in ATTRIBUTION.md; parts are CC-BY-SA, so these weights are CC-BY-SA 4.0 (the code
around them is Apache-2.0).

## How
    {command}

Recipe: {recipe}.{continued}{commands}

| stage | images seen | training loss | held-out loss | corpus |
|---|---|---|---|---|
{curve}

The whole curve is in `training.json`.

## What it knows and does not know
It knows the nouns of its corpus (furniture, food, animals, vehicles, plants, buildings, tools, toys), eleven colours
and some materials, from all sides. It does not know styles, scenes, people's names or open vocabulary: a noun that it
never saw becomes its nearest neighbour. Images are 64x64: no fine texture.
"""


ROW = "| {stage} | {images:,} | {loss:.4f} | {heldout:.4f} | `{corpus:.8}` |"


def curve_rows(records: list[dict[str, Any]], most: int = 8) -> str:
    """A few rows of the loss curve per stage, the last one always among them."""
    rows = []
    for stage in ("eigen", "detail"):
        part = [r for r in records if r["stage"] == stage]
        every = max(1, len(part) // most)
        chosen = part[::-1][::every][::-1]
        rows += [ROW.format(**r) for r in chosen]
    return "\n".join(rows)


def earlier(stamps: list[dict[str, Any]]) -> str:
    """What was changed on purpose on the way, and by which commands."""
    if len(stamps) < 2:
        return ""
    first = f"1. corpus `{stamps[0]['corpus']:.8}`: `{stamps[0]['command']}`"
    later = [
        f"{i}. {', '.join(differences(old, new))}: `{new['command']}`"
        for i, (old, new) in enumerate(zip(stamps, stamps[1:], strict=False), 2)
    ]
    lead = "It was made in these steps, each going on with the weights of the one before:"
    return "\n\n".join(["", lead, "\n".join([first, *later])])


def write_card(provenance: dict[str, Any], corpus: Corpus, path: Path) -> None:
    """Write the card of the prior that `provenance` describes."""
    manifest = provenance["corpus"]
    learnt = "" if corpus.heldout.any() else ": the held-out loss below is that of renders it learnt from"
    path.write_text(
        CARD.format(
            unheld=learnt,
            continued=continued(provenance["curve"]),
            commands=earlier(provenance["stamps"]),
            millions=provenance["parameters"] / 1e6,
            images=len(corpus),
            seed=manifest["seed"],
            objects=manifest["objects"],
            captions=len(corpus.captions),
            heldout=int(corpus.heldout.sum()),
            hash=manifest["hash"],
            command=provenance["command"],
            recipe=", ".join(f"{k} {v}" for k, v in provenance["recipe"].items()),
            curve=curve_rows(provenance["curve"]),
        )
    )
