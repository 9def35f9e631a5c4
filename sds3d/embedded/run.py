"""`sds3d prior train`: corpus in, a loadable folder out, with the record of how it was made."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sds3d.embedded.card import write_card
from sds3d.embedded.data import Corpus, encode_captions, load_corpus, principal_components
from sds3d.embedded.folder import save_folder, write_json
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import Recipe
from sds3d.embedded.train import Kind, Text, build, train
from sds3d.streams import stream


def caption_states(corpus: Corpus, cache: Path) -> Text:
    """Token states of the captions, encoded once per corpus."""
    from sds3d.priors.minilm import MiniLMEncoder

    stamp = corpus.manifest["hash"]
    if cache.is_file():
        saved = torch.load(cache, weights_only=True)
        if saved["hash"] == stamp:
            return Text(saved["tokens"], saved["mask"])
    encoder = MiniLMEncoder()
    tokens, mask = encode_captions(corpus.captions, encoder)
    torch.save({"hash": stamp, "tokens": tokens, "mask": mask}, cache)
    return Text(tokens, mask)


def fresh_network(corpus: Corpus, recipe: Recipe, cache: Path, kind: type[Kind], **size: Any) -> Kind:
    """A network with seeded weights around the corpus's principal components, which are computed once."""
    if cache.is_file():
        components = torch.load(cache, weights_only=True)
    else:
        components = principal_components(corpus, size.pop("components", 768), stream(recipe.seed, "components"))
        torch.save(components, cache)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build(components, kind, **size)


def train_prior(
    corpus_folder: Path,
    out: Path,
    recipe: Recipe,
    device: torch.device | str = "cpu",
    minutes: float = math.inf,
    **size: Any,
) -> Iterator[dict[str, Any]]:
    """Train on `corpus_folder` and write the prior to `out`; working files and checkpoints live in `out`/work.

    Yields a record per validation; started again after an interruption, or after it stopped at `minutes`, it goes on
    from the last checkpoint. The prior is written at the end of every piece.
    """
    until = time.time() + 60 * minutes
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(corpus_folder)
    text = caption_states(corpus, work / "captions.pt")
    net = fresh_network(corpus, recipe, work / "components.pt", EigenDenoiser, **size)
    torch.nn.Module.to(net, device)
    curve = work / "curve.jsonl"
    with curve.open("a") as log:
        for record in train(corpus.to(device), text.to(device), recipe, net, work, until):
            record["corpus"] = corpus.manifest["hash"]
            log.write(json.dumps(record) + "\n")
            log.flush()
            yield record
    save_folder(torch.nn.Module.to(net, "cpu"), out)
    if (corpus_folder / "ATTRIBUTION.md").is_file():
        shutil.copy(corpus_folder / "ATTRIBUTION.md", out / "ATTRIBUTION.md")
    records = [json.loads(line) for line in curve.read_text().splitlines()]
    provenance = {
        "command": " ".join(["sds3d", *sys.argv[1:]]),
        "recipe": asdict(recipe),
        "corpus": corpus.manifest,
        "network": {k: v for k, v in dict(net.config).items() if not k.startswith("_")},
        "parameters": sum(p.numel() for p in net.parameters()),
        "curve": records,
    }
    write_json(out / "training.json", provenance)
    write_card(provenance, corpus, out / "README.md")
