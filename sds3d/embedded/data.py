"""The corpus in memory: images over any grey background, mirrored or not, with captions as MiniLM token states."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.embedded.detail import POOL
from sds3d.errors import UserError


@dataclass
class Corpus:
    """N images; `small` holds premultiplied colour and alpha at 32 px, `full` straight RGBA at 64 px."""

    small: Tensor  # (N, 4, 32, 32) uint8
    full: Tensor  # (N, 64, 64, 4) uint8
    camera: Tensor  # (N, 3) azimuth, elevation, fov
    caption: Tensor  # (N, A) alternative captions
    heldout: Tensor  # (N,) bool
    handed: Tensor  # (N,) bool, not to be mirrored: its left differs from its right
    weight: Tensor  # (N,) float64, how often an image is drawn
    siblings: Tensor  # (N,) rows sorted by object
    first: Tensor  # (N,) where in `siblings` the views of this image's object begin
    count: Tensor  # (N,) how many they are
    captions: list[str]
    manifest: dict

    def __len__(self) -> int:
        return len(self.camera)

    def to(self, device: torch.device | str) -> Corpus:
        """With all tensors on the device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def shrink(rgba: Tensor) -> Tensor:
    """(n, 64, 64, 4) straight uint8 -> (n, 4, 32, 32) premultiplied uint8, box-filtered."""
    x = rgba.permute(0, 3, 1, 2).float()
    x = torch.cat([x[:, :3] * (x[:, 3:] / 255), x[:, 3:]], 1)
    return (torch.nn.functional.avg_pool2d(x, POOL) + 0.5).to(torch.uint8)


def premultiplied(rgba: Tensor) -> Tensor:
    """(n, H, W, 4) straight uint8 -> (n, 4, H, W) premultiplied in [0, 1]."""
    x = rgba.permute(0, 3, 1, 2).float() / 255
    return torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)


def families(objects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """siblings, first and count of Corpus, from the object (N,) of each image."""
    siblings = objects.argsort(stable=True)
    _, index, counts = objects.unique(return_inverse=True, return_counts=True)
    return siblings, (counts.cumsum(0) - counts)[index], counts[index]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Facts about the corpus in `folder`. Raises UserError where there is none."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"no corpus in {folder}: run `sds3d prior corpus --out {folder}` first")
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def load_corpus(folder: Path) -> Corpus:
    """What `sds3d prior corpus` wrote. Raises UserError where there is none."""
    manifest = read_manifest(folder)
    index = dict(np.load(folder / "index.npz"))
    shards = [np.load(p) for p in sorted(folder.glob("images_*.npy"))]
    starts = np.cumsum([0] + [len(s) for s in shards])
    full = torch.from_numpy(np.concatenate(shards))
    rows = torch.from_numpy(starts[index["shard"]] + index["row"])
    if not torch.equal(rows, torch.arange(len(full))):
        full = full[rows]
    camera = np.stack([index["azimuth"], index["elevation"], index["fov"]], -1)
    weight = index.get("weight", np.ones(len(full)))
    return Corpus(
        torch.cat([shrink(part) for part in full.split(1024)]),
        full,
        torch.from_numpy(camera.astype(np.float32)),
        torch.from_numpy(index["caption"].astype(np.int64).reshape(len(full), -1)),
        torch.from_numpy(index["heldout"].astype(bool)),
        torch.from_numpy(index["handed"].astype(bool)),
        torch.from_numpy(weight.astype(np.float64)),
        *families(torch.from_numpy(index["object"].astype(np.int64))),
        captions=json.loads((folder / "captions.json").read_text()),
        manifest=manifest,
    )


def references(corpus: Corpus, rows: Tensor, generator: torch.Generator, tries: int = 3) -> Tensor:
    """(n,) rows: for each image another view of its object, the most frontal of a few drawn ones."""
    offset = torch.rand(tries, len(rows), generator=generator).to(rows.device) * corpus.count[rows]
    drawn = corpus.siblings[corpus.first[rows] + offset.long()]  # (tries, n)
    off = ((corpus.camera[drawn, 0] + 180) % 360 - 180).abs()
    return drawn.gather(0, off.argmin(0, keepdim=True))[0]


def backgrounds(n: int, generator: torch.Generator) -> Tensor:
    """(n,) grey levels: white half of the time, else uniform. Seen against any grey, nothing can hide in white fog."""
    white = torch.rand(n, generator=generator) < 0.5
    return torch.where(white, torch.ones(n), torch.rand(n, generator=generator))


def draw_mirror(handed: Tensor, generator: torch.Generator) -> Tensor:
    """(n,) bool: which pictures to flip left-right, half of those that are not handed (n,)."""
    return (torch.rand(len(handed), generator=generator) < 0.5).to(handed.device) & ~handed


def over(premultiplied: Tensor, background: Tensor, mirror: Tensor) -> Tensor:
    """(n, 4, H, W) in [0, 1] over grey (n,), rows with `mirror` flipped left-right -> (n, 3, H, W) in [-1, 1]."""
    x = premultiplied[:, :3] + (1 - premultiplied[:, 3:]) * background[:, None, None, None]
    return torch.where(mirror[:, None, None, None], x.flip(-1), x) * 2 - 1


def mirrored(camera: Tensor, mirror: Tensor) -> Tensor:
    """A mirrored image shows the (near-symmetric) object from the opposite azimuth."""
    sign = torch.where(mirror, -1.0, 1.0)
    return torch.stack([camera[:, 0] * sign, camera[:, 1], camera[:, 2]], -1)


def principal_components(corpus: Corpus, k: int, generator: torch.Generator, sample: int = 60_000) -> dict[str, Tensor]:
    """Affine mean (3072,) + grey * backdrop (3072,), basis (3072, k) and variance (k,) of what remains.

    The variances are those of 64 px images seen through the 32 px grid such that white noise stays white.
    """
    pick = torch.multinomial(corpus.weight, min(sample, len(corpus)), generator=generator)
    mirror = draw_mirror(corpus.handed[pick], generator)
    small = corpus.small[pick].float() / 255
    black = over(small, torch.zeros(len(pick)), mirror).flatten(1)
    added = over(small, torch.ones(len(pick)), mirror).flatten(1) - black
    mean, backdrop = black.mean(0), added.mean(0)
    x = (black - mean) + backgrounds(len(pick), generator)[:, None] * (added - backdrop)
    values, vectors = torch.linalg.eigh((x.T @ x).double() / len(x))
    order = values.argsort(descending=True)[:k]
    return {
        "mean": mean,
        "backdrop": backdrop,
        "basis": vectors[:, order].float().contiguous(),
        "variance": (values[order] * POOL**2).float(),
        "share": (values[order].sum() / values.sum()).float(),
    }


def encode_captions(
    captions: list[str], encode: Callable[[list[str]], tuple[Tensor, Tensor]], batch: int = 128
) -> tuple[Tensor, Tensor]:
    """Token states (C + 1, T, 384) float16 and mask (C + 1, T) of the captions and, last, of the empty prompt."""
    everything = [*captions, ""]
    states, masks = [], []
    for i in range(0, len(everything), batch):
        tokens, mask = encode(everything[i : i + batch])
        states.append(tokens.half())
        masks.append(mask)
    tokens, mask = torch.cat(states), torch.cat(masks)
    longest = int(mask.sum(1).max())
    return tokens[:, :longest].contiguous(), mask[:, :longest].contiguous()
