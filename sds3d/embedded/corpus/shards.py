"""The corpus on disk: chunks while it is drawn, then shards of images, an index, captions and objects.

images_NNN.npy (4000, S, S, 4) uint8 straight alpha, under 64 MiB at 64 px; index.npz, one row per image: shard, row,
caption (N, 4) indices into captions.json, object (line of objects.jsonl), azimuth, elevation, fov, heldout, handed
(not to be mirrored), and weight, how often a trainer should draw the image (mean 1).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sds3d.embedded.corpus.balance import fair_share
from sds3d.embedded.corpus.render import WORDINGS, Album
from sds3d.files import replacing

SHARD = 4000


def save_chunk(path: Path, albums: list[Album], rejected: Counter[str]) -> None:
    """Atomically, so that an interrupted build never meets half a chunk."""
    meta = [{"record": a.record.row(), "captions": a.captions} for a in albums]
    with replacing(path) as temporary:
        np.savez(
            temporary,
            images=np.concatenate([a.images for a in albums]) if albums else np.zeros((0, 1, 1, 4), np.uint8),
            angles=np.concatenate([a.angles for a in albums]) if albums else np.zeros((0, 3), np.float32),
            meta=np.array(json.dumps(meta)),
            rejected=np.array(json.dumps(dict(rejected))),
        )


class _Writer:
    """Fills shards of exactly SHARD images (the last may be shorter) and hashes what it writes."""

    def __init__(self, out: Path, size: int) -> None:
        self.out, self.count, self.hash = out, 0, hashlib.sha256()
        self.buffer = np.empty((SHARD, size, size, 4), np.uint8)

    def add(self, images: NDArray[np.uint8]) -> None:
        while len(images):
            at = self.count % SHARD
            part = images[: SHARD - at]
            self.buffer[at : at + len(part)] = part
            self.count += len(part)
            images = images[len(part) :]
            if self.count % SHARD == 0:
                self._flush(SHARD)

    def close(self) -> None:
        if self.count % SHARD:
            self._flush(self.count % SHARD)

    def _flush(self, rows: int) -> None:
        shard = self.buffer[:rows]
        self.hash.update(shard.data)
        np.save(self.out / f"images_{(self.count - 1) // SHARD:03d}.npy", shard)


def assemble(chunks: Path, out: Path, size: int) -> dict[str, Any]:
    """Chunks, in order, to the corpus; counts and the hash over all arrays and captions."""
    writer = _Writer(out, size)
    captions: dict[str, int] = {}
    objects: list[dict[str, Any]] = []
    angles: list[NDArray[np.float32]] = []
    caption_rows: list[list[int]] = []
    owners: list[int] = []
    for path in sorted(chunks.glob("*.npz")):
        with np.load(path) as data:
            meta = json.loads(str(data["meta"]))
            if meta:
                writer.add(data["images"])
                angles.append(data["angles"])
        for album in meta:
            for wordings in album["captions"]:
                caption_rows.append([captions.setdefault(c, len(captions)) for c in wordings])
            owners += [len(objects)] * len(album["captions"])
            objects.append({**album["record"], "images": len(album["captions"])})
    writer.close()
    index = _index(np.concatenate(angles), caption_rows, owners, objects)
    for name in sorted(index):
        writer.hash.update(name.encode() + index[name].tobytes())
    text = json.dumps(list(captions), indent=0)
    writer.hash.update(text.encode())
    np.savez(out / "index.npz", **index)  # type: ignore[arg-type]
    (out / "captions.json").write_text(text + "\n")
    (out / "objects.jsonl").write_text("".join(json.dumps(o) + "\n" for o in objects))
    return {
        "images": len(owners), "objects": len(objects), "captions": len(captions),
        "nouns": len({o["noun"] for o in objects}),
        "heldout_objects": sum(o["heldout"] for o in objects),
        "objects_by_source": dict(sorted(Counter(o["source"] for o in objects).items())),
        "images_by_source": dict(sorted(_images_by(objects, "source").items())),
        "hash": writer.hash.hexdigest(),
    }  # fmt: skip


def _images_by(objects: list[dict[str, Any]], key: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for record in objects:
        total[record[key]] += record["images"]
    return total


def _index(
    angles: NDArray[np.float32], captions: list[list[int]], owners: list[int], objects: list[dict[str, Any]]
) -> dict[str, NDArray[Any]]:
    at = np.arange(len(owners))
    heldout, handed = (np.array([o[flag] for o in objects], bool) for flag in ("heldout", "handed"))
    return {
        "shard": (at // SHARD).astype(np.int32),
        "row": (at % SHARD).astype(np.int32),
        "caption": np.array(captions, np.int32).reshape(-1, WORDINGS),
        "object": np.array(owners, np.int32),
        "azimuth": angles[:, 0],
        "elevation": angles[:, 1],
        "fov": angles[:, 2],
        "heldout": heldout[owners],
        "handed": handed[owners],
        "weight": _weights(objects)[owners],
    }


def _weights(objects: list[dict[str, Any]]) -> NDArray[np.float32]:
    """Of an image of each object: what its noun should have of the corpus over what it has, mean 1 over the images."""
    images, count = _images_by(objects, "noun"), Counter(o["noun"] for o in objects)
    raw = np.array([fair_share(o["noun"], count[o["noun"]]) / images[o["noun"]] for o in objects])
    n = np.array([o["images"] for o in objects])
    return (raw * (n.sum() / (raw * n).sum())).astype(np.float32)


def read_objects(corpus: Path) -> Iterator[dict[str, Any]]:
    """The records of objects.jsonl."""
    with open(corpus / "objects.jsonl") as file:
        yield from map(json.loads, file)
