"""The probe as others use it: weights loaded, pictures in, judgements out."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sds3d.errors import UserError, unknown
from sds3d.probe.model import ProbeNet, Seen, fit, mean_states
from sds3d.probe.words import find_noun, find_nouns

if TYPE_CHECKING:
    from sds3d.priors.minilm import MiniLMEncoder

WEIGHTS = Path(__file__).parent / "weights"
BATCH = 256


class Probe:
    """Judges pictures of single objects. It is no part of training or generation.

    `nouns` and `colours` are what it tells apart, `fronted` the nouns whose front it can find, `ceiling` its own
    figures on renders of held-out objects: r1, r5, colour, azimuth (median degrees), janus, and more by group.
    """

    def __init__(
        self, net: ProbeNet, nouns: Tensor, config: dict[str, Any], device: str | torch.device = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.noun_vectors = nouns.float().to(self.device)  # (N, D)
        self.nouns: list[str] = config["nouns"]
        self.colours: list[str] = config["colours"]
        self.aliases: dict[str, str] = config["aliases"]
        self.ceiling: dict[str, Any] = config.get("ceiling", {})
        self.fronted: list[str] = config.get("fronted", [])
        self.shared: list[str] = config.get("shared", [])
        self.known = {**{n: n for n in self.nouns}, **self.aliases}
        self.index = {noun: i for i, noun in enumerate(self.nouns)}
        self.rivals = torch.ones(len(self.nouns), len(self.nouns), dtype=torch.bool)
        self.rivals.fill_diagonal_(False)
        for i, j in config["related"]:
            self.rivals[i, j] = self.rivals[j, i] = False

    def see(self, images: Tensor) -> Seen:
        """(B, 3, H, W) in [0, 1] -> everything, on the CPU."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"the probe looks at (B, 3, H, W), not {tuple(images.shape)}")
        with torch.no_grad():
            parts = [self.net(fit(part.to(self.device, torch.float32))) for part in images.split(BATCH)]
        return Seen(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))

    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], any size -> (B, D) unit vectors."""
        return self.see(images).embedding

    def noun_of(self, prompt: str) -> str:
        """The noun a prompt is about. UserError if the probe knows none in it."""
        return find_noun(prompt, self.known)

    def nouns_of(self, prompt: str) -> list[str]:
        """All its nouns, the main one first."""
        return find_nouns(prompt, self.known)

    def similarities(self, images: Tensor) -> Tensor:
        """(B, N) cosines with the nouns."""
        return self.embed(images) @ self.noun_vectors.cpu().T

    def rank(self, images: Tensor, noun: str) -> Tensor:
        """(B,) how many nouns fit better than `noun`; other words for the same thing and its kinds do not count."""
        return ranks(self.similarities(images), torch.full((len(images),), self._at(noun)), self.rivals)

    def top(self, images: Tensor, k: int = 5) -> list[list[str]]:
        """The k best nouns of each picture."""
        return [[self.nouns[i] for i in row] for row in self.similarities(images).topk(k).indices.tolist()]

    def colour(self, images: Tensor) -> Tensor:
        """(B,) index into `colours` of the main one; the last, "none", where no colour has the larger part."""
        return self.see(images).colour.argmax(-1)

    def hue(self, images: Tensor) -> Tensor:
        """(B,) index into `colours` of the strongest colour, "none" left aside: a yellow car with black tyres is
        yellow."""
        return self.see(images).colour[:, :-1].argmax(-1)

    def azimuth(self, images: Tensor) -> Tensor:
        """(B,) degrees in [0, 360): from where the object is seen, 0 the front, growing towards its left."""
        return degrees(self.see(images).azimuth)

    def score(self, images: Tensor, prompt: str) -> Tensor:
        """(B,) cosine with the whole prompt; it needs the text encoder's package."""
        return self.embed(images) @ self.net.sentences(sentences([prompt]).to(self.device))[0].cpu()

    def _at(self, noun: str) -> int:
        if noun not in self.known:
            raise unknown("noun", noun, self.nouns)
        return self.index[self.known[noun]]


def ranks(similarities: Tensor, truth: Tensor, rivals: Tensor) -> Tensor:
    """(B, N) similarities, (B,) true columns, (N, N) which columns may beat which -> (B,) rank, 0 the best."""
    own = similarities.gather(1, truth[:, None])
    return ((similarities > own) & rivals[truth]).sum(1)


def degrees(direction: Tensor) -> Tensor:
    """(B, 2) sine and cosine -> (B,) degrees in [0, 360)."""
    return torch.rad2deg(torch.atan2(direction[:, 0], direction[:, 1])) % 360


@functools.lru_cache(maxsize=1)
def _encoder() -> MiniLMEncoder:
    from sds3d.priors.minilm import MiniLMEncoder

    encoder = MiniLMEncoder(max_tokens=32)
    encoder.tokenizer.enable_padding()  # to the longest of a batch only
    return encoder


def sentences(prompts: list[str]) -> Tensor:
    """(n, 384) mean token states of n prompts."""
    return mean_states(*_encoder()(prompts))


def load_config(folder: Path = WEIGHTS) -> dict[str, Any]:
    """The probe.json of a folder. UserError if there is none."""
    path = folder / "probe.json"
    if not path.is_file():
        raise UserError(f"no probe in {folder}: make one with sds3d probe train --out {folder}")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def load_probe(device: str | torch.device = "cpu", folder: Path = WEIGHTS) -> Probe:
    """The probe in `folder`, by default the one that comes with sds3d. UserError if there is none."""
    from safetensors.torch import load_file

    config = load_config(folder)
    tensors = {k: v.float() for k, v in load_file(str(folder / "model.safetensors")).items()}
    nouns = tensors.pop("nouns")
    net = ProbeNet(**config["network"])
    net.load_state_dict(tensors, strict=False)  # batch norm's counters are not kept
    return Probe(net, nouns, config, device)
