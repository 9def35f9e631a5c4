"""What a person sees while the engine works: stages, a progress bar, notes, one-line errors."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from sds3d.engine.record import Record

OURS = Path(__file__).resolve().parent.parent
STATUS_LINES, STATUS_SECONDS = 10, 20.0  # where there is no terminal for a bar: lines a run, longest silence


def error_line(text: str) -> None:
    """`error: text` on stderr, red on a terminal."""
    label = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    print(f"{label} {text}", file=sys.stderr, flush=True)


def aside(text: str) -> None:
    """A line on stderr that is no error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def remarks() -> Iterator[None]:
    """What sds3d warns of, as one line each; warnings of other packages are for developers and not shown."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if Path(filename).is_relative_to(OURS):
            aside(f"note: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class Reporter:
    """Prints what the engine reports: a live bar on a terminal, a few plain lines elsewhere."""

    def __init__(self, stderr: bool = False) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, stderr=stderr)
        self.bar: Any = None
        self.task: Any = None
        self.first = (0, 0.0)  # step of this run, and when it began
        self.last: int | None = None
        self.spoke = time.perf_counter()

    def note(self, text: str) -> None:
        self._end_bar()
        self.console.print(text, markup=False, soft_wrap=True)

    def stage(self, name: str, seconds: float) -> None:
        """A finished stage."""
        self.note(f"  {name:<28} {seconds:6.1f} s")

    def step(self, record: Record) -> None:
        """A finished step."""
        now = time.perf_counter()
        if record.step - 1 != self.last:  # of another run
            self.first = (record.step, now - record.ms["total"] / 1e3)
        self.last = record.step
        done = record.step - self.first[0] + 1
        rate = done / max(now - self.first[1], 1e-9)
        left = (record.total - record.step) / rate
        text = f"{rate:5.1f} it/s  eta {_clock(left)}  {_statistics(record)}"
        if self.console.is_terminal:
            self._draw_bar(record, text)
        elif record.step % max(1, record.total // STATUS_LINES) == 0 or now - self.spoke > STATUS_SECONDS:
            self.spoke = now
            self.console.print(f"  step {record.step}/{record.total}  {text}", markup=False, soft_wrap=True)
        if record.step == record.total:
            self._end_bar()

    def close(self) -> None:
        self._end_bar()

    def _draw_bar(self, record: Record, text: str) -> None:
        if self.bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("  optimise"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                console=self.console,
                refresh_per_second=4,
            )
            self.bar.start()
            self.task = self.bar.add_task("optimise", total=record.total, text="")
        self.bar.update(self.task, completed=record.step, text=text)

    def _end_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _statistics(record: Record) -> str:
    words = [f"t {record.t:.2f}"]
    if record.alpha is not None:
        words.append(f"cover {record.alpha:4.0%}")
    gradient, cosine = record.stats.get("gradient"), record.stats.get("cosine")
    if gradient is not None:
        words.append(f"|g| {gradient:.3g}")
    if cosine is not None:
        words.append(f"cos {cosine:+.2f}")
    return "  ".join(words) + ("  skipped: not finite" if record.skipped else "")


def _clock(seconds: float) -> str:
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...], named: bool = True) -> None:
    """Aligned columns; the last one may wrap. Without a terminal plain text, and the header only if `named`."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        lines = [header, *rows] if named else rows
        widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
        for row in lines:
            console.print(
                "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]),
                markup=False,
                soft_wrap=True,
            )
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(header):
        drawn.add_column(name, no_wrap=i < len(header) - 1)
    for row in rows:
        drawn.add_row(*(cell.replace("[", "\\[") for cell in row))
    console.print(drawn)
