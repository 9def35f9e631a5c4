"""The probe's card, written from its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sds3d.embedded.curve import lengthened

CARD = """---
license: cc-by-sa-4.0
---
# The probe of sds3d

A small image-text model ({millions:.1f} M parameters, {network})
that judges pictures of single objects: which noun one shows, in which colour, from which side. It exists to measure the
embedded prior and what is distilled from it. It takes no part in training, nor in generation but where guidance
`rewardsds` is told to ask it: what that makes, it cannot judge.

## How far it is independent of the prior
- **Architecture**: a residual CNN on 64 px pictures with a contrastive loss; the prior is a perceptron in eigen-image
  space, with convolutions for fine detail only, and a diffusion loss. They share no weights but the frozen MiniLM's.
- **Pictures**: all drawn for the probe (seed {seed}), with its own cameras, lights, backgrounds, recolours and
  materials; modelled objects are also stretched.
- **Objects**: generated objects come from the same generators as the prior's, as other instances. Modelled objects are
  those that the prior's corpus, as the code named below builds it, holds out or leaves out as too many of a noun.
  {n_shared} of {n_nouns} nouns have no such object: for these the probe learnt from models that the prior learnt from
  too (`shared` in probe.json, below).
- So it tells whether a sample looks like a *noun of this corpus*. It does not tell whether it looks like a photograph
  of that thing, and a prior that draws a shared noun from memory of its one model is not found out.

Who made the objects is in ATTRIBUTION.md beside this file; parts are CC-BY-SA, so these weights are CC-BY-SA 4.0.

## Its ceiling
Measured on the stored half-precision weights, on renders over white of objects that it never learnt from. R@k is the
mean over nouns; other words for the same thing and its kinds ("armchair" for "chair") do not count as mistakes. Colour:
the strongest of the colour words, on pictures where one has more than half of the unlit surface seen; "or none" counts
the other pictures too, where "none" is right.
Azimuth: median error in degrees, of objects with a front. Janus: the back (over 135 degrees) taken for the front
(under 45).

| objects | nouns | pictures | R@1 | R@5 | colour | colour or none | azimuth | Janus |
|---|---|---|---|---|---|---|---|---|
{rows}

Many a front is not to be seen (tables, houses alike on all sides). `fronted` in probe.json lists {n_fronted} nouns
whose front it finds. Chosen on half of the pictures ({n_clear} nouns) and measured on the other half, **azimuth is
{clear_azimuth} degrees and Janus {clear_janus}**: these two are the ceiling that scores are shown beside.

## How it was made
    {command}

Recipe: {recipe}. {images:,} pictures of {looks:,} looks of {subjects:,} objects ({not_drawn} could not be drawn).
Corpus code `{code:.12}`.{lengthened}

| step | noun | caption | colour | azimuth |
|---|---|---|---|---|
{curve}
"""
FIGURES = ("nouns", "images", "r1", "r5", "colour", "colour_or_none", "azimuth", "janus")


def row(name: str, figures: dict[str, Any]) -> str:
    cells = ["-" if figures[k] is None else f"{figures[k]:.3g}" if isinstance(figures[k], float) else str(figures[k])
             for k in FIGURES]  # fmt: skip
    return f"| {' | '.join([name, *cells])} |"


def write_card(config: dict[str, Any], parameters: int, out: Path) -> None:
    """README.md in `out`."""
    ceiling, made = config["ceiling"], config["provenance"]
    records = made["curve"]
    shown = records[:: max(1, len(records) // 8)]
    if records and records[-1] not in shown:
        shown = [*shown, records[-1]]
    curve = [f"| {r['step']} | {r['noun']:.3f} | {r['caption']:.3f} | {r['colour']:.3f} | {r['azimuth']:.3f} |"
             for r in shown]  # fmt: skip
    network = config["network"]
    text = CARD.format(
        millions=parameters / 1e6,
        network=f"widths {network['widths']}, residual blocks {network['blocks']}",
        seed=made["recipe"]["seed"],
        n_shared=len(config["shared"]),
        n_nouns=len(config["nouns"]),
        n_fronted=len(config["fronted"]),
        n_clear=ceiling["fronted_nouns"],
        clear_azimuth=ceiling["azimuth"],
        clear_janus=ceiling["janus"],
        rows="\n".join(row(name, figures) for name, figures in ceiling["groups"].items()),
        command=made["command"],
        recipe=", ".join(f"{k} {v}" for k, v in made["recipe"].items()),
        curve="\n".join(curve),
        lengthened=lengthened(records),
        **{k: made["album"][k] for k in ("images", "looks", "subjects", "not_drawn", "code")},
    )
    (out / "README.md").write_text(text)
