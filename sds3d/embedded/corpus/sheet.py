"""A contact sheet: random objects, four views each, with their captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sds3d.embedded.corpus.shards import read_objects
from sds3d.files import replacing

VIEWS = 4
TEXT = 12  # height of the caption line


def corpus_sheet(
    corpus: Path, out: Path, rows: int = 24, columns: int = 5, seed: int = 0, source: str | None = None
) -> Path:
    """Draw rows x columns random objects of the corpus folder (of one source, if given) to the PNG file `out`."""
    index = np.load(corpus / "index.npz")
    captions = json.loads((corpus / "captions.json").read_text())
    objects = list(read_objects(corpus))
    shards = [np.load(p, mmap_mode="r") for p in sorted(corpus.glob("images_*.npy"))]
    size = shards[0].shape[1]
    rng = np.random.default_rng(seed)
    eligible = [i for i, o in enumerate(objects) if source in (None, o["source"])]
    chosen = rng.choice(eligible, min(rows * columns, len(eligible)), replace=False)
    width, height = size * VIEWS + 6, size + TEXT + 4
    sheet = Image.new("RGB", (columns * width, -(-len(chosen) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    owner = index["object"]
    for cell, number in enumerate(chosen):
        x, y = cell % columns * width, cell // columns * height
        images = np.flatnonzero(owner == number)
        for k, i in enumerate(_spread(index["azimuth"][images], images, rng)):
            rgba = Image.fromarray(np.asarray(shards[index["shard"][i]][index["row"][i]]), "RGBA")
            sheet.paste(rgba, (x + k * size, y), rgba)
        caption = captions[index["caption"][images[0], 0]]
        draw.text((x + 2, y + size), f"{caption} [{objects[number]['name']}]"[: width // 6], fill="black")
    with replacing(out) as temporary:
        sheet.save(temporary)
    return out


def _spread(azimuths: np.ndarray, images: np.ndarray, rng: np.random.Generator) -> list[int]:
    """One image near the front, and VIEWS - 1 others by chance (variants among them)."""
    front = int(images[np.abs((azimuths + 180) % 360 - 180).argmin()])
    return [front, *(int(i) for i in rng.choice(images, VIEWS - 1))]
