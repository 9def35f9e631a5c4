"""`sds3d probe train`: pictures drawn, probe trained, ceiling measured, weights and card written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.embedded.corpus.names import ALSO, with_article
from sds3d.errors import UserError
from sds3d.files import replacing, write_bytes
from sds3d.probe.album import COLOUR_NAMES, CREDITS, Pictures, draw_album, load_album
from sds3d.probe.card import write_card
from sds3d.probe.ceiling import measure
from sds3d.probe.judge import load_config, load_probe, sentences
from sds3d.probe.model import ProbeNet
from sds3d.probe.train import Lesson, Recipe, fresh, lesson, train
from sds3d.probe.words import aliases, related


def sentence_vectors(wanted: list[str], cache: Path) -> dict[str, Tensor]:
    """Mean MiniLM states by sentence; those in `cache` are not encoded again."""
    known: dict[str, Tensor] = torch.load(cache, weights_only=True) if cache.is_file() else {}
    missing = sorted(set(wanted) - set(known), key=lambda s: (len(s), s))  # batches of like length need little padding
    for i in range(0, len(missing), 128):
        batch = missing[i : i + 128]
        known |= dict(zip(batch, sentences(batch), strict=True))
    if missing:
        with replacing(cache) as temporary:
            torch.save(known, temporary)
    return known


def make_lesson(pictures: Pictures, work: Path) -> tuple[Lesson, dict[str, Any]]:
    """Labels for training, and what the probe's config keeps of its words."""
    nouns = sorted({look.noun for look in pictures.looks})
    titles = [with_article(noun) for noun in nouns]
    pairs = related(nouns, ALSO)
    vectors = sentence_vectors([*titles, *(c for k in pictures.looks for c in k.captions)], work / "sentences.pt")
    own = {k.noun for k in pictures.looks if not k.shared}
    words = {
        "nouns": nouns, "colours": list(COLOUR_NAMES), "related": pairs, "aliases": aliases(nouns, ALSO),
        "shared": [noun for noun in nouns if noun not in own],
    }  # fmt: skip
    return lesson(pictures, nouns, pairs, vectors, titles), words


def train_probe(
    out: Path,
    album: Path,
    cache: Path,
    recipe: Recipe,
    processes: int = 1,
    limit: int | None = None,
    **size: Any,
) -> Iterator[dict[str, Any]]:
    """Make the probe in the folder `out`; its pictures go to `album`, packages to `cache`, checkpoints to `out`/work;
    `limit` keeps that many objects.

    Yields records; started again after an interruption, it goes on. The last record is the ceiling.
    """
    if not (album / "manifest.json").is_file():
        for done, total in draw_album(album, cache, recipe.seed, processes, limit):
            yield {"drawn": done, "of": total}
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    pictures = load_album(album)
    drawn = (pictures.manifest["seed"], pictures.manifest.get("limit"))
    if drawn != (recipe.seed, limit):
        raise UserError(f"{album} was drawn with seed {drawn[0]}, limit {drawn[1]}: give these or another --album")
    if not (album / CREDITS).is_file():
        raise UserError(f"{album} does not say who made its models: remove it, and it is drawn anew with {CREDITS}")
    write_bytes(out / CREDITS, (album / CREDITS).read_bytes())
    labels, words = make_lesson(pictures, work)
    net = fresh(recipe, labels, **size)
    curve = work / "curve.jsonl"
    with curve.open("a") as log:
        for record in train(net, labels, recipe, work / "train.pt"):
            log.write(json.dumps(record) + "\n")
            log.flush()
            yield record
    provenance = {
        "command": " ".join(["sds3d", *sys.argv[1:]]),
        "recipe": asdict(recipe),
        "album": {**pictures.manifest, "images": len(pictures.rgba), "looks": len(pictures.looks)},
        "curve": [json.loads(line) for line in curve.read_text().splitlines()],
    }
    config = {"network": net.shape, **words, "provenance": provenance}
    save_probe(net, labels.nouns, config, out)
    yield measure_ceiling(out, pictures)


def save_probe(net: ProbeNet, nouns: Tensor, config: dict[str, Any], out: Path) -> None:
    """model.safetensors in half precision, the nouns as vectors among it, and probe.json."""
    from safetensors.torch import save

    net.eval()
    with torch.no_grad():
        tensors = {**net.state_dict(), "nouns": net.sentences(nouns)}
    half = {k: v.half().contiguous() for k, v in tensors.items() if v.is_floating_point()}
    write_bytes(out / "model.safetensors", save(half))
    write_config(config, out)


def write_config(config: dict[str, Any], out: Path) -> None:
    write_bytes(out / "probe.json", json.dumps(config, indent=0).encode() + b"\n")


def measure_ceiling(out: Path, pictures: Pictures) -> dict[str, Any]:
    """Measure the probe in `out` as it is stored, and write its figures and card. Returns the ceiling."""
    probe = load_probe(folder=out)
    config = load_config(out)
    config.update(measure(probe, pictures))
    write_config(config, out)
    write_card(config, sum(p.numel() for p in probe.net.parameters()), out)
    return {"ceiling": config["ceiling"]}
