"""The loss curve of a training: a line of JSON per validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from sds3d.embedded.recipe import STAGES
from sds3d.files import write_bytes

Record = dict[str, Any]


class Curve:
    """The file, and the records in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> list[Record]:
        """All of them, oldest first; a last line that a kill left unfinished is none."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def add(self, record: Record) -> None:
        with self.path.open("a") as log:
            log.write(json.dumps(record) + "\n")

    def cut(self, done: Mapping[str, int]) -> None:
        """Drop what was reached after the checkpoints, which have taken `done` steps by stage: it is done again."""
        records = self.records()
        while records and records[-1]["step"] > done[records[-1]["stage"]]:
            records.pop()
        write_bytes(self.path, "".join(json.dumps(record) + "\n" for record in records).encode())

    def images(self) -> int:
        """Seen in all stages."""
        last = {record["stage"]: record["images"] for record in self.records()}
        return sum(last.values())


def lengthened(records: list[Record], what: str = "The length") -> str:
    """A sentence on runs that were continued with another number of pictures, which one command does not repeat."""
    totals = [str(total) for total, _ in groupby(records, key=lambda record: record["total"])]
    if len(totals) < 2:
        return ""
    return (
        f" {what} was changed on the way: {', then '.join(totals)} steps, so that the learning rate fell and rose "
        "again; the command alone, run once, gives a like curve, not the same one."
    )


def restarted(records: list[Record], what: str) -> str:
    """A sentence on how often training began anew: the steps fall back."""
    times = sum(after["step"] <= before["step"] for before, after in zip(records, records[1:], strict=False))
    often = "once" if times == 1 else f"{times} times"
    return f" {what} was begun anew {often}; its earlier rows are of weights that are gone." if times else ""


def continued(records: list[Record]) -> str:
    """Sentences on what one command, run once, would not repeat of a curve."""
    said = ""
    for stage in STAGES:
        part = [record for record in records if record["stage"] == stage]
        said += lengthened(part, f"The length of the {stage} stage") + restarted(part, f"The {stage} stage")
    corpora = [f"`{corpus:.8}`" for corpus, _ in groupby(records, key=lambda record: record["corpus"])]
    return said + (f" The corpus was changed on the way: {', then '.join(corpora)}." if len(corpora) > 1 else "")
