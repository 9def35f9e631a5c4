"""`sds3d prior train`: corpus in, a loadable folder out, with the record of how it was made."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sds3d.embedded.card import write_card
from sds3d.embedded.curve import Curve
from sds3d.embedded.data import Corpus, encode_captions, load_corpus, principal_components, read_manifest
from sds3d.embedded.folder import network_config, save_folder, write_json
from sds3d.embedded.model import EigenDenoiser
from sds3d.embedded.recipe import STAGES, Recipe
from sds3d.embedded.stamp import admit, command, stamps
from sds3d.embedded.train import Kind, Text, build, finished, steps_done, train
from sds3d.errors import UserError
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


class Training:
    """A prior that learns from the corpus in `corpus_folder` and is kept in `out`, with checkpoints in `out`/work.

    Made again after an interruption it goes on from the last checkpoint. UserError where there is no corpus, where
    nothing of it may be learnt from, and where `out` was trained on another corpus or recipe and `go_on` is not given.
    """

    def __init__(
        self,
        corpus_folder: Path,
        out: Path,
        recipe: Recipe,
        device: torch.device | str = "cpu",
        go_on: bool = False,
        **size: Any,
    ) -> None:
        self.corpus_folder, self.out, self.recipe, self.device, self.size = corpus_folder, out, recipe, device, size
        self.work = out / "work"
        self.curve = Curve(self.work / "curve.jsonl")
        manifest = read_manifest(corpus_folder)
        self.work.mkdir(parents=True, exist_ok=True)
        admit(self.work, manifest["hash"], recipe, go_on)

    @property
    def done(self) -> bool:
        """Are all images seen, and is the prior written that came of them?"""
        path = self.out / "training.json"
        if not path.is_file() or not finished(self.work, self.recipe):
            return False
        written = json.loads(path.read_text())
        return bool(written["curve"] == self.curve.records() and written.get("stamps") == stamps(self.work))

    @cached_property
    def corpus(self) -> Corpus:
        corpus = load_corpus(self.corpus_folder)
        if corpus.heldout.all():
            raise UserError(f"every object of {self.corpus_folder} is held out of training: make a larger corpus")
        return corpus.to(self.device)

    @cached_property
    def text(self) -> Text:
        return caption_states(self.corpus, self.work / "captions.pt").to(self.device)

    def piece(self, minutes: float = math.inf) -> Iterator[dict[str, Any]]:
        """Train for so long, at least a step, and write the prior. Yields a record per validation."""
        until = time.time() + 60 * minutes
        corpus, text = self.corpus, self.text
        net = fresh_network(corpus, self.recipe, self.work / "components.pt", EigenDenoiser, **self.size)
        torch.nn.Module.to(net, self.device)
        self.curve.cut({stage: steps_done(self.work, stage) for stage in STAGES})
        for record in train(corpus, text, self.recipe, net, self.work, until):
            record["corpus"] = corpus.manifest["hash"]
            self.curve.add(record)
            yield record
        self.write(torch.nn.Module.to(net, "cpu"))

    def write(self, net: EigenDenoiser) -> None:
        """The folder that `--prior` loads, with its card and how it was made."""
        save_folder(net, self.out)
        if (self.corpus_folder / "ATTRIBUTION.md").is_file():
            shutil.copy(self.corpus_folder / "ATTRIBUTION.md", self.out / "ATTRIBUTION.md")
        provenance = {
            "command": command(),
            "recipe": asdict(self.recipe),
            "stamps": stamps(self.work),
            "corpus": self.corpus.manifest,
            "network": network_config(net),
            "parameters": sum(p.numel() for p in net.parameters()),
            "curve": self.curve.records(),
        }
        write_card(provenance, self.corpus, self.out / "README.md")
        write_json(self.out / "training.json", provenance)
