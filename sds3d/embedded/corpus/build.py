"""Build the training corpus: plan, draw in chunks on all cores, assemble. The same seed gives the same corpus."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import struct
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sds3d.embedded.corpus import fetch
from sds3d.embedded.corpus.attribution import write_attribution
from sds3d.embedded.corpus.balance import plan
from sds3d.embedded.corpus.catalogue import SOURCES, Entry, catalogue, unit_hash
from sds3d.embedded.corpus.render import Album, Job, Unusable, photograph
from sds3d.embedded.corpus.shards import assemble, save_chunk
from sds3d.render import mesh

VIEWS = 34  # as in the corpus that the shipped prior learnt from
CHUNK = 16  # objects drawn between two progress reports of a worker
FORMAT = 2
Progress = Callable[[int, int, str], None]
_entries: dict[str, Entry] = {}  # a worker's catalogue


def build_corpus(
    out: Path,
    cache: Path,
    sources: list[str] | None = None,
    views: int = VIEWS,
    size: int = 64,
    seed: int = 0,
    limit: int | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Draw the corpus into the folder `out` (replaced when done; an interrupted build goes on where it stopped).

    `cache` holds the packages; `views` scales the number of images (balance.py shares them out); `limit` keeps that
    many objects; `progress(done, total, what)` is called as chunks finish; `processes` defaults to the number of cores.
    Returns the manifest. UserError if a package cannot be had or a source is unknown.
    """
    started = time.time()
    chosen = sources or list(SOURCES)
    entries = catalogue(cache, chosen, seed)
    if limit is not None:
        entries = sorted(entries, key=lambda e: unit_hash("order", e.key))[:limit]
    jobs = plan(entries, views)
    recipe = json.dumps([FORMAT, source_digest(), chosen, size, seed, [vars(j) for j in jobs]])
    work = out.with_name(f"{out.name}.partial-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}")
    (work / "chunks").mkdir(parents=True, exist_ok=True)
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    rejected: Counter[str] = Counter()
    tasks = [(i, chunk, work / "chunks", size, seed) for i, chunk in enumerate(chunks)]
    workers = processes or min(os.cpu_count() or 1, len(tasks))
    for done, reasons in enumerate(_run(tasks, workers, entries, cache, chosen), 1):
        rejected.update(reasons)
        if progress:
            progress(done, len(tasks), "drawing objects")
    summary = assemble(work / "chunks", work, size)
    shutil.rmtree(work / "chunks")
    manifest = {
        "format": FORMAT, "code": source_digest(), "seed": seed, "views": views, "size": size, "sources": chosen,
        "packages": fetch.table(chosen), **summary, "rejected": dict(sorted(rejected.items())),
        "seconds": round(time.time() - started, 1),
    }  # fmt: skip
    write_attribution(work, manifest)
    (work / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    work.rename(out)
    return manifest


def source_digest() -> str:
    """Hash of the code that draws, so that chunks of another version are never taken over."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(mesh.__file__)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


Task = tuple[int, list[Job], Path, int, int]


def _run(
    tasks: list[Task], workers: int, entries: list[Entry], cache: Path, sources: list[str]
) -> Iterator[Counter[str]]:
    if workers <= 1:
        _entries.update({e.key: e for e in entries})
        yield from map(_draw_chunk, tasks)
        return
    saved = os.environ.get("NUMBA_NUM_THREADS")
    os.environ["NUMBA_NUM_THREADS"] = "1"  # one process per core is enough
    try:
        with multiprocessing.get_context("spawn").Pool(workers, _start_worker, (cache, sources, tasks[0][-1])) as pool:
            yield from pool.imap_unordered(_draw_chunk, tasks)
    finally:
        if saved is None:
            del os.environ["NUMBA_NUM_THREADS"]
        else:
            os.environ["NUMBA_NUM_THREADS"] = saved


def _start_worker(cache: Path, sources: list[str], seed: int) -> None:
    _entries.update({e.key: e for e in catalogue(cache, sources, seed)})


def _draw_chunk(task: Task) -> Counter[str]:
    """Draw one chunk unless it is there already; the reasons for which objects were left out."""
    index, jobs, folder, size, seed = task
    target = folder / f"{index:05d}.npz"
    if target.exists():
        with np.load(target) as data:
            return Counter(json.loads(str(data["rejected"])))
    albums: list[Album] = []
    rejected: Counter[str] = Counter()
    for job in jobs:
        try:
            albums.append(photograph(_entries[job.key], job, size, seed))
        except Unusable as reason:
            rejected[str(reason)] += 1
        except (KeyError, ValueError, IndexError, OSError, struct.error, ET.ParseError) as error:
            rejected[f"unreadable ({type(error).__name__})"] += 1
    save_chunk(target, albums, rejected)
    return rejected
